"""Root file systems, made by diskimage-builder from our elements, each a layer on others.

A build runs in its own mount and PID namespaces and dies with this process, so that an
interrupted one leaves files in the cache's ``build`` folder at most, never a mount.
"""

import collections.abc
import contextlib
import dataclasses
import importlib.metadata
import os
import pathlib
import re
import shutil
import sys
import tarfile

from altostratus import errors, registries, run

REPOSITORY = pathlib.Path(__file__).parents[2]
_LAST_LINES = 15
_LAYER = "layer"
_NOTHING = "nothing"
# Where diskimage-builder keeps Debian's packages, in what is its cache.
_ARCHIVES = "dib/apt/debian"
# Mirrors fail now and then, and debootstrap asks them once.
_ATTEMPTS = 3
_PASSING = re.compile(r"Couldn't download packages|Temporary failure resolving|Connection reset")


@dataclasses.dataclass(frozen=True, slots=True)
class Root:
    """What a root file system is made of; ``files`` are handed in under their own names.

    ``below`` are the layers that it is built on, the lowest first.
    """

    name: str
    elements: tuple[str, ...]
    debian: str
    files: tuple[tuple[str, pathlib.Path], ...] = ()
    below: tuple[pathlib.Path, ...] = ()
    repository: pathlib.Path = REPOSITORY


def build(root: Root, target: pathlib.Path, cache: pathlib.Path) -> None:
    """Run diskimage-builder and move the resulting layer to the folder ``target``."""
    _build(root, pathlib.Path(_LAYER), target, cache)


def build_wheels(root: Root, target: pathlib.Path, cache: pathlib.Path) -> None:
    """Like :func:`build`, but keep what the build left in its ``wheels`` folder."""
    _build(root, pathlib.Path("inputs", "wheels"), target, cache)


def _build(root: Root, kept: pathlib.Path, target: pathlib.Path, cache: pathlib.Path) -> None:
    work = _workplace(root, cache)
    try:
        _write_inputs(root, work / "inputs")
        with _archives(work, cache):
            _disk_image_create(root, work, cache)
        target.parent.mkdir(parents=True, exist_ok=True)
        (work / kept).replace(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def fetch_source(requirements: pathlib.Path, target: pathlib.Path, cache: pathlib.Path) -> None:
    """Download and unpack the one source distribution that ``requirements`` pins by hash."""
    new = cache / "build" / target.name
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    run.run([
        sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:",
        "--require-hashes", "--dest", str(new), "--requirement", str(requirements),
    ])  # fmt: skip
    (package,) = new.glob("*.tar.gz")
    with tarfile.open(package) as archive:
        archive.extractall(new, filter="data")
    (unpacked,) = (path for path in new.iterdir() if path.is_dir())
    target.parent.mkdir(parents=True, exist_ok=True)
    unpacked.replace(target)
    shutil.rmtree(new)


def clear_leftovers(cache: pathlib.Path) -> None:
    """Remove what interrupted builds left; the caller holds the lock of the cache."""
    build_folder = cache / "build"
    mounts = pathlib.Path("/proc/self/mounts").read_text().splitlines()
    for mount in reversed([line.split()[1] for line in mounts]):
        if mount.startswith(f"{build_folder}/"):
            run.run(["umount", "--lazy", mount])
    shutil.rmtree(build_folder, ignore_errors=True)


def dib_version() -> str:
    """The version of diskimage-builder, which stands for its elements in a digest."""
    return importlib.metadata.version("diskimage-builder")


def _workplace(root: Root, cache: pathlib.Path) -> pathlib.Path:
    work = cache / "build" / root.name
    for folder in ("tmp", _NOTHING, _LAYER, f"{_LAYER}.work"):
        (work / folder).mkdir(parents=True)
    # The mode of the root itself, whatever the umask.
    (work / _LAYER).chmod(0o755)
    return work


def _write_inputs(root: Root, inputs: pathlib.Path) -> None:
    for folder in ("locks", "wheels", "uv-cache"):
        (inputs / folder).mkdir(parents=True)
    registries.write(inputs, root.debian)
    shutil.copy(_program("uv"), inputs / "uv")
    for name, source in root.files:
        if source.is_dir():
            shutil.copytree(source, inputs / name, symlinks=True, dirs_exist_ok=True)
        else:
            shutil.copy(source, inputs / name)


@contextlib.contextmanager
def _archives(work: pathlib.Path, cache: pathlib.Path) -> collections.abc.Iterator[None]:
    """Lend a build the packages that earlier ones fetched, and keep what it fetches.

    apt locks the folder while it installs, so each build has one of its own, of hard links.
    """
    shared, own = cache / _ARCHIVES, work / _ARCHIVES
    shared.mkdir(parents=True, exist_ok=True)
    own.mkdir(parents=True)
    _link_missing(shared, own)
    try:
        yield
    finally:
        _link_missing(own, shared)


def _link_missing(source: pathlib.Path, target: pathlib.Path) -> None:
    for package in source.glob("*.deb"):
        # Another build may have brought the same one.
        with contextlib.suppress(FileExistsError):
            (target / package.name).hardlink_to(package)


def _disk_image_create(root: Root, work: pathlib.Path, cache: pathlib.Path) -> None:
    log = cache / "logs" / f"{root.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    command = [
        "setpriv", "--pdeathsig", "KILL",
        "unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child",
        "--mount-proc", "nice", "-n", "5",
        _program("disk-image-create"), "-n", "-t", "raw", "-o", str(work / "root"),
        "--logfile", str(log), *root.elements, "no-final-image",
    ]  # fmt: skip
    for attempt in range(1, _ATTEMPTS + 1):
        done = run.run(command, env=_environment(root, work, cache), check=False)
        if done.returncode == 0:
            return
        said = _last_words(log) or done.stderr
        if attempt == _ATTEMPTS or not _PASSING.search(said):
            break
        log.unlink()
    hint = f"read the whole log: less {log}"
    if "404  Not Found" in said:
        hint = "the archive has moved on: take in its updates with image build --refresh"
    raise errors.Error(f"diskimage-builder failed on {root.name}:\n{said}", hint=hint)


