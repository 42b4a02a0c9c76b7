"""State disks: ext4 files mounted at /mnt/state that outlive the instances they belong to.

Instances of all hypervisors use the same files. A mount lives as long as the container that holds
it: it is made just before the container starts and taken away from the machine's own view right
after. A machine under QEMU gets the file itself as a drive.
"""

import fcntl
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nova import exception
from oslo_concurrency import processutils

from nova_altostratus.conf import CONF
from nova_altostratus.root import Root

TARGET = "/mnt/state"
NAME = "altostratus:state_disk"
SIZE = "altostratus:state_gib"
RELEASE = "altostratus:state_release"

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*(\.[a-z0-9][a-z0-9_-]*)*")
_LONGEST_NAME = 200
_LARGEST_GIB = 16384  # of an ext4 file system in a file
_IDS = 65536  # how many ids a user namespace maps
_FREE_TIMEOUT_S = 10.0
_LOOP_CONTROL = os.makedev(10, 237)
_LOOP_MAJOR = 7


class StateDiskError(exception.NovaException):
    """A state disk cannot be used."""

    msg_fmt = "State disk %(path)s: %(reason)s"


@dataclass(frozen=True, slots=True)
class StateDisk:
    """The state disk an instance asks for by its metadata."""

    path: Path
    size_gib: int
    release: bool


def wanted(instance: Any) -> StateDisk | None:
    """Return the state disk that an instance's metadata asks for, or None.

    :raises StateDiskError: the metadata cannot be obeyed
    """
    name = instance.metadata.get(NAME)
    if name is None:
        return None
    size = instance.metadata.get(SIZE, "1")
    if not size.isdecimal() or not 1 <= int(size) <= _LARGEST_GIB:
        raise StateDiskError(path=name, reason=f"{SIZE} is {size!r}, not a number of GiB")
    release = instance.metadata.get(RELEASE, "").lower() == "true"
    return StateDisk(_path(instance, name), int(size), release)


def _path(instance: Any, name: str) -> Path:
    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        raise StateDiskError(path=name, reason=f"{NAME} is not letters, digits, '.', '_', '-'")
    return Path(CONF.altostratus.state_disks_path, instance.project_id, f"{name}.img")


def prepare(disk: StateDisk, root: Root) -> bool:
    """Make the file if there is none, grow it if it is too small; return whether it is new.

    :raises StateDiskError: it is in use and cannot be grown
    """
    with _locked(disk.path):
        # QEMU, which is not root, must get at a file that libvirt has given it.
        disk.path.parent.chmod(0o711)
        if not disk.path.exists():
            _format(disk, root)
            return True
        _grow(disk, root)
    return False


@contextmanager
def mounted(disk: StateDisk, at: Path, base: int, root: Root) -> Iterator[None]:
    """Mount a state disk while a container starts that has it, its files owned from `base` on.

    :raises StateDiskError: another instance has it, or it cannot be mounted
    """
    with _locked(disk.path), _mounted(disk.path, at, base, root):
        yield


@contextmanager
def attached(disk: StateDisk, at: Path, root: Root) -> Iterator[None]:
    """Keep a state disk free while a machine starts that opens it, its files owned from 0 on.

    :raises StateDiskError: another instance has it, or it cannot be mounted
    """
    with _locked(disk.path):
        with _mounted(disk.path, at, 0, root):
            """The files are given to the ids that the machine itself uses."""
        _refuse_in_use(disk.path, root)
        yield


@contextmanager
def _mounted(path: Path, at: Path, base: int, root: Root) -> Iterator[None]:
    at.mkdir(mode=0o700, exist_ok=True)
    detach(at, root)
    _refuse_in_use(path, root)
    make_loop_nodes(root)
    try:
        root.run("mount", "-t", "ext4", "-o", "loop,nosuid,nodev", str(path), str(at))
    except processutils.ProcessExecutionError as error:
        reason = f"cannot be mounted at {at}: {str(error.stderr).strip()}"
        raise StateDiskError(path=path, reason=reason) from error
    try:
        shift(at, base)
        yield
    finally:
        detach(at, root)


def release(disk: StateDisk) -> None:
    """Remove a state disk and what is on it for good."""
    with _locked(disk.path):
        disk.path.unlink(missing_ok=True)
        _growing(disk.path).unlink(missing_ok=True)
    _lock_of(disk.path).unlink(missing_ok=True)


