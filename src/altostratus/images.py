"""Images: where they are in the cache, and building those that it lacks.

An image is a root file system (layers, which images and formats share) in the format of one
hypervisor. Layers and images are named by the digest of all that goes into them.
"""

import collections.abc
import contextlib
import dataclasses
import fcntl
import functools
import hashlib
import pathlib
import shutil

from altostratus import (
    archive,
    hypervisors,
    imagespec,
    layers,
    log,
    machine,
    ramdisk,
    rootfs,
    sbom,
    services,
    snapshot,
    workers,
)
from altostratus.imagespec import ImageSpec
from altostratus.model import DEBIAN

# Of each name this many images are kept in the cache: the present one, and the one before.
_KEPT = 2
DIGITS = 16
_WITH_LIBVIRT = {"openstack", "nova-compute", "testbed", imagespec.UNDERCLOUD_NODE}


def kernel(spec: ImageSpec) -> pathlib.Path:
    """The kernel of a ramdisk: the file beside it."""
    return path(spec).with_suffix(".vmlinuz")


def path(spec: ImageSpec) -> pathlib.Path:
    """The image's file in the cache, whether it is there or not."""
    return (
        machine.cache_dir()
        / "images"
        / f"{spec.name}-{imagespec.digest(spec)[:DIGITS]}.{spec.form}"
    )


def manifest(spec: ImageSpec) -> pathlib.Path:
    """What a built image holds, in CycloneDX's JSON: the file beside the image's."""
    return _manifest(path(spec))


def versions(spec: ImageSpec) -> dict[str, str]:
    """The version of each service of a built image, as far as its manifest names it."""
    text = manifest(spec).read_text()
    found = {name: sbom.version(text, services.get(name).package) for name in spec.services}
    return {name: version for name, version in found.items() if version}


def root_paths(spec: ImageSpec) -> tuple[pathlib.Path, ...]:
    """What in the cache the image is made from, whether it is there or not: folders and files."""
    below = [_root_path("base", imagespec.base_digest(spec))]
    if spec.locks:
        below.append(_root_path("python", imagespec.python_digest(spec)))
    archives = [_archive_path(layer) for layer in below]
    return (*below, *archives, _root_path(_root_name(spec), imagespec.root_digest(spec)))


def refresh(debian: str = DEBIAN) -> dict[str, str]:
    """Take in the archive's updates; returns the new versions of packages that images hold.

    Where there are any, each image has a new digest from then on.
    """
    with _locked():
        held: dict[str, str] = {}
        for path in sorted((machine.cache_dir() / "images").glob("*.cdx.json"), key=_age):
            held |= sbom.debian_packages(path.read_text(), debian)
        return snapshot.refresh(debian, held)


def _age(path: pathlib.Path) -> float:
    return path.stat().st_mtime


def build(spec: ImageSpec) -> pathlib.Path:
    """Build the image unless the cache holds it; safe to interrupt and run again."""
    return build_all([spec])[0]


def build_all(specs: collections.abc.Iterable[ImageSpec]) -> list[pathlib.Path]:
    """Build those images that the cache lacks, as many at a time as there are processors.

    Where one fails, those that are being built are finished, and no others are begun.
    """
    wanted = list(specs)
    targets = [path(spec) for spec in wanted]
    if not all(target.exists() for target in targets):
        with _locked():
            workers.make(map(_image, wanted), machine.size().vcpus)
    return targets


def remove(paths: collections.abc.Iterable[pathlib.Path]) -> None:
    """Remove files and folders from the cache, while no build uses them."""
    with _locked():
        for path in paths:
            _remove(path)


def _remove(path: pathlib.Path) -> None:
    if not path.is_dir():
        path.unlink(missing_ok=True)
        return
    # A folder that is half removed must not be taken for a layer.
    doomed = machine.cache_dir() / "build" / path.name
    doomed.parent.mkdir(exist_ok=True)
    shutil.rmtree(path.rename(doomed))


