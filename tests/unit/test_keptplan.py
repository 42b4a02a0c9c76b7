"""A kept plan is carried out exactly as it is, or refused with the reason."""

import collections.abc
import dataclasses
import datetime
import json
import pathlib
from typing import Any

import pytest

from altostratus import certificates, cli, deploy, errors, keptplan, metadata, plan, spec, yamlfile
from altostratus.deployment import Deployment
from altostratus.errors import Exit
from altostratus.model import Image
from altostratus.observed import Observed, Server
from tests.unit import golden

_FILE = "examples/quickstart.yaml"
_TEXT = (pathlib.Path(__file__).parents[2] / _FILE).read_text()
_DEMO = spec.parse(_TEXT, _FILE)
_SECRETS = golden.fixed_secrets(_DEMO)
_EMPTY = golden.empty_undercloud()
_DEPLOYED = golden.deployed(_DEMO)
_NOW = datetime.datetime(2026, 11, 25, tzinfo=datetime.UTC)


def kept(
    observed: Observed,
    *,
    secrets: dict[str, str] = _SECRETS,
    known: dict[str, str] = _SECRETS,
    images: dict[str, Image] | None = None,
    templates: dict[str, str] = golden.TEMPLATES,
) -> keptplan.Kept:
    """The plan for the quickstart as it is kept."""
    made = plan.make(_DEMO, observed, images or golden.fixed_images(_DEMO), secrets, templates)
    sources = keptplan.Sources(observed, secrets, known, templates)
    return keptplan.make(made, sources, yamlfile.parse(_TEXT, _FILE), None)


def new_secrets() -> dict[str, str]:
    """Secrets as they are made for an overcloud that is not there yet."""
    secrets = metadata.overcloud_secrets(_DEMO, {})
    reached = dict.fromkeys((one.name for one in _DEMO.instances), ("192.168.24.20",))
    return certificates.renewed(secrets, _DEMO.name, reached, _NOW)


def stack(**changes: Any) -> Observed:
    """The deployed overcloud with another stack."""
    assert _DEPLOYED.stack
    return dataclasses.replace(_DEPLOYED, stack=dataclasses.replace(_DEPLOYED.stack, **changes))


def servers(*found: Server) -> Observed:
    """The deployed overcloud with other servers in place of those of the same name."""
    others = tuple(
        one for one in _DEPLOYED.servers if one.instance not in {new.instance for new in found}
    )
    return dataclasses.replace(_DEPLOYED, servers=others + found)


def test_plan_comes_back_from_its_file_and_is_the_same() -> None:
    made = kept(_EMPTY)
    back = keptplan.parse(keptplan.to_json(made), "demo.plan")
    assert back == made
    assert keptplan.difference(back, kept(_EMPTY)) is None


def test_plan_for_a_new_overcloud_is_the_same_whatever_secrets_it_will_get() -> None:
    first, second = (kept(_EMPTY, secrets=new_secrets(), known={}) for _ in range(2))
    assert keptplan.difference(first, second) is None


def test_kept_plan_holds_no_secret() -> None:
    for secrets, known in ((_SECRETS, _SECRETS), (new_secrets(), {})):
        text = keptplan.to_json(kept(_DEPLOYED, secrets=secrets, known=known))
        assert not [name for name, value in secrets.items() if json.dumps(value)[1:-1] in text]


_IMAGES = golden.fixed_images(_DEMO)
_NEW_IMAGE = _IMAGES | {"identity": Image(_IMAGES["identity"].name, "f" * 64)}
_SERVING = "await services demo (until they answer again)"
_VERIFY = "verify demo (something changes)"
_START = "start server demo-identity (it is SHUTOFF, stopped or killed from outside)"
_FEWER = dataclasses.replace(_EMPTY.control, pool_start=_EMPTY.control.pool_start + 100)
_UPDATING = stack(digest="made from something else")


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (kept(_EMPTY), kept(_DEPLOYED), "there is a stack demo now"),
        (kept(_DEPLOYED), kept(_EMPTY), "the stack demo is gone"),
        (kept(_DEPLOYED), kept(stack(id="other")), "the stack demo was made anew"),
        (kept(stack(digest="one")), kept(_UPDATING), "the overcloud demo was deployed since"),
        (
            kept(_DEPLOYED),
            kept(stack(status="UPDATE_FAILED")),
            "the stack demo is UPDATE_FAILED, and was CREATE_COMPLETE",
        ),
        (
            kept(_DEPLOYED),
            kept(servers(Server("database", "another", "ACTIVE", True))),
            "the server of database is another",
        ),
        (
            kept(_DEPLOYED),
            kept(servers(Server("identity", "id-of-identity", "SHUTOFF", False))),
            f"{_START} is to do as well; {_SERVING} is to do as well; {_VERIFY} is to do as well",
        ),
        (
            kept(_EMPTY),
            kept(dataclasses.replace(_EMPTY, control=_FEWER)),
            "; ".join(f"the address of {name} is another" for name in sorted(_IMAGES)),
        ),
        (
            kept(_EMPTY),
            kept(dataclasses.replace(_EMPTY, has_keypair=True)),
            "create key pair altostratus-demo (not in the undercloud) is not to do",
        ),
        (kept(_UPDATING), kept(_UPDATING, images=_NEW_IMAGE), "the image of identity is another"),
        (
            kept(_UPDATING),
            kept(_UPDATING, templates=dict.fromkeys(golden.TEMPLATES, "another")),
            "the stack would be made from other secrets, other templates or another program",
        ),
        (
            kept(_UPDATING),
            kept(dataclasses.replace(_UPDATING, authority="another")),
            "the stack would be made from other secrets, other templates or another program",
        ),
    ],
)  # fmt: skip
def test_what_changed_since_is_told(
    before: keptplan.Kept, after: keptplan.Kept, reason: str
) -> None:
    assert keptplan.difference(before, after) == reason
    assert keptplan.difference(before, before) is None