def release_if_asked(instance: Any) -> None:
    """Remove an instance's state disk if it is told that this is to go with the instance."""
    try:
        disk = wanted(instance) or _given_up(instance)
    except StateDiskError:
        return  # It never had one.
    if disk and disk.release:
        release(disk)


def _given_up(instance: Any) -> StateDisk | None:
    """The state disk of an instance that was deleted while its node was down.

    Nova takes metadata away with an instance, and keeps its description.
    """
    said = instance.display_description or ""
    name = said.removeprefix(f"{RELEASE}=")
    return StateDisk(_path(instance, name), 1, release=True) if name != said else None


def detach(at: Path, root: Root) -> None:
    """Take a mount away from the machine's view; containers keep theirs."""
    if at.is_mount():
        root.run("umount", str(at))


def shift(top: Path, base: int) -> None:
    """Give a tree whose root directory belongs to `old` to the ids from `base` on.

    The root directory changes hands last: an interrupted shift is taken up where it stopped.
    """
    owner = top.stat()
    if (owner.st_uid, owner.st_gid) == (base, base):
        return
    for _path, directories, files, descriptor in os.fwalk(top, topdown=False):
        for name in (*directories, *files):
            _shift_one(name, descriptor, owner.st_uid, owner.st_gid, base)
    os.chown(top, base, base)


def _shift_one(name: str, directory: int, uid: int, gid: int, base: int) -> None:
    before = os.stat(name, dir_fd=directory, follow_symlinks=False)
    new_uid = base + before.st_uid - uid if 0 <= before.st_uid - uid < _IDS else before.st_uid
    new_gid = base + before.st_gid - gid if 0 <= before.st_gid - gid < _IDS else before.st_gid
    os.chown(name, new_uid, new_gid, dir_fd=directory, follow_symlinks=False)
    if before.st_mode & (stat.S_ISUID | stat.S_ISGID) and not stat.S_ISLNK(before.st_mode):
        # chown clears these bits, whoever calls it.
        os.chmod(name, stat.S_IMODE(before.st_mode), dir_fd=directory)


def make_loop_nodes(root: Root) -> None:
    """Make the device nodes that mount(8) needs: a container's /dev does not grow them."""
    if not os.path.exists("/dev/loop-control"):
        os.mknod("/dev/loop-control", stat.S_IFCHR | 0o600, _LOOP_CONTROL)
    free = root.run("losetup", "--find").strip().removeprefix("/dev/loop")
    # Others may take the first free device meanwhile, and the kernel then offers the next.
    for number in range(int(free), int(free) + 4) if free.isdecimal() else ():
        if not os.path.exists(f"/dev/loop{number}"):
            os.mknod(f"/dev/loop{number}", stat.S_IFBLK | 0o600, os.makedev(_LOOP_MAJOR, number))


def _format(disk: StateDisk, root: Root) -> None:
    new = disk.path.with_suffix(".new")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    os.truncate(new, disk.size_gib << 30)
    root.run("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "root_owner=0:0", "-L", "state", str(new))
    new.rename(disk.path)


def _grow(disk: StateDisk, root: Root) -> None:
    mark, size = _growing(disk.path), disk.path.stat().st_size
    if size >= disk.size_gib << 30 and not mark.exists():
        return
    _refuse_in_use(disk.path, root)
    # The file grows at once, its file system does not: who is cut off between takes it up again.
    mark.touch()
    os.truncate(disk.path, max(size, disk.size_gib << 30))
    root.run("e2fsck", "-f", "-p", str(disk.path), ok=(0, 1))
    root.run("resize2fs", str(disk.path))
    mark.unlink()


def _growing(path: Path) -> Path:
    return path.with_suffix(".growing")


def _refuse_in_use(path: Path, root: Root) -> None:
    # A container that has just died gives its loop device back a moment later.
    deadline = time.monotonic() + _FREE_TIMEOUT_S
    while user := _user(path, root):
        if time.monotonic() > deadline:
            raise StateDiskError(path=path, reason=f"is in use by another instance ({user})")
        time.sleep(0.05)


def _user(path: Path, root: Root) -> str:
    """Return what has a file open: a container's loop device, or QEMU, which locks it."""
    with path.open("r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return "a machine under QEMU"
    return root.run("losetup", "--associated", str(path)).strip()


def _lock_of(path: Path) -> Path:
    return path.with_suffix(".lock")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    with open(_lock_of(path), "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
