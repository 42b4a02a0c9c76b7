"""The manifest names what a root holds, in the words of package URLs, and always the same way."""

import json
import pathlib

import pytest

from altostratus import sbom

STATUS = """\
Package: libssl3
Status: install ok installed
Architecture: amd64
Version: 3.0.17-1~deb12u2
Description: Secure Sockets Layer toolkit
 Version: not this one

Package: g++
Status: install ok installed
Architecture: amd64
Version: 4:12.2.0-3

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1
"""
METADATA = """\
Metadata-Version: 2.4
Name: Oslo.Config
Version: 10.7.0

Name: not this one
"""


@pytest.fixture
def root(tmp_path: pathlib.Path) -> list[pathlib.Path]:
    """The layers of a root."""
    site = "opt/openstack/lib/python3.11/site-packages"
    layers: list[dict[str, str]] = [
        {"var/lib/dpkg/status": "Package: older\nStatus: install ok installed\n"},
        {
            "var/lib/dpkg/status": STATUS,
            f"{site}/oslo_config-10.7.0.dist-info/METADATA": METADATA,
            f"{site}/oslo_config/METADATA": "no distribution",
            "opt/altostratus/lib/python3.11/site-packages/oslo_config-10.7.0.dist-info/METADATA": (
                METADATA
            ),
        },
    ]
    for number, files in enumerate(layers):
        for name, text in files.items():
            path = tmp_path / str(number) / name
            path.parent.mkdir(parents=True)
            path.write_text(text)
    return [tmp_path / "0", tmp_path / "1"]


def test_manifest_names_packages_and_distributions_once(root: list[pathlib.Path]) -> None:
    document = json.loads(sbom.of_root(root, "image", "abc", "bookworm"))
    assert [one["purl"] for one in document["components"]] == [
        "pkg:deb/debian/g%2B%2B@4:12.2.0-3?arch=amd64&distro=bookworm",
        "pkg:deb/debian/libssl3@3.0.17-1~deb12u2?arch=amd64&distro=bookworm",
        "pkg:pypi/oslo-config@10.7.0",
    ]
    assert document["components"][2]["name"] == "Oslo.Config"
    assert document["metadata"]["component"] == {
        "type": "container",
        "name": "image",
        "version": "abc",
    }
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")


def test_manifest_of_the_same_root_is_the_same(root: list[pathlib.Path]) -> None:
    texts = {sbom.of_root(root, "image", "abc", "bookworm") for _ in range(2)}
    assert len(texts) == 1