def test_other_secrets_make_another_plan() -> None:
    other = _SECRETS | {"keystone_password": "another"}
    before, after = kept(_UPDATING), kept(_UPDATING, secrets=other, known=other)
    reason = keptplan.difference(before, after)
    assert reason
    assert "other secrets" in reason


Run = collections.abc.Callable[..., tuple[int, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command; gives its exit status and what it says."""

    def run_it(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["altostratus", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert isinstance(ended.value.code, int)
        return ended.value.code, capsys.readouterr().err

    return run_it


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no plan"),
        ("overcloud: demo\n", "holds no plan"),
        ("[]", "holds no plan"),
        (plan.to_json(golden.make_plan(_DEMO, _EMPTY)), "holds no plan"),
        (
            keptplan.to_json(dataclasses.replace(kept(_EMPTY), version="9.9")),
            "was written by version 9.9 of Altostratus",
        ),
        (
            keptplan.to_json(kept(_EMPTY)).replace('"altostratus_plan": 1', '"altostratus_plan": 2'),
            "(format 2)",
        ),
        (
            keptplan.to_json(kept(_EMPTY)).replace("lxc", "docker"),
            "was changed after it was made",
        ),
    ],
)  # fmt: skip
def test_what_is_no_plan_of_this_version_is_refused(
    content: str, message: str, tmp_path: pathlib.Path, run: Run
) -> None:
    file = tmp_path / "demo.plan"
    file.write_text(content)
    status, said = run("overcloud", "deploy", "--plan", str(file))
    assert status == Exit.FAILED
    assert message in said
    assert str(file) in said
    assert f"hint: make one: ./altostratus overcloud plan FILE --out {file}" in said


def test_plan_that_is_not_there_is_told(tmp_path: pathlib.Path, run: Run) -> None:
    file = tmp_path / "demo.plan"
    status, said = run("overcloud", "deploy", "--plan", str(file))
    assert (status, f"{file} cannot be read" in said) == (Exit.FAILED, True)


@pytest.mark.parametrize(
    ("old", "new", "options", "reason"),
    [
        ("overcloud: demo", "overcloud: lab", [], "it is for the overcloud demo"),
        ("vlan: 101", "vlan: 102", [], "the deployment file, or the hypervisor, is another"),
        ("", "", ["--hypervisor", "lxc"], "the deployment file, or the hypervisor, is another"),
    ],
)
def test_plan_is_refused_for_another_file_or_hypervisor(
    old: str,
    new: str,
    options: list[str],
    reason: str,
    tmp_path: pathlib.Path,
    run: Run,
) -> None:
    plan_file, file = tmp_path / "demo.plan", tmp_path / "changed.yaml"
    plan_file.write_text(keptplan.to_json(kept(_EMPTY)))
    file.write_text(_TEXT.replace(old, new))
    arguments = ("overcloud", "deploy", str(file), "--plan", str(plan_file), *options)
    status, said = run(*arguments)
    assert status == Exit.FAILED
    assert f"the plan in {plan_file} is not carried out: {reason}" in said
    assert f"hint: see what there is to do now: ./altostratus overcloud plan {_FILE}" in said


def test_plan_is_kept_from_what_is_deployed_with_it() -> None:
    nowhere: Any = None
    made, document = golden.make_plan(_DEMO, _DEPLOYED), yamlfile.parse(_TEXT, _FILE)
    deployment = Deployment(nowhere, made, _SECRETS, _DEPLOYED, _SECRETS, document)
    first, second = (deploy.kept(deployment, "lxc") for _ in range(2))
    assert (first.file, first.text, first.hypervisor) == (_FILE, _TEXT, "lxc")
    assert keptplan.difference(first, second) is None
    new = dataclasses.replace(deployment, known={})
    assert keptplan.difference(first, deploy.kept(new, "lxc"))


def test_refusals_are_errors_with_a_hint() -> None:
    with pytest.raises(errors.StalePlan) as raised:
        keptplan.refuse_if("it rains", dataclasses.replace(kept(_EMPTY), hypervisor="lxc"), "p")
    assert raised.value.message == "the plan in p is not carried out: it rains"
    assert raised.value.hint
    assert raised.value.hint.endswith(f"overcloud plan {_FILE} --hypervisor lxc")
