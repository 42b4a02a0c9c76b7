"""A refresh changes digests where the archive offers what images do not hold, and else nothing."""

import json
import pathlib

import pytest

from altostratus import images, imagespec, run, snapshot
from altostratus.model import DEBIAN

RECORDS = """\
Package: openssl
Version: 3.0.18
Description: about it
 Version: 1

Package: bash
Version: 5.2
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """An empty cache, and an archive that offers RECORDS."""
    monkeypatch.setenv("ALTOSTRATUS_CACHE", str(tmp_path))

    def answer(command: list[str], **_: object) -> run.Completed:
        return run.Completed(0, RECORDS if command[0] == "apt-cache" else "", "")

    monkeypatch.setattr(run, "run", answer)
    monkeypatch.setattr("altostratus.registries.sources_list", lambda _: "")
    return tmp_path


def held(cache: pathlib.Path, **versions: str) -> None:
    components = [
        {"name": name, "version": version, "purl": f"pkg:deb/debian/{name}@1?distro={DEBIAN}"}
        for name, version in versions.items()
    ]
    components.append({"name": "openssl", "version": "9", "purl": "pkg:pypi/openssl@9"})
    path = cache / "images" / "altostratus-keystone-docker-0.cdx.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"components": components}))


def test_new_versions_change_every_digest_once(cache: pathlib.Path) -> None:
    spec = imagespec.wanted(("mariadb",), "lxc")
    held(cache, openssl="3.0.17", bash="5.2", gone="1")
    digests = [imagespec.digest(spec)]
    assert images.refresh() == {"openssl": "3.0.18"}
    digests.append(imagespec.digest(spec))
    assert snapshot.read(DEBIAN) == {"openssl": "3.0.18", "bash": "5.2", "gone": "1"}
    held(cache, openssl="3.0.18", bash="5.2", gone="1")
    assert images.refresh() == {}
    digests.append(imagespec.digest(spec))
    assert digests[0] != digests[1] == digests[2]


def test_nothing_new_changes_nothing(cache: pathlib.Path) -> None:
    held(cache, openssl="3.0.18", bash="5.2")
    assert images.refresh() == {}
    assert snapshot.read(DEBIAN) == {}


def test_a_refresh_concerns_one_release(cache: pathlib.Path) -> None:
    spec = imagespec.wanted(("mariadb",), "lxc")
    held(cache, openssl="3.0.17")
    before = imagespec.digest(spec)
    assert images.refresh("trixie") == {}
    assert imagespec.digest(spec) == before
