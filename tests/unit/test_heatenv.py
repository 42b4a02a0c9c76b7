"""The hypervisor from the environment file that HEAT_ENV names."""

import pathlib

import click.testing
import pytest

from altostratus import cli, cli_file, errors, heatenv


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("parameter_defaults: {Hypervisor: kvm}", "kvm"),
        ("parameters: {Hypervisor: lxc, Other: 1}", "lxc"),
        ("parameters: {Hypervisor: lxc}\nparameter_defaults: {Hypervisor: kvm}", "lxc"),
        ('{"parameters": {"Hypervisor": "docker"}}', "docker"),
        ("resource_registry: {}\nparameters:\n", None),
        ("", None),
    ],
)
def test_environment_names_the_hypervisor(text: str, expected: str | None) -> None:
    assert heatenv.hypervisor(text, "env.yaml") == expected


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("a: 1\nparameters:\n  Hypervisor: kmv", "env.yaml:3", "there is no hypervisor 'kmv'"),
        ("parameters: {Hypervisor: [kvm]}", "env.yaml:1", "there is no hypervisor ['kvm']"),
        ("parameter_defaults: docker", "env.yaml:1", "is not a mapping"),
        ("- a", "env.yaml:1", "is not a mapping"),
        ("a: [", "env.yaml:1", "not YAML"),
    ],
)
def test_mistake_in_it_is_told_with_its_place(text: str, place: str, words: str) -> None:
    with pytest.raises(errors.FindingsError) as refusal:
        heatenv.hypervisor(text, "env.yaml")
    assert place in refusal.value.message
    assert words in refusal.value.message


@pytest.mark.parametrize(
    ("option", "environment", "expected"),
    [
        (None, None, "docker"),
        (None, "kvm", "kvm"),
        ("lxc", "kvm", "lxc"),
        (None, "", "docker"),
    ],
)
def test_option_comes_before_the_environment_and_that_before_the_file(
    option: str | None,
    environment: str | None,
    expected: str,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "overcloud.yaml"
    file.write_text(
        "overcloud: demo\ndefault_hypervisor: docker\ninstances:\n"
        "  database: {services: [mariadb], hypervisor: lxc}\n  identity: {services: [keystone]}\n"
    )
    monkeypatch.delenv(heatenv.VARIABLE, raising=False)
    if environment is not None:
        (tmp_path / "env.yaml").write_text(f"parameter_defaults: {{Hypervisor: {environment}}}")
        name = str(tmp_path / "env.yaml") if environment else ""
        monkeypatch.setenv(heatenv.VARIABLE, name)
    overcloud, _ = cli_file.load(file, option)
    assert [str(one.hypervisor) for one in overcloud.instances] == ["lxc", expected]


def test_environment_file_that_is_not_there_is_told(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(heatenv.VARIABLE, str(tmp_path / "missing.yaml"))
    result = click.testing.CliRunner().invoke(cli.cli, ["overcloud", "check"])
    assert isinstance(result.exception, errors.Error)
    assert "missing.yaml" in result.exception.message