def _image(spec: ImageSpec) -> workers.Part:
    root, target = _root(spec), path(spec)
    make = functools.partial(_write_image, spec, target, tuple(layer.target for layer in root))
    is_archive = spec.form is hypervisors.ImageForm.DOCKER_ARCHIVE
    shared = tuple(map(_archive, root[:-1])) if is_archive else ()
    return workers.Part(target, make, (*root, *shared))


def _write_image(spec: ImageSpec, target: pathlib.Path, root: layers.Root) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with log.step(f"write {target.name}"):
        # An image that is there has its manifest: that is written before it.
        _write_manifest(spec, root, _manifest(target))
        _WRITERS[spec.form](spec, root, target)
    for made in (target, _manifest(target), kernel(spec)):
        _prune(made)


def _manifest(image: pathlib.Path) -> pathlib.Path:
    return image.with_suffix(".cdx.json")


def _write_manifest(spec: ImageSpec, root: layers.Root, target: pathlib.Path) -> None:
    text = sbom.of_root(root, spec.name, imagespec.digest(spec), spec.debian)
    new = target.with_name(f"{target.name}.new")
    new.write_text(text)
    new.replace(target)


def _write_docker_archive(spec: ImageSpec, root: layers.Root, target: pathlib.Path) -> None:
    # Not its name: names of images have characters that references cannot.
    tag = f"altostratus-image:{imagespec.digest(spec)[:DIGITS]}"
    *below, own = root
    layer = target.with_name(f"{target.name}.layer")
    try:
        layers.write(own, layer)
        archive.write_docker_archive([*map(_archive_path, below), layer], target, tag)
    finally:
        layer.unlink(missing_ok=True)


_Writer = collections.abc.Callable[[ImageSpec, layers.Root, pathlib.Path], None]
_WRITERS: dict[hypervisors.ImageForm, _Writer] = {
    hypervisors.ImageForm.DOCKER_ARCHIVE: _write_docker_archive,
    hypervisors.ImageForm.FILE_SYSTEM: lambda _, root, target: archive.write_ext4(root, target),
    hypervisors.ImageForm.DISK: lambda _, root, target: archive.write_disk(root, target),
    hypervisors.ImageForm.RAMDISK: lambda spec, root, target: ramdisk.write(
        root, kernel(spec), target
    ),
}


def _prune(newest: pathlib.Path) -> None:
    """Keep the newest of a name, with the one that was just made among them."""
    stem, point, ending = newest.name.partition(".")
    found = newest.parent.glob(f"{stem[:-DIGITS]}{'[0-9a-f]' * DIGITS}{point}{ending}")
    for old in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)[_KEPT:]:
        _remove(old)


def _root(spec: ImageSpec) -> tuple[workers.Part, ...]:
    """The layers of the image's root, the lowest first."""
    below = (_base(spec), _python(spec)) if spec.locks else (_base(spec),)
    target = _root_path(_root_name(spec), imagespec.root_digest(spec))
    make = functools.partial(_build_root, spec, target, tuple(layer.target for layer in below))
    wheels = (_wheels(spec),) if spec.locks else ()
    return (*below, workers.Part(target, make, (*below, *wheels)))


def _build_root(spec: ImageSpec, target: pathlib.Path, below: layers.Root) -> None:
    name = _root_name(spec)
    files = _python_files(spec) if spec.locks else ()
    included = ("cached-base", *spec.elements)
    root = rootfs.Root(name, included, spec.debian, files, tuple(below), spec.repository)
    with log.step(f"build the root of {name}"):
        rootfs.build(root, target, machine.cache_dir())
    _prune(target)


def _root_name(spec: ImageSpec) -> str:
    more = () if spec.is_ramdisk else hypervisors.entry(spec.hypervisor).elements
    return "+".join((*spec.services, *more))


def _python(spec: ImageSpec) -> workers.Part:
    """The root with the Python libraries that most services need."""
    target, base = _root_path("python", imagespec.python_digest(spec)), _base(spec)
    make = functools.partial(_build_python, spec, target, base.target)
    return workers.Part(target, make, (base, _wheels(spec)))


