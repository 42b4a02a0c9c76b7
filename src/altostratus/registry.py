"""Brings images' layers to a Docker registry, those that it lacks; Glance keeps the manifest.

The interface is the OCI distribution specification's, the manifest Docker's (schema 2).
"""

import dataclasses
import hashlib
import json
import pathlib
import tarfile
import urllib.parse
from typing import Any

import requests

from altostratus import errors, log

REPOSITORY = "images"
_MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
_LAYER_TYPE = "application/vnd.docker.image.rootfs.diff.tar"
_ANSWER_S = 300
_CHUNK = 1024 * 1024


@dataclasses.dataclass(frozen=True, slots=True)
class Registry:
    """A registry, and who may write to it."""

    url: str
    username: str
    password: str


def push(registry: Registry, archive: pathlib.Path, step: log.Step) -> bytes:
    """Bring a docker-archive's image to a registry; returns its manifest.

    Raises :class:`errors.Error` if the registry refuses or does not answer.
    """
    try:
        with requests.Session() as session, tarfile.open(archive, "r:") as content:
            session.auth = (registry.username, registry.password)
            return _push(session, f"{registry.url}/v2/{REPOSITORY}", content, step)
    except requests.RequestException as exc:
        raise errors.Error(
            f"the registry {registry.url} did not take {archive.name}: {exc}",
            hint="./altostratus undercloud shell, then 'journalctl -u docker-registry'",
        ) from exc


def _push(session: requests.Session, url: str, content: tarfile.TarFile, step: log.Step) -> bytes:
    (image,) = json.load(_file(content, "manifest.json"))
    layers = []
    for number, layer in enumerate(image["Layers"], start=1):
        step.progress(f"layer {number} of {len(image['Layers'])}")
        layers.append(_push_blob(session, url, content, layer, _LAYER_TYPE))
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST_TYPE,
        "config": _push_blob(session, url, content, image["Config"], _CONFIG_TYPE),
        "layers": layers,
    }
    text = json.dumps(manifest, sort_keys=True).encode()
    digest = f"sha256:{hashlib.sha256(text).hexdigest()}"
    headers = {"Content-Type": _MANIFEST_TYPE}
    _take(session.put(f"{url}/manifests/{digest}", data=text, headers=headers, timeout=_ANSWER_S))
    return text


def _push_blob(
    session: requests.Session, url: str, content: tarfile.TarFile, name: str, media_type: str
) -> dict[str, Any]:
    """Bring one blob unless it is there; returns its descriptor."""
    digest = f"sha256:{hashlib.file_digest(_file(content, name), 'sha256').hexdigest()}"
    there = session.head(f"{url}/blobs/{digest}", timeout=_ANSWER_S)
    if there.status_code != requests.codes.ok:
        begun = _take(session.post(f"{url}/blobs/uploads/", timeout=_ANSWER_S))
        place = urllib.parse.urljoin(url, begun.headers["Location"])
        target = f"{place}{'&' if '?' in place else '?'}digest={urllib.parse.quote(digest)}"
        # A file object is sent as it is read; its size comes from its own seek and tell.
        headers = {"Content-Type": "application/octet-stream"}
        blob = _file(content, name)
        _take(session.put(target, data=blob, headers=headers, timeout=_ANSWER_S))
    return {"mediaType": media_type, "size": content.getmember(name).size, "digest": digest}


def _file(content: tarfile.TarFile, name: str) -> Any:
    file = content.extractfile(name)
    assert file is not None, f"{name} in the archive is a file"
    return file


def _take(response: requests.Response) -> requests.Response:
    response.raise_for_status()
    return response
