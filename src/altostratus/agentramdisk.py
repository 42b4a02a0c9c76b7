"""The deploy ramdisk in the undercloud's Glance, from where Ironic takes it."""

import pathlib
from typing import Any

import openstack

from altostratus import images, imagespec, log, survey

_FORMATS = {"deploy_kernel": "aki", "deploy_ramdisk": "ari"}
_PART = "altostratus:part"


def load(connection: openstack.connection.Connection) -> dict[str, str]:
    """Build it and load it where it is not there yet; its images' ids by Ironic's names for them."""
    spec = imagespec.agent_ramdisk()
    ramdisk = images.build(spec)
    files = {"deploy_kernel": images.kernel(spec), "deploy_ramdisk": ramdisk}
    digest = imagespec.digest(spec)
    return {part: _load(connection, part, path, digest) for part, path in files.items()}


def _load(
    connection: openstack.connection.Connection, part: str, path: pathlib.Path, digest: str
) -> str:
    image_api: Any = connection.image
    name = path.stem + path.suffix
    for found in image_api.images(status="active", name=name):
        if found.properties.get(_PART) == digest:
            return str(found.id)
    with log.step(f"load {name}"):
        made = image_api.create_image(
            name=name,
            filename=str(path),
            disk_format=_FORMATS[part],
            container_format=_FORMATS[part],
            visibility="public",
            wait=True,
            **{_PART: digest, survey.IMAGE_OWNER: survey.OWNER},
        )
    return str(made.id)
