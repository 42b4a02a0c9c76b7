"""Images as they are kept: those loaded into Glance, the files in the cache, and what is old.

An image is current if its digest is what its services' elements and locks give today.
"""

import collections.abc
import dataclasses
import datetime
import pathlib
import re

from altostratus import guest, hypervisors, images, imagespec, machine, releases
from altostratus import services as catalogue

_FILE = re.compile(r"altostratus-(?P<services>.+)-(?P<hypervisor>[a-z]+)-(?P<digest>[0-9a-f]{16})")
_ROOT = re.compile(r"(?P<services>.+)-[0-9a-f]{16}")
_UNDERCLOUD = "undercloud"
_SHOWN = 12
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"))


@dataclasses.dataclass(frozen=True, slots=True)
class Loaded:
    """An image in Glance; ``digest`` is empty where it is not one of ours."""

    id: str
    name: str
    digest: str
    services: tuple[str, ...]
    hypervisor_type: str
    size: int
    created: datetime.datetime
    servers: int


@dataclasses.dataclass(frozen=True, slots=True)
class Local:
    """An image's file in the cache; ``digest`` is the beginning of the image's."""

    path: pathlib.Path
    name: str
    digest: str
    services: tuple[str, ...]
    hypervisor: str
    size: int
    created: datetime.datetime


def local() -> list[Local]:
    """The images in the cache."""
    folder = machine.cache_dir() / "images"
    found = []
    for path in sorted(folder.glob("*")) if folder.is_dir() else ():
        known = _FILE.fullmatch(path.name.partition(".")[0])
        if known and path.suffix in _image_suffixes():
            status = path.stat()
            found.append(
                Local(
                    path=path,
                    name=path.name.rpartition("-")[0],
                    digest=known["digest"],
                    services=tuple(known["services"].split("+")),
                    hypervisor=known["hypervisor"],
                    size=status.st_blocks * 512,
                    created=datetime.datetime.fromtimestamp(status.st_mtime, datetime.UTC),
                )
            )
    return found


def current_digests(services: tuple[str, ...], hypervisor: str, debian: str) -> frozenset[str]:
    """What the images of these services have as their digests, one for each release."""
    return frozenset(map(imagespec.digest, _specs(services, hypervisor, debian)))


def old_files(debian: str) -> list[pathlib.Path]:
    """Images and layers of roots in the cache that no build would use: files and folders."""
    kept = {path for one in local() for path in _files(one.services, one.hypervisor, debian)}
    kept.add(guest.path())
    ramdisk = imagespec.agent_ramdisk()
    kept |= {images.path(ramdisk), images.kernel(ramdisk), images.manifest(ramdisk)}
    kept |= set(images.root_paths(ramdisk))
    folders = [machine.cache_dir() / name for name in ("images", "roots")]
    for path in folders[1].glob("*"):
        known = _ROOT.fullmatch(path.name)
        if known:
            kept |= set(_files(tuple(known["services"].split("+")), "docker", debian))
    found = [path for folder in folders for path in sorted(folder.glob("*"))]
    return [path for path in found if path not in kept]


def taken(path: pathlib.Path) -> int:
    """The bytes on the disk that a file, or all in a folder, takes."""
    paths = [path, *path.rglob("*")] if path.is_dir() else [path]
    return sum(one.lstat().st_blocks for one in paths) * 512


def unused(
    loaded: collections.abc.Iterable[Loaded],
    current: collections.abc.Callable[[tuple[str, ...], str], collections.abc.Container[str]],
    kept: collections.abc.Container[str] = (),
) -> list[Loaded]:
    """Those images of ours that no server uses and no current definition gives.

    ``kept`` are digests of others that stay: a rollback goes back to them.
    """
    return [
        one
        for one in loaded
        if one.digest
        and not one.servers
        and one.digest not in kept
        and one.digest not in current(one.services, _hypervisor(one.hypervisor_type))
    ]


def rows(
    loaded: collections.abc.Iterable[Loaded],
    files: collections.abc.Iterable[Local],
    now: datetime.datetime,
) -> list[tuple[str, ...]]:
    """Name, size, age, digest, hypervisor type, use and place of each image, to be shown."""
    here = {one.digest: one for one in files}
    found = []
    for image in loaded:
        there = here.pop(image.digest[: images.DIGITS], None) if image.digest else None
        place = "loaded, local" if there else "loaded"
        about = (image.digest[:_SHOWN] or "-", image.hypervisor_type or "-", _use(image.servers))
        found.append((image.name, size(image.size), age(now - image.created), *about, place))
    for file in here.values():
        kind = hypervisors.entry(file.hypervisor).hypervisor_type
        about = (file.digest[:_SHOWN], kind, _use(0))
        found.append((file.name, size(file.size), age(now - file.created), *about, "local"))
    return sorted(found)


def age(passed: datetime.timedelta) -> str:
    """How long ago, in the largest unit that counts at least one."""
    seconds = max(int(passed.total_seconds()), 0)
    for length, unit in _UNITS:
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def size(count: int) -> str:
    """Bytes in KiB, MiB or GiB."""
    if count < 1 << 20:
        return f"{-(-count // 1024)} KiB"
    return f"{count >> 20} MiB" if count < 1 << 30 else f"{count / (1 << 30):.1f} GiB"


def _use(servers: int) -> str:
    return f"{servers} server{'s' if servers > 1 else ''}" if servers else "-"


def _hypervisor(hypervisor_type: str) -> str:
    known = (name for name in hypervisors.names())
    types = {hypervisors.entry(name).hypervisor_type: name for name in known}
    return types.get(hypervisor_type, "")


def _image_suffixes() -> set[str]:
    return {f".{hypervisors.entry(name).image_suffix}" for name in hypervisors.names()}


def _specs(services: tuple[str, ...], hypervisor: str, debian: str) -> list[imagespec.ImageSpec]:
    """The images of these services that can be built, one for each release."""
    if hypervisor not in hypervisors.names():
        return []
    if services[:1] == (_UNDERCLOUD,):
        return [imagespec.undercloud_image(among=services[1:] or None)]
    if services[:1] == (imagespec.UNDERCLOUD_NODE,):
        return [imagespec.undercloud_node_image(services[1:])]
    if not set(services) <= set(catalogue.names()):
        return []
    return [
        imagespec.wanted(services, hypervisor, debian=debian, release=release)
        for release in releases.ALL
    ]


def _files(services: tuple[str, ...], hypervisor: str, debian: str) -> tuple[pathlib.Path, ...]:
    return tuple(
        path
        for spec in _specs(services, hypervisor, debian)
        for path in (images.path(spec), images.manifest(spec), *images.root_paths(spec))
    )