def _build_python(spec: ImageSpec, target: pathlib.Path, base: pathlib.Path) -> None:
    files = _python_files(dataclasses.replace(spec, locks=(imagespec.SHARED,)))
    root = rootfs.Root("python", imagespec.PYTHON, spec.debian, files, (base,), spec.repository)
    with log.step("build the root of the libraries that services share"):
        rootfs.build(root, target, machine.cache_dir())
    _prune(target)


def _python_files(spec: ImageSpec) -> tuple[tuple[str, pathlib.Path], ...]:
    """What makes the environment of a root: its lock files, and the wheels it takes."""
    return (
        *((f"locks/{lock}.txt", imagespec.lock_file(spec, lock)) for lock in spec.locks),
        *((f"wheels/{wheel.name}", wheel) for wheel in _chosen(spec, _wheels(spec).target)),
    )


def _archive(layer: workers.Part) -> workers.Part:
    """A layer that images share as a file, made once, so that it is one to an engine."""
    target = _archive_path(layer.target)
    return workers.Part(target, functools.partial(_write_archive, layer.target, target), (layer,))


def _write_archive(layer: pathlib.Path, target: pathlib.Path) -> None:
    with log.step(f"write {target.name}"):
        layers.write(layer, target)
    _prune(target)


def _archive_path(layer: pathlib.Path) -> pathlib.Path:
    return layer.with_name(f"{layer.name}.tar")


def _base(spec: ImageSpec) -> workers.Part:
    target = _root_path("base", imagespec.base_digest(spec))
    return workers.Part(target, functools.partial(_build_base, spec, target))


def _build_base(spec: ImageSpec, target: pathlib.Path) -> None:
    cache = machine.cache_dir()
    sources = imagespec.lock_file(spec, "sources")
    heat_agents = cache / "sources" / hashlib.sha256(sources.read_bytes()).hexdigest()
    if not heat_agents.exists():
        with log.step("fetch the source of heat-agents"):
            rootfs.fetch_source(sources, heat_agents, cache)
    files = (("agent.txt", imagespec.lock_file(spec, "agent")), ("heat-agents", heat_agents))
    root = rootfs.Root("base", imagespec.BASE, spec.debian, files, (), spec.repository)
    with log.step(f"build the base root of Debian {spec.debian}"):
        rootfs.build(root, target, cache)
    _prune(target)


def _wheels(spec: ImageSpec) -> workers.Part:
    """The folder of wheels that need a compiler, which no image holds."""
    target = machine.cache_dir() / "wheels" / imagespec.wheels_digest(spec)
    base = _base(spec)
    make = functools.partial(_build_wheels, spec, target, base.target)
    return workers.Part(target, make, (base,))


def _build_wheels(spec: ImageSpec, target: pathlib.Path, base: pathlib.Path) -> None:
    files = (("native.txt", imagespec.lock_file(spec, "native")),)
    root = rootfs.Root("wheels", imagespec.WHEELS, spec.debian, files, (base,), spec.repository)
    with log.step("build the wheels that need a compiler"):
        rootfs.build_wheels(root, target, machine.cache_dir())


def _chosen(spec: ImageSpec, wheels: pathlib.Path) -> list[pathlib.Path]:
    # libvirt's binding is for compute processes alone.
    prefix = "" if _WITH_LIBVIRT & set(spec.locks) else "uwsgi"
    return [
        wheel for wheel in sorted(wheels.glob("*.whl")) if wheel.name.lower().startswith(prefix)
    ]


def _root_path(name: str, digest: str) -> pathlib.Path:
    return machine.cache_dir() / "roots" / f"{name}-{digest[:DIGITS]}"


@contextlib.contextmanager
def _locked() -> collections.abc.Iterator[None]:
    """Let one build at a time use the cache, and begin with what an interrupted one left."""
    cache = machine.cache_dir()
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        rootfs.clear_leftovers(cache)
        yield
