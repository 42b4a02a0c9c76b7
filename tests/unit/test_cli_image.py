"""The commands for images, where there is no undercloud and the cache is a folder of the test."""

import pathlib

import click.testing
import pytest

from altostratus import cli_image, images, imagespec, run, services

OLD = "altostratus-keystone-docker-0000000000000000.tar"


@pytest.fixture(autouse=True)
def cache(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.setenv("ALTOSTRATUS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))
    return tmp_path / "cache"


def image(*arguments: str) -> list[str]:
    """The lines that a command prints."""
    done = click.testing.CliRunner().invoke(cli_image.image, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout.splitlines()


def built(*names: str) -> pathlib.Path:
    """An image that is in the cache already."""
    target = images.path(imagespec.wanted(names, "docker"))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(bytes(1 << 20))
    return target


def test_services_are_built_into_one_image_or_into_one_each() -> None:
    together, glance, keystone = built("glance", "keystone"), built("glance"), built("keystone")
    assert image("build", "glance", "keystone") == [str(together)]
    assert image("build", "glance", "keystone", "--each") == [str(glance), str(keystone)]


def test_each_without_names_is_all_services() -> None:
    expected = [str(built(name)) for name in services.names()]
    assert image("build", "--each") == expected


def test_a_build_needs_a_name() -> None:
    done = click.testing.CliRunner().invoke(cli_image.image, ["build"])
    assert (done.exit_code, "Missing argument" in done.output) == (2, True)


def test_list_shows_the_images_in_the_cache() -> None:
    target = built("keystone")
    header, line = image("list")
    assert header.split()[:4] == ["NAME", "SIZE", "AGE", "DIGEST"]
    digest = target.name.rpartition("-")[2][:12]
    assert line.split()[:3] == ["altostratus-keystone-docker", "1", "MiB"]
    assert digest in line
    assert line.split()[-1] == "local"


def test_prune_removes_what_is_old_and_says_before_what_it_would() -> None:
    kept = built("keystone")
    old = kept.with_name(OLD)
    old.write_bytes(bytes(1 << 20))
    root = kept.parents[1] / "roots" / "base-0000000000000000"
    (root / "etc").mkdir(parents=True)
    said = image("prune", "--dry-run")
    assert said[:2] == [f"cache   {old}", f"cache   {root}"]
    assert said[2].startswith("would free 1 MiB")
    assert old.exists()
    assert image("prune")[:2] == said[:2]
    assert (kept.exists(), old.exists(), root.exists()) == (True, False, False)
    assert image("prune") == ["freed 0 KiB"]


def test_refresh_gives_images_another_digest_where_the_archive_moved_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = built("keystone")
    component = '{"name": "bash", "version": "1", "purl": "pkg:deb/debian/bash@1?distro=bookworm"}'
    before.with_suffix(".cdx.json").write_text(f'{{"components": [{component}]}}')
    monkeypatch.setattr("altostratus.registries.sources_list", lambda _: "")

    def answer(command: list[str], **_: object) -> run.Completed:
        found = "Package: bash\nVersion: 2\n" if command[0] == "apt-cache" else ""
        return run.Completed(0, found, "")

    monkeypatch.setattr(run, "run", answer)
    asked: list[pathlib.Path] = []

    def build_all(specs: list[imagespec.ImageSpec]) -> list[pathlib.Path]:
        asked.extend(map(images.path, specs))
        return asked

    monkeypatch.setattr(images, "build_all", build_all)
    (said,) = image("build", "keystone", "--refresh")
    assert said != str(before)
    assert pathlib.Path(said).parent == before.parent
