"""Loads images into the undercloud's Glance, each once: its digest tells them apart."""

import collections
import datetime
import pathlib
from typing import IO, Any

import openstack
import openstack.exceptions

from altostratus import (
    credentials,
    hypervisors,
    images,
    imagespec,
    inventory,
    log,
    registry,
    survey,
)

_SERVICES = "altostratus:services"
# One for each service: its name follows.
_VERSION = "altostratus:version:"
_TYPE = "application/octet-stream"
_CONTAINER_FORMAT = "bare"


def load(
    undercloud: openstack.connection.Connection,
    spec: imagespec.ImageSpec,
    hypervisor_type: str | None = None,
) -> str:
    """Load a built image unless Glance has it; returns its id.

    ``hypervisor_type`` is Nova's word for what may run it; by default it follows from the image.
    """
    digest = imagespec.digest(spec)
    found = survey.glance_images(undercloud).get(digest)
    if found:
        return found
    _remove_incomplete(undercloud, digest)
    entry = hypervisors.entry(spec.hypervisor)
    properties = {
        survey.IMAGE_OWNER: survey.OWNER,
        survey.IMAGE_DIGEST: digest,
        _SERVICES: ",".join(spec.services),
        **{f"{_VERSION}{name}": version for name, version in images.versions(spec).items()},
        **placement_properties(hypervisor_type or entry.hypervisor_type),
    }
    about = {
        "name": spec.name,
        "disk_format": entry.disk_format,
        "container_format": entry.container_format,
        "visibility": "private",
        **properties,
    }
    place = _registry()
    if place is None or entry.image_form is not hypervisors.ImageForm.DOCKER_ARCHIVE:
        return upload(undercloud, _post(undercloud, about), images.path(spec))
    with log.step(f"bring the layers of {spec.name} to the registry") as step:
        manifest = registry.push(place, images.path(spec), step)
    return _fill(undercloud, _post(undercloud, about), manifest)


def _registry() -> registry.Registry | None:
    """The undercloud's registry, if it has one; its credentials are beside the undercloud's."""
    found = (credentials.read("undercloud") or {}).get("registry")
    return registry.Registry(**found) if found else None


def load_file(
    undercloud: openstack.connection.Connection,
    path: pathlib.Path,
    name: str,
    disk_format: str,
    hypervisor_type: str | None = None,
) -> str:
    """Load any image file; with a hypervisor type it is kept away from other hypervisors."""
    entry = hypervisors.of_type(hypervisor_type) if hypervisor_type else None
    about = {
        "name": name,
        "disk_format": disk_format,
        "container_format": entry.container_format if entry else _CONTAINER_FORMAT,
    }
    if hypervisor_type:
        about |= placement_properties(hypervisor_type)
    return upload(undercloud, _post(undercloud, about), path)


def placement_properties(hypervisor_type: str) -> dict[str, str]:
    """What keeps the instances of an image on hypervisors of one type, be it one of ours or not."""
    entry = hypervisors.of_type(hypervisor_type)
    return entry.image_properties if entry else {"hypervisor_type": hypervisor_type}


def loaded(undercloud: openstack.connection.Connection) -> list[inventory.Loaded]:
    """All images in Glance, with how many servers of the undercloud use each."""
    servers = undercloud.compute.servers(all_projects=True)
    used = collections.Counter((server.image or {}).get("id") for server in servers)
    return [_loaded(image, used[image.id]) for image in undercloud.image.images()]


def versions(undercloud: openstack.connection.Connection) -> dict[str, dict[str, str]]:
    """The version of each service of the images that we loaded, by Glance's ids of them."""
    return {
        image.id: {
            key.removeprefix(_VERSION): str(value)
            for key, value in (image.properties or {}).items()
            if key.startswith(_VERSION)
        }
        for image in undercloud.image.images()
    }


def remove(undercloud: openstack.connection.Connection, image_id: str) -> None:
    """Remove an image, if it is still there."""
    undercloud.image.delete_image(image_id, ignore_missing=True)


def _loaded(image: Any, servers: int) -> inventory.Loaded:
    properties = image.properties or {}
    is_ours = properties.get(survey.IMAGE_OWNER) == survey.OWNER
    return inventory.Loaded(
        id=image.id,
        name=image.name or "",
        digest=properties.get(survey.IMAGE_DIGEST, "") if is_ours else "",
        services=tuple(properties.get(_SERVICES, "").split(",")),
        hypervisor_type=image.hypervisor_type or "",
        size=image.size or 0,
        created=datetime.datetime.fromisoformat(image.created_at),
        servers=servers,
    )


def upload(cloud: openstack.connection.Connection, image_id: str, path: pathlib.Path) -> str:
    """Fill an image that was just created; it is removed again if that fails."""
    with log.step(f"upload {path.name}") as step, path.open("rb") as file:
        return _fill(cloud, image_id, _Watched(file, path.stat().st_size, step))


def _fill(cloud: openstack.connection.Connection, image_id: str, content: Any) -> str:
    try:
        response = cloud.image.put(
            f"/images/{image_id}/file", data=content, headers={"Content-Type": _TYPE}
        )
        openstack.exceptions.raise_from_response(response)
    except BaseException:
        cloud.image.delete_image(image_id, ignore_missing=True)
        raise
    return image_id


class _Watched:
    """A file that says how much of it was read."""

    def __init__(self, file: IO[bytes], size: int, step: log.Step) -> None:
        self._file = file
        self._size = size
        self._step = step
        self._shown = -1

    def __len__(self) -> int:
        return self._size

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        content = self._file.read(size)
        percent = self._file.tell() * 100 // max(self._size, 1)
        if percent != self._shown:
            self._shown = percent
            self._step.progress(f"{percent} %")
        return content


def _post(cloud: openstack.connection.Connection, about: dict[str, Any]) -> str:
    response = cloud.image.post("/images", json=about)
    openstack.exceptions.raise_from_response(response)
    return str(response.json()["id"])


def _remove_incomplete(undercloud: openstack.connection.Connection, digest: str) -> None:
    """Uploads that were cut off leave images that are never complete."""
    for image in undercloud.image.images():
        properties = image.properties or {}
        if properties.get(survey.IMAGE_DIGEST) == digest and image.status != "active":
            undercloud.image.delete_image(image.id, ignore_missing=True)