def _last_words(log: pathlib.Path) -> str:
    """The end of the log but for the clearing up that follows every failure."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    noise = re.compile(r"\| (Unmount |INFO |Killing )")
    return "\n".join([line for line in lines if not noise.search(line)][-_LAST_LINES:])


def _environment(root: Root, work: pathlib.Path, cache: pathlib.Path) -> dict[str, str]:
    """A whole environment: what else this process's own holds could end up in the image."""
    tools = pathlib.Path(sys.executable).parent
    settings = {
        "ALTOSTRATUS_CACHE": cache,
        "ALTOSTRATUS_BELOW": ":".join(map(str, (*reversed(root.below), work / _NOTHING))),
        "ALTOSTRATUS_INPUTS": work / "inputs",
        "ALTOSTRATUS_LAYER": work / _LAYER,
        "ALTOSTRATUS_REPOSITORY": root.repository,
        "DIB_DISTRIBUTION_MIRROR": registries.debian_mirror(root.debian),
        "DIB_IMAGE_CACHE": work / "dib",
        # Its own measuring of the tree is for a disk image that is not made here.
        "DIB_IMAGE_SIZE": 1,
        "DIB_LOCKFILES": cache / "dib" / "lockfiles",
        "DIB_MANIFEST_SAVE_DIR": work / "manifests",
        "DIB_NO_TMPFS": 1,
        "DIB_RELEASE": root.debian,
        "ELEMENTS_PATH": root.repository / "elements",
        # Run wherever diskimage-builder has unmounted what is below the root.
        "EXTRA_DETACH": root.repository / "elements" / "pipeline" / "lib" / "detach-root",
        "HOME": os.environ.get("HOME", "/root"),
        "LANG": "C.UTF-8",
        "PATH": f"{tools}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "TMP_DIR": work / "tmp",
        "USER": "root",
    }
    return {name: str(value) for name, value in settings.items()} | registries.proxies()


def _program(name: str) -> str:
    beside = pathlib.Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if not found:
        raise errors.Error(f"{name} is not installed", hint="./altostratus --help installs it")
    return found
