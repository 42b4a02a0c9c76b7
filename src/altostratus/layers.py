"""Layers: root file systems as overlayfs keeps them, each a folder with what it has on others.

A root is its layers, the lowest first. What a layer takes away from those below is a whiteout in
it: overlayfs has device files for that, container images have names (OCI image specification,
image-layer: changesets, whiteouts).
"""

import collections.abc
import os
import pathlib
import stat
import tarfile

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_OVERLAY = "trusted.overlay."
_IS_OPAQUE = f"{_OVERLAY}opaque"
_BUFFER = 1024 * 1024

Root = collections.abc.Sequence[pathlib.Path]
_Entry = os.DirEntry[str]


def files(root: Root) -> dict[str, _Entry]:
    """All that a root holds, by its place in it."""
    found: dict[str, _Entry] = {}
    for layer in root:
        for place, entry in _walk(layer):
            below = found.pop(place, None)
            if below and below.is_dir(follow_symlinks=False) and not _goes_on(entry):
                for name in [name for name in found if name.startswith(f"{place}/")]:
                    del found[name]
            if not _is_whiteout(entry):
                found[place] = entry
    return found


def lower_directories(root: Root) -> str:
    """A root in the words of overlayfs, which wants the highest layer first."""
    return ":".join(map(str, reversed(root)))


def write(layer: pathlib.Path, target: pathlib.Path) -> None:
    """Write a layer as container images have it; the same layer gives the same bytes."""
    new = target.with_name(f"{target.name}.new")
    with tarfile.TarFile(new, "w", format=tarfile.PAX_FORMAT, copybufsize=_BUFFER) as archive:
        for place, entry in _walk(layer):
            _add(archive, place, entry)
    new.replace(target)


def _walk(
    folder: pathlib.Path | str, above: str = ""
) -> collections.abc.Iterator[tuple[str, _Entry]]:
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda one: one.name):
            yield f"{above}{entry.name}", entry
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(entry.path, f"{above}{entry.name}/")


def _goes_on(entry: _Entry) -> bool:
    """Whether a folder shows what the same folder has in the layers below."""
    return entry.is_dir(follow_symlinks=False) and not _is_opaque(entry)


def _is_opaque(entry: _Entry) -> bool:
    return _IS_OPAQUE in os.listxattr(entry.path, follow_symlinks=False)


def _is_whiteout(entry: _Entry) -> bool:
    if entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False):
        return False
    status = entry.stat(follow_symlinks=False)
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _add(archive: tarfile.TarFile, place: str, entry: _Entry) -> None:
    folder, _, name = place.rpartition("/")
    if _is_whiteout(entry):
        archive.addfile(tarfile.TarInfo(f"{folder}/{_WHITEOUT}{name}".lstrip("/")))
        return
    member = archive.gettarinfo(entry.path, place)
    if member is None:
        # A socket: nobody listens.
        return
    member.mtime = int(member.mtime)
    member.uname = member.gname = ""
    attributes = os.listxattr(entry.path, follow_symlinks=False)
    member.pax_headers = {
        f"SCHILY.xattr.{key}": os.fsdecode(os.getxattr(entry.path, key, follow_symlinks=False))
        for key in sorted(attributes)
        if not key.startswith(_OVERLAY)
    }
    if member.isreg():
        with open(entry.path, "rb") as content:
            archive.addfile(member, content)
    else:
        archive.addfile(member)
    if member.isdir() and _IS_OPAQUE in attributes:
        archive.addfile(tarfile.TarInfo(f"{place}/{_OPAQUE}"))
