"""What a root file system holds, as a software bill of materials in CycloneDX's JSON.

The few fields are written by hand after the specification of CycloneDX 1.6: its library brings
five further ones, for documents far richer than this.
"""

import collections.abc
import json
import pathlib
import re
import urllib.parse

from altostratus import layers

_DPKG_STATUS = "var/lib/dpkg/status"
_METADATA = re.compile(r"opt/[^/]+/lib/python[^/]+/site-packages/[^/]+\.dist-info/METADATA")
_Component = dict[str, str]


def of_root(root: layers.Root, name: str, version: str, debian: str) -> str:
    """All Debian packages and Python distributions of a root.

    The same root gives the same text: neither time nor serial number is in it.
    """
    found: dict[str, _Component] = {}
    for place, file in layers.files(root).items():
        if place != _DPKG_STATUS and not _METADATA.fullmatch(place):
            continue
        text = pathlib.Path(file.path).read_text(errors="replace")
        parts = packages(text, debian) if place == _DPKG_STATUS else [_distribution(text)]
        found |= {part["purl"]: part for part in parts}
    return _document(name, version, [found[purl] for purl in sorted(found)])


def debian_packages(document: str, debian: str) -> dict[str, str]:
    """The versions of the packages of one Debian release that a manifest names."""
    of_debian = re.compile(rf"pkg:deb/debian/.*[?&]distro={re.escape(debian)}$")
    found = json.loads(document)["components"]
    return {one["name"]: one["version"] for one in found if of_debian.match(one["purl"])}


def version(document: str, package: str) -> str | None:
    """The version of a Python distribution or Debian package, if a manifest names it."""
    named = re.compile(rf"pkg:(pypi|deb/debian)/{re.escape(_quoted(package))}@")
    found = json.loads(document)["components"]
    return next((one["version"] for one in found if named.match(one["purl"])), None)


def packages(status: str, debian: str) -> collections.abc.Iterator[_Component]:
    """The installed packages of dpkg's status file."""
    for paragraph in status.split("\n\n"):
        fields = _fields(paragraph)
        if fields.get("Status", "").endswith(" installed"):
            about = {"arch": fields["Architecture"], "distro": debian}
            name, version = fields["Package"], fields["Version"]
            where = f"{_quoted(name)}@{_quoted(version)}?{urllib.parse.urlencode(about)}"
            yield _component(name, version, f"pkg:deb/debian/{where}")


def _distribution(metadata: str) -> _Component:
    fields = _fields(metadata)
    name, version = fields["Name"], fields["Version"]
    normal = re.sub(r"[-_.]+", "-", name).lower()
    return _component(name, version, f"pkg:pypi/{_quoted(normal)}@{_quoted(version)}")


def _fields(text: str) -> dict[str, str]:
    """The fields above a text's first empty line, as Debian and Python both write them."""
    return dict(re.findall(r"^([\w-]+): (.*)$", text.partition("\n\n")[0], re.MULTILINE))


def _quoted(text: str) -> str:
    return urllib.parse.quote(text, safe=":")


def _component(name: str, version: str, purl: str) -> _Component:
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _document(name: str, version: str, components: list[_Component]) -> str:
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": name, "version": version}},
        "components": components,
    }
    return json.dumps(document, indent=1) + "\n"
