"""Images: what each is made of, its digest, and building those that the cache lacks.

An image is a root file system (a tar archive, shared by all its formats) in the format of
one hypervisor. Both are named by the digest of all that goes into them.
"""

import collections.abc
import contextlib
import dataclasses
import fcntl
import hashlib
import json
import logging
import pathlib

from diskimage_builder import element_dependencies  # type: ignore[import-untyped]

from altostratus import archive, hypervisors, log, machine, rootfs

# That our `base` takes the place of diskimage-builder's is meant, and no news.
logging.getLogger(element_dependencies.__name__).setLevel(logging.ERROR)

RELEASE = "2026.2"
DEBIAN = "bookworm"

# Raised when the way images are made changes in a manner that no input shows.
_PIPELINE = 1
# Of each name this many images are kept in the cache: the present one, and the one before.
_KEPT = 2
_DIGITS = 16
_BASE = ("debian-base", "base", "agent-software")
_WITH_LIBVIRT = {"openstack", "nova-compute"}
_WHEELS = ("cached-base", "native-wheels")
_IGNORED = {"__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", "build", "tests"}


@dataclasses.dataclass(frozen=True, slots=True)
class ImageSpec:
    """What an image holds and which hypervisor it is for."""

    services: tuple[str, ...]
    hypervisor: str
    elements: tuple[str, ...]
    locks: tuple[str, ...] = ()
    release: str = RELEASE
    debian: str = DEBIAN
    repository: pathlib.Path = rootfs.REPOSITORY

    @property
    def name(self) -> str:
        return f"altostratus-{'+'.join(self.services)}-{self.hypervisor}"


def wanted(
    services: collections.abc.Iterable[str],
    hypervisor: str,
    repository: pathlib.Path = rootfs.REPOSITORY,
) -> ImageSpec:
    """The image that runs these services on this hypervisor, an element for each of them."""
    names = tuple(sorted(services))
    release = repository / "releases" / RELEASE
    locks = tuple(name for name in names if (release / f"{name}.txt").exists())
    return ImageSpec(names, hypervisor, names, locks, repository=repository)


def undercloud_image() -> ImageSpec:
    """The image of a whole undercloud in one Docker container."""
    return ImageSpec(("undercloud",), "docker", ("undercloud",), ("openstack",))


def digest(spec: ImageSpec) -> str:
    """sha256 over everything that goes into the image."""
    return _sha256({"root": _root_digest(spec), "hypervisor": spec.hypervisor})


def path(spec: ImageSpec) -> pathlib.Path:
    """The image's file in the cache, whether it is there or not."""
    suffix = hypervisors.entry(spec.hypervisor).image_suffix
    return machine.cache_dir() / "images" / f"{spec.name}-{digest(spec)[:_DIGITS]}.{suffix}"


def build(spec: ImageSpec) -> pathlib.Path:
    """Build the image unless the cache holds it; safe to interrupt and run again."""
    target = path(spec)
    if target.exists():
        return target
    with _locked():
        if target.exists():
            return target
        root = _service_root(spec)
        target.parent.mkdir(parents=True, exist_ok=True)
        with log.step(f"write {target.name}"):
            _WRITERS[hypervisors.entry(spec.hypervisor).image_form](spec, root, target)
        _prune(target.parent, spec.name)
    return target


def _write_docker_archive(spec: ImageSpec, root: pathlib.Path, target: pathlib.Path) -> None:
    # Not its name: names of images have characters that references cannot.
    tag = f"altostratus-image:{digest(spec)[:_DIGITS]}"
    archive.write_docker_archive(root, target, tag, _base_root(spec))


def _write_ext4(spec: ImageSpec, root: pathlib.Path, target: pathlib.Path) -> None:
    archive.write_ext4(root, target)


_Writer = collections.abc.Callable[[ImageSpec, pathlib.Path, pathlib.Path], None]
_WRITERS: dict[hypervisors.ImageForm, _Writer] = {
    hypervisors.ImageForm.DOCKER_ARCHIVE: _write_docker_archive,
    hypervisors.ImageForm.FILE_SYSTEM: _write_ext4,
}


