"""A root as the initial file system of a machine: cpio's newc format, compressed.

What bare-metal machines boot to be inspected and written. The kernel reads the format, and a root
is packed as it is, without unpacking its layers first.
"""

import collections.abc
import os
import pathlib
import stat
import typing

from altostratus import errors, layers, run

_MAGIC = b"070701"
_LAST = "TRAILER!!!"
_ALIGNED = 4
# Where the element has the kernel; the ramdisk itself does not need it.
KERNEL = "usr/lib/altostratus/vmlinuz"
# What knows of packages: nothing is installed in memory.
_LEFT_OUT = (KERNEL, "boot", "var/cache", "var/lib/apt", "var/lib/dpkg", "usr/lib/apt", "tmp")


def write(root: layers.Root, kernel: pathlib.Path, target: pathlib.Path) -> None:
    """Write a root's kernel and, when that is complete, its initial file system."""
    found = layers.files(root)
    if KERNEL not in found:
        raise errors.Error(f"the root of {target.name} has no kernel {KERNEL}")
    new = kernel.with_name(f"{kernel.name}.new")
    new.write_bytes(pathlib.Path(found[KERNEL].path).read_bytes())
    new.replace(kernel)
    archive = target.with_name(f"{target.name}.cpio")
    new = target.with_name(f"{target.name}.new")
    try:
        with archive.open("wb") as file:
            pack({place: one for place, one in found.items() if _is_kept(place)}, file)
        run.run(["zstd", "--quiet", "--force", "-12", "-T0", str(archive), "-o", str(new)])
    finally:
        archive.unlink(missing_ok=True)
    new.replace(target)


def pack(files: collections.abc.Mapping[str, os.DirEntry[str]], target: typing.IO[bytes]) -> None:
    """Write files by their places as an archive; those above come before those in them."""
    for number, place in enumerate(sorted(files), start=1):
        status = files[place].stat(follow_symlinks=False)
        if stat.S_ISSOCK(status.st_mode):
            continue
        _write_entry(target, place, _content(files[place], status), number, status)
    _write_entry(target, _LAST, b"", 0, None)


def _is_kept(place: str) -> bool:
    return not any(place == one or place.startswith(f"{one}/") for one in _LEFT_OUT)


def _content(entry: os.DirEntry[str], status: os.stat_result) -> bytes:
    if stat.S_ISLNK(status.st_mode):
        return os.fsencode(os.readlink(entry.path))
    return pathlib.Path(entry.path).read_bytes() if stat.S_ISREG(status.st_mode) else b""


def _write_entry(
    target: typing.IO[bytes],
    place: str,
    content: bytes,
    number: int,
    status: os.stat_result | None,
) -> None:
    """One member. Its hard links are not kept: each name has the content."""
    name = os.fsencode(place) + b"\0"
    device = status.st_rdev if status else 0
    fields = (
        number,
        status.st_mode if status else 0,
        status.st_uid if status else 0,
        status.st_gid if status else 0,
        1,
        int(status.st_mtime) if status else 0,
        len(content),
        0,
        0,
        os.major(device),
        os.minor(device),
        len(name),
        0,
    )
    header = _MAGIC + b"".join(b"%08X" % field for field in fields) + name
    target.write(_padded(header) + _padded(content))


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % _ALIGNED)
