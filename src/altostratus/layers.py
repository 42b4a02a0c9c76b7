"""Layers of container images: what one root file system has that another has not.

Images share the layer of the base root, so that an engine stores and unpacks it once. The form
of a layer is the OCI image specification's (image-layer: changesets, whiteouts).
"""

import collections.abc
import copy
import hashlib
import pathlib
import posixpath
import tarfile

_WHITEOUT = ".wh."
_BUFFER = 1024 * 1024

_Fingerprint = tuple[object, ...]


def write_difference(base: pathlib.Path, root: pathlib.Path, target: pathlib.Path) -> None:
    """Write the layer that makes ``root`` of ``base``, all three as tar archives."""
    new = target.with_name(f"{target.name}.new")
    with tarfile.open(base, "r:") as lower:
        before = _fingerprints(lower)
    with (
        tarfile.open(root, "r:") as source,
        tarfile.TarFile(new, "w", format=tarfile.PAX_FORMAT, copybufsize=_BUFFER) as layer,
    ):
        after = _fingerprints(source)
        changed = {name for name, found in after.items() if before.get(name) != found}
        removed = _topmost(before.keys() - after.keys())
        # The engine makes the folders that a layer lacks, with modes of its own.
        wanted = changed | _ancestors(changed | removed) & after.keys()
        for member in source.getmembers():
            if _name(member) in wanted:
                _copy(source, member, layer, wanted)
        for name in sorted(removed):
            layer.addfile(tarfile.TarInfo(_whiteout(name)))
    new.replace(target)


def _fingerprints(source: tarfile.TarFile) -> dict[str, _Fingerprint]:
    return {_name(member): _fingerprint(source, member) for member in source.getmembers()}


def _fingerprint(source: tarfile.TarFile, member: tarfile.TarInfo) -> _Fingerprint:
    extended = sorted((k, v) for k, v in member.pax_headers.items() if k.startswith("SCHILY."))
    content = None
    if member.isreg():
        stream = source.extractfile(member)
        assert stream is not None, "regular files have content"
        content = hashlib.sha256(stream.read()).digest()
    # A folder's time changes with every file in it, and nobody reads it.
    time = None if member.isdir() else int(member.mtime)
    device = (member.devmajor, member.devminor) if member.isdev() else None
    place = member.linkname if member.issym() or member.islnk() else None
    return (
        member.type,
        member.mode,
        member.uid,
        member.gid,
        time,
        device,
        place,
        tuple(extended),
        content,
    )


def _copy(
    source: tarfile.TarFile,
    member: tarfile.TarInfo,
    layer: tarfile.TarFile,
    wanted: collections.abc.Container[str],
) -> None:
    if member.islnk() and posixpath.normpath(member.linkname) not in wanted:
        # Its other name lies in the layer below, where a hard link cannot lead.
        original = copy.copy(source.getmember(member.linkname))
        stream = source.extractfile(original)
        original.name = member.name
        layer.addfile(original, stream)
    else:
        layer.addfile(member, source.extractfile(member) if member.isreg() else None)


def _name(member: tarfile.TarInfo) -> str:
    return posixpath.normpath(member.name)


def _topmost(names: set[str]) -> set[str]:
    """Those that are not in a folder which is itself among them."""
    return {name for name in names if not _ancestors({name}) & names}


def _ancestors(names: set[str]) -> set[str]:
    found: set[str] = set()
    for name in names:
        while (name := posixpath.dirname(name)) and name not in found:
            found.add(name)
    return found


def _whiteout(name: str) -> str:
    folder, base = posixpath.split(name)
    return posixpath.join(folder, f"{_WHITEOUT}{base}")
