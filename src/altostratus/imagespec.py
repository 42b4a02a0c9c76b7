"""What images hold, and the digests of it: by them images and layers are named."""

import collections.abc
import dataclasses
import hashlib
import json
import pathlib

from altostratus import elements, hypervisors, releases, rootfs, services, snapshot
from altostratus.model import DEBIAN

# Raised when the way images are made changes in a manner that no input shows.
_PIPELINE = 1
BASE = ("debian-base", "base", "agent-software")
WHEELS = ("cached-base", "native-wheels")
PYTHON = ("cached-base", "openstack-environment")
# The element, and the lock file, of a further node of an undercloud.
UNDERCLOUD_NODE = "undercloud-node"
# What more than half of the services' lock files have in common: tools/lock makes it.
SHARED = "shared"


@dataclasses.dataclass(frozen=True, slots=True)
class ImageSpec:
    """What an image holds and which hypervisor it is for."""

    services: tuple[str, ...]
    hypervisor: str
    elements: tuple[str, ...]
    locks: tuple[str, ...] = ()
    release: str = releases.LATEST
    debian: str = DEBIAN
    repository: pathlib.Path = rootfs.REPOSITORY
    is_ramdisk: bool = False

    @property
    def name(self) -> str:
        return f"altostratus-{'+'.join(self.services)}-{self.hypervisor}"

    @property
    def form(self) -> hypervisors.ImageForm:
        """What its file is."""
        if self.is_ramdisk:
            return hypervisors.ImageForm.RAMDISK
        return hypervisors.entry(self.hypervisor).image_form


def wanted(
    services: collections.abc.Iterable[str],
    hypervisor: str,
    repository: pathlib.Path = rootfs.REPOSITORY,
    debian: str = DEBIAN,
    release: str = releases.LATEST,
) -> ImageSpec:
    """The image that runs these services on this hypervisor: an element for each of them, and what
    the hypervisor wants in it."""
    names = tuple(sorted(services))
    included = (*names, *hypervisors.entry(hypervisor).elements)
    folder = repository / "releases" / release
    locks = tuple(name for name in names if (folder / f"{name}.txt").exists())
    return ImageSpec(names, hypervisor, included, locks, release, debian, repository)


def undercloud_image(
    repository: pathlib.Path = rootfs.REPOSITORY,
    among: collections.abc.Iterable[str] | None = None,
) -> ImageSpec:
    """The image of a whole undercloud in one Docker container: what its elements are decides which
    compute processes it has. One that is not the usual says in its name what it has."""
    chosen = sorted(set(among or hypervisors.default()), key=list(hypervisors.TABLE).index)
    usual = tuple(chosen) == hypervisors.default()
    names = ("undercloud",) if usual else ("undercloud", *chosen)
    included = ("undercloud", *map(hypervisors.compute_element, chosen))
    locks = ("openstack", "ironic") if hypervisors.BAREMETAL in chosen else ("openstack",)
    return ImageSpec(names, "docker", included, locks, repository=repository)


def undercloud_node_image(
    among: collections.abc.Iterable[str], repository: pathlib.Path = rootfs.REPOSITORY
) -> ImageSpec:
    """The image of a further node of an undercloud: these hypervisors' compute processes alone."""
    chosen = sorted(set(among), key=list(hypervisors.TABLE).index)
    included = (UNDERCLOUD_NODE, *map(hypervisors.compute_element, chosen))
    names = (UNDERCLOUD_NODE, *chosen)
    return ImageSpec(names, "docker", included, (UNDERCLOUD_NODE,), repository=repository)


def agent_ramdisk(repository: pathlib.Path = rootfs.REPOSITORY) -> ImageSpec:
    """What bare-metal machines boot to be inspected and written; its kernel is a file beside it."""
    name = ("agent-ramdisk",)
    return ImageSpec(name, hypervisors.BAREMETAL, name, repository=repository, is_ramdisk=True)


def locked_versions(spec: ImageSpec) -> dict[str, str]:
    """The version of each service's own software that lock files ask for, built or not."""
    packages = {name: services.get(name).package for name in spec.locks}
    found = {
        name: releases.version(lock_file(spec, name).read_text(), package)
        for name, package in packages.items()
    }
    return {name: version for name, version in found.items() if version}


def digest(spec: ImageSpec) -> str:
    """sha256 over everything that goes into the image."""
    return _sha256({"root": root_digest(spec), "hypervisor": spec.hypervisor})


def root_digest(spec: ImageSpec) -> str:
    """sha256 over everything that goes into the image's root."""
    below = python_digest(spec) if spec.locks else base_digest(spec)
    locks = [lock_file(spec, lock).read_text() for lock in spec.locks]
    own = _elements_digest(("cached-base", *spec.elements), spec.repository)
    return _sha256([below, own, spec.services, locks])


def python_digest(spec: ImageSpec) -> str:
    """sha256 over what makes the root with the libraries that services share."""
    locks = [lock_file(spec, lock).read_text() for lock in (SHARED, "native")]
    return _sha256([base_digest(spec), _elements_digest(PYTHON, spec.repository), locks])


def base_digest(spec: ImageSpec) -> str:
    """sha256 over what makes the base of all roots."""
    texts = [lock_file(spec, name).read_text() for name in ("agent", "sources")]
    versions = snapshot.read(spec.debian)
    own = _elements_digest(BASE, spec.repository)
    return _sha256([_PIPELINE, spec.debian, own, texts, versions])


def wheels_digest(spec: ImageSpec) -> str:
    """sha256 over what makes the wheels that need a compiler."""
    native = lock_file(spec, "native").read_text()
    return _sha256([native, _elements_digest(WHEELS, spec.repository), spec.debian, _PIPELINE])


def _elements_digest(names: tuple[str, ...], repository: pathlib.Path) -> str:
    return _sha256(elements.inputs(names, repository))


def lock_file(spec: ImageSpec, name: str) -> pathlib.Path:
    """The file with the pinned packages of this name."""
    folder = "common" if name in releases.COMMON else spec.release
    return spec.repository / "releases" / folder / f"{name}.txt"


def _sha256(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
