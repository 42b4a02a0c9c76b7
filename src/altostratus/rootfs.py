"""Root file systems, packed as tar archives by diskimage-builder from our elements.

A build runs in its own mount and PID namespaces and dies with this process, so that an
interrupted one leaves files in the cache's ``build`` folder at most, never a mount.
"""

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


@dataclasses.dataclass(frozen=True, slots=True)
class Root:
    """What a root file system is made of; ``files`` are handed in under their own names."""

    name: str
    elements: tuple[str, ...]
    debian: str
    files: tuple[tuple[str, pathlib.Path], ...] = ()
    base: pathlib.Path | None = None
    repository: pathlib.Path = REPOSITORY


def build(root: Root, target: pathlib.Path, cache: pathlib.Path) -> None:
    """Run diskimage-builder and move the resulting tar archive to ``target``."""
    work = _workplace(root, cache)
    try:
        _write_inputs(root, work / "inputs")
        _disk_image_create(root, work, cache)
        _add_mount_points(work / "root.tar")
        target.parent.mkdir(parents=True, exist_ok=True)
        (work / "root.tar").replace(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def build_wheels(root: Root, target: pathlib.Path, cache: pathlib.Path) -> None:
    """Like :func:`build`, but keep what the build left in its ``wheels`` folder."""
    work = _workplace(root, cache)
    try:
        _write_inputs(root, work / "inputs")
        _disk_image_create(root, work, cache)
        target.parent.mkdir(parents=True, exist_ok=True)
        (work / "inputs" / "wheels").replace(target)
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
    (work / "tmp").mkdir(parents=True)
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


def _disk_image_create(root: Root, work: pathlib.Path, cache: pathlib.Path) -> None:
    log = cache / "logs" / f"{root.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    command = [
        "setpriv", "--pdeathsig", "KILL",
        "unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child",
        "--mount-proc", "nice", "-n", "5",
        _program("disk-image-create"), "-n", "-t", "tar", "-o", str(work / "root"),
        "--logfile", str(log), *root.elements,
    ]  # fmt: skip
    done = run.run(command, env=_environment(root, work, cache), check=False)
    if done.returncode:
        said = _last_words(log) or done.stderr
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
        "ALTOSTRATUS_INPUTS": work / "inputs",
        "ALTOSTRATUS_REPOSITORY": root.repository,
        "DIB_DISTRIBUTION_MIRROR": registries.debian_mirror(root.debian),
        "DIB_IMAGE_CACHE": cache / "dib",
        # Its own measuring of the tree is for a disk image that is not made here.
        "DIB_IMAGE_SIZE": 1,
        "DIB_LOCKFILES": cache / "dib" / "lockfiles",
        "DIB_MANIFEST_SAVE_DIR": work / "manifests",
        "DIB_NO_TMPFS": 1,
        "DIB_RELEASE": root.debian,
        "ELEMENTS_PATH": root.repository / "elements",
        "HOME": os.environ.get("HOME", "/root"),
        "LANG": "C.UTF-8",
        "PATH": f"{tools}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "TMP_DIR": work / "tmp",
        "USER": "root",
    }
    if root.base:
        settings["ALTOSTRATUS_BASE_ROOT"] = root.base
    return {name: str(value) for name, value in settings.items()} | registries.proxies()


def _add_mount_points(archive: pathlib.Path) -> None:
    """diskimage-builder leaves /proc and /sys out, which a container needs as folders."""
    with tarfile.open(archive, "a:") as tar:
        for name in ("./proc", "./sys"):
            member = tarfile.TarInfo(name)
            member.type, member.mode = tarfile.DIRTYPE, 0o555
            tar.addfile(member)


def _program(name: str) -> str:
    beside = pathlib.Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if not found:
        raise errors.Error(f"{name} is not installed", hint="./altostratus --help installs it")
    return found
