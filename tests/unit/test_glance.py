"""An image is loaded with what tells it from others, and with the versions of its services."""

import pathlib
import re

import pytest

from altostratus import glance, images, imagespec, releases, services, survey
from tests.unit import fake_undercloud

_ROOT = pathlib.Path(__file__).parents[2]
_MANIFEST = """{"components": [
    {"name": "mariadb-server", "version": "1:10.11.14", "purl": "pkg:deb/debian/mariadb-server@1:10.11.14?arch=all"},
    {"name": "keystonemiddleware", "version": "13.0.0", "purl": "pkg:pypi/keystonemiddleware@13.0.0"},
    {"name": "keystone", "version": "29.0.0", "purl": "pkg:pypi/keystone@29.0.0"}
]}"""


def test_loaded_image_knows_the_versions_of_its_services(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALTOSTRATUS_CACHE", str(tmp_path))
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))
    built = imagespec.wanted(("mariadb", "keystone", "glance"), "docker")
    images.path(built).parent.mkdir()
    images.path(built).write_bytes(b"layers")
    images.manifest(built).write_text(_MANIFEST)
    with fake_undercloud.running() as fake:
        undercloud = fake_undercloud.connect(fake)
        identity = glance.load(undercloud, built)
        assert glance.versions(undercloud) == {
            identity: {"mariadb": "1:10.11.14", "keystone": "29.0.0"}
        }
        assert survey.glance_images(undercloud) == {imagespec.digest(built): identity}


@pytest.mark.parametrize("name", services.all_names())
def test_package_of_a_service_is_in_its_image(name: str) -> None:
    """Its version would be unknown for ever."""
    package = re.escape(services.get(name).package)
    lock = _ROOT / "releases" / releases.LATEST / f"{name}.txt"
    below = _ROOT / "elements"
    installed = [lock] if lock.exists() else below.glob("*/package-installs.yaml")
    assert any(re.search(rf"^{package}(==|:)", one.read_text(), re.MULTILINE) for one in installed)