def _prune(folder: pathlib.Path, name: str) -> None:
    """Keep the newest files of a name, with the one that was just made among them."""
    pattern = f"{name}-{'[0-9a-f]' * _DIGITS}*"
    found = sorted(folder.glob(pattern), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in found[_KEPT:]:
        old.unlink()


def _service_root(spec: ImageSpec) -> pathlib.Path:
    name = "+".join(spec.services)
    target = machine.cache_dir() / "roots" / f"{name}-{_root_digest(spec)[:_DIGITS]}.tar"
    if target.exists():
        return target
    base = _base_root(spec)
    wheels = _wheels(spec, base) if spec.locks else None
    with log.step(f"build the root of {name}"):
        files = [(f"locks/{lock}.txt", _lock_file(spec, lock)) for lock in spec.locks]
        if wheels:
            files += [(f"wheels/{wheel.name}", wheel) for wheel in _chosen(spec, wheels)]
        elements = ("cached-base", *spec.elements)
        root = rootfs.Root(name, elements, spec.debian, tuple(files), base, spec.repository)
        rootfs.build(root, target, machine.cache_dir())
    _prune(target.parent, name)
    return target


def _base_root(spec: ImageSpec) -> pathlib.Path:
    cache = machine.cache_dir()
    target = cache / "roots" / f"base-{_base_digest(spec)[:_DIGITS]}.tar"
    if target.exists():
        return target
    sources = _lock_file(spec, "sources")
    heat_agents = cache / "sources" / _sha256(sources.read_text())
    if not heat_agents.exists():
        with log.step("fetch the source of heat-agents"):
            rootfs.fetch_source(sources, heat_agents, cache)
    with log.step(f"build the base root of Debian {spec.debian}"):
        agent = _lock_file(spec, "agent")
        files = (("agent.txt", agent), ("heat-agents", heat_agents))
        root = rootfs.Root("base", _BASE, spec.debian, files, None, spec.repository)
        rootfs.build(root, target, cache)
    _prune(target.parent, "base")
    return target


def _wheels(spec: ImageSpec, base: pathlib.Path) -> pathlib.Path:
    """The folder of wheels that need a compiler, which no image holds."""
    native = _lock_file(spec, "native")
    inputs = [
        native.read_text(),
        _elements_digest(_WHEELS, spec.repository),
        spec.debian,
        _PIPELINE,
    ]
    target = machine.cache_dir() / "wheels" / _sha256(inputs)
    if not target.exists():
        with log.step("build the wheels that need a compiler"):
            files = (("native.txt", native),)
            root = rootfs.Root("wheels", _WHEELS, spec.debian, files, base, spec.repository)
            rootfs.build_wheels(root, target, machine.cache_dir())
    return target


def _chosen(spec: ImageSpec, wheels: pathlib.Path) -> list[pathlib.Path]:
    # libvirt's binding is for compute processes alone.
    prefix = "" if _WITH_LIBVIRT & set(spec.locks) else "uwsgi"
    return [
        wheel for wheel in sorted(wheels.glob("*.whl")) if wheel.name.lower().startswith(prefix)
    ]


def _root_digest(spec: ImageSpec) -> str:
    locks = [_lock_file(spec, lock).read_text() for lock in (*spec.locks, "native")]
    elements = _elements_digest(("cached-base", *spec.elements), spec.repository)
    return _sha256([_base_digest(spec), elements, spec.services, locks])


def _base_digest(spec: ImageSpec) -> str:
    texts = [_lock_file(spec, name).read_text() for name in ("agent", "sources")]
    return _sha256([_PIPELINE, spec.debian, _elements_digest(_BASE, spec.repository), texts])


def _elements_digest(elements: tuple[str, ...], repository: pathlib.Path) -> str:
    """Over the files of these elements, of those they depend on, and of what they copy."""
    ours = (repository / "elements").resolve()
    builtin = pathlib.Path(element_dependencies.__file__).with_name("elements")
    found = element_dependencies.get_elements(elements, f"{ours}:{builtin}")
    content: dict[str, object] = {"diskimage-builder": rootfs.dib_version()}
    for name, place in sorted(found):
        element = pathlib.Path(place)
        if not element.is_relative_to(ours):
            content[name] = "diskimage-builder"
            continue
        content[name] = _tree(element)
        sources = element / "repository-sources"
        for source in sources.read_text().split() if sources.exists() else ():
            content[f"{name}: {source}"] = _tree(repository / source)
    return _sha256(content)


def _tree(place: pathlib.Path) -> dict[str, tuple[int, str]]:
    """The mode and digest of each file under a folder, or of the one file."""
    paths = [place] if place.is_file() else sorted(place.rglob("*"))
    return {
        str(path.relative_to(place)): (
            path.stat().st_mode & 0o111,
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in paths
        if path.is_file() and not _IGNORED & set(path.relative_to(place).parts)
    }


def _lock_file(spec: ImageSpec, name: str) -> pathlib.Path:
    return spec.repository / "releases" / spec.release / f"{name}.txt"


def _sha256(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@contextlib.contextmanager
def _locked() -> collections.abc.Iterator[None]:
    """Let one build at a time use the cache, and begin with what an interrupted one left."""
    cache = machine.cache_dir()
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        rootfs.clear_leftovers(cache)
        yield
