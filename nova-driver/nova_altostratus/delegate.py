"""Gives a container its own cgroup subtree to manage. Run as a program, with the standard library.

A process of its own, because it enters the container's mount namespace. It runs none of the
container's programs there: they would have this machine's root rights.
Arguments: the container's first process, the machine's id of the container's root, and perhaps
`--with-sysfs`.
"""

import ctypes
import os
import sys

_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 1, 2, 4, 8
_MS_REMOUNT, _MS_BIND = 32, 4096
_FLAGS = _MS_REMOUNT | _MS_BIND | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
_UNIFIED, _SYSTEMD = "/sys/fs/cgroup", "/sys/fs/cgroup/systemd"
_SYSFS, _SECOND_SYSFS = "/sys", "/dev/.sys"
_CLONE_NEWNS = 0x00020000
WITH_SYSFS = "--with-sysfs"


def main(pid: int, owner: int, *options: str) -> None:
    """Make the container's view of its own cgroup writable, and its root the owner of it."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/proc/{pid}/mounts") as mounts:
        kinds = dict(line.split()[1:3] for line in mounts)
    # With version 1, systemd's named hierarchy is enough: limits stay the machine's business.
    target = _UNIFIED if kinds.get(_UNIFIED) == "cgroup2" else _SYSTEMD
    if target not in kinds:
        sys.exit(f"process {pid} has no cgroup hierarchy at {target}")
    descriptor = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY)
    _check(libc.setns(descriptor, _CLONE_NEWNS), "enter the mount namespace")
    _check(libc.mount(None, target.encode(), None, _FLAGS, None), f"make {target} writable")
    if owner:
        _give(target, owner)
    if WITH_SYSFS in options:
        _open_sysfs(libc, owner)


def _open_sysfs(libc: ctypes.CDLL, owner: int) -> None:
    """Let the container mount sysfs for network namespaces of its own.

    The kernel allows that only where a writable one is in full view, and `ip netns exec` takes
    away the one at /sys first: there is a second one.
    """
    flags = _FLAGS & ~_MS_BIND
    _check(libc.mount(None, _SYSFS.encode(), None, flags, None), f"make {_SYSFS} writable")
    # Its /dev belongs to its user namespace, and takes no file of somebody whom that does not know.
    libc.setfsgid(owner)
    libc.setfsuid(owner)
    os.makedirs(_SECOND_SYSFS, mode=0o700, exist_ok=True)
    libc.setfsuid(0)
    libc.setfsgid(0)
    mounted = libc.mount(_SYSFS.encode(), _SECOND_SYSFS.encode(), None, _MS_BIND, None)
    _check(mounted, f"mount {_SYSFS} at {_SECOND_SYSFS}")


def _give(target: str, owner: int) -> None:
    os.chown(target, owner, owner)
    for name in ("cgroup.procs", "cgroup.threads", "cgroup.subtree_control", "tasks"):
        path = f"{target}/{name}"
        if os.path.exists(path):
            os.chown(path, owner, owner)


def _check(result: int, what: str) -> None:
    if result:
        sys.exit(f"cannot {what}: {os.strerror(ctypes.get_errno())}")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
