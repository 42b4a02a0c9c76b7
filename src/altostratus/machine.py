"""The machine that the undercloud instance runs on: its packages, its container engine, its size."""

import collections.abc
import dataclasses
import os
import pathlib
import shutil
import socket
import time

from altostratus import errors, log, run

PACKAGES = (
    "docker.io",
    "debootstrap",
    "e2fsprogs",
    "iproute2",
    "kpartx",
    "openssh-client",
    "procps",
    "qemu-utils",
    "rsync",
    "gdisk",
    "sudo",
    "dosfstools",
    "zstd",
)
ENGINE_SOCKET = pathlib.Path("/var/run/docker.sock")
ENGINE_START_S = 30
NEEDED_MEMORY_MIB = 12 * 1024
NEEDED_DISK_GIB = 25


@dataclasses.dataclass(frozen=True, slots=True)
class Size:
    """What the machine has: memory in MiB, free disk in GiB, processors."""

    memory_mib: int
    disk_gib: int
    vcpus: int


def cache_dir() -> pathlib.Path:
    """Where images and all that helps building them is kept; safe to delete as a whole."""
    return pathlib.Path(os.environ.get("ALTOSTRATUS_CACHE", "/var/cache/altostratus"))


def state_dir() -> pathlib.Path:
    """Where the undercloud's metadata and the clouds' keys are, readable for root only."""
    path = pathlib.Path(os.environ.get("ALTOSTRATUS_STATE", "/var/lib/altostratus"))
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def size() -> Size:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    disk = shutil.disk_usage("/var/lib").free
    return Size(memory >> 20, disk >> 30, os.cpu_count() or 1)


def prepare() -> None:
    """Install what the undercloud instance needs of the machine and start the container engine.

    Raises :class:`errors.Error` where the machine is too small or this is not root.
    """
    refuse_without_root()
    _check_size(size())
    install(PACKAGES)
    _start_engine()


def refuse_without_root() -> None:
    """Raise :class:`errors.Error` if this is not root."""
    if os.geteuid() != 0:
        raise errors.Error("this command needs root", hint="run it with sudo")


def start_installed_engine() -> bool:
    """Start the container engine where there is one; returns whether there is."""
    if shutil.which("dockerd") is None:
        return False
    _start_engine()
    return True


def _check_size(found: Size) -> None:
    if found.memory_mib < NEEDED_MEMORY_MIB * 0.95:
        raise errors.Error(
            f"the machine has {found.memory_mib} MiB of memory, an undercloud with its first"
            f" overcloud needs {NEEDED_MEMORY_MIB} MiB",
            hint="use a larger machine",
        )
    if found.disk_gib < NEEDED_DISK_GIB:
        raise errors.Error(
            f"{found.disk_gib} GiB are free below /var/lib, {NEEDED_DISK_GIB} GiB are needed",
            hint=f"free some space; images of earlier builds are in {cache_dir()}",
        )


def install(packages: collections.abc.Iterable[str]) -> None:
    """Install those of Debian's packages that are missing."""
    missing = [name for name in packages if not _is_installed(name)]
    if not missing:
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with log.step(f"install packages {' '.join(missing)}"):
        run.run(["apt-get", "-q", "update"], env=environment)
        run.run(["apt-get", "-qy", "--no-install-recommends", "install", *missing], env=environment)


def _is_installed(package: str) -> bool:
    query = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package]
    return run.run(query, check=False).stdout == "installed"


def _start_engine() -> None:
    """Start the Docker Engine where none answers: through the init where there is systemd, else by itself."""
    if _engine_answers():
        return
    with log.step("start the Docker Engine"):
        if pathlib.Path("/run/systemd/system").is_dir():
            run.run(["systemctl", "enable", "--now", "docker.service"])
        else:
            run.spawn(["dockerd"], logfile=pathlib.Path("/var/log/dockerd.log"))
        _wait_for_engine()


def _wait_for_engine() -> None:
    deadline = time.monotonic() + ENGINE_START_S
    while not _engine_answers():
        if time.monotonic() > deadline:
            raise errors.Error(
                f"the Docker Engine did not answer within {ENGINE_START_S} s",
                hint="look at /var/log/dockerd.log or 'journalctl -u docker'",
            )
        time.sleep(0.2)


def _engine_answers() -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(2)
            client.connect(str(ENGINE_SOCKET))
            client.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b"200 OK" in client.recv(64)
    except OSError:
        return False
