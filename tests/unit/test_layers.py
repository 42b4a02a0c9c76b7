"""Layers: the base with the layer on it is the root again, and the layer holds nothing else."""

import io
import pathlib
import tarfile

import pytest

from altostratus import layers

FOLDER = tarfile.DIRTYPE
LINK = tarfile.LNKTYPE
SYMLINK = tarfile.SYMTYPE

Tree = dict[str, bytes | tuple[bytes, str] | None]

BASE: Tree = {
    "etc": None,
    "etc/same": b"same",
    "etc/changed": b"old",
    "usr": None,
    "usr/lib": None,
    "usr/lib/gone": b"gone",
    "usr/lib/pair": b"pair",
    "usr/lib/pair-too": (LINK, "usr/lib/pair"),
    "var": None,
    "var/old": None,
    "var/old/file": b"x",
}


@pytest.mark.parametrize(
    ("root", "layer"),
    [
        pytest.param(BASE, {}, id="nothing"),
        pytest.param(
            BASE | {"etc/changed": b"new"}, {"etc": None, "etc/changed": b"new"}, id="changed"
        ),
        pytest.param(
            BASE | {"usr/lib/new": None, "usr/lib/new/file": b"n"},
            {"usr": None, "usr/lib": None, "usr/lib/new": None, "usr/lib/new/file": b"n"},
            id="new in a new folder, with the folders above",
        ),
        pytest.param(
            {name: found for name, found in BASE.items() if name != "usr/lib/gone"},
            {"usr": None, "usr/lib": None, "usr/lib/.wh.gone": b""},
            id="gone",
        ),
        pytest.param(
            {name: found for name, found in BASE.items() if not name.startswith("var/old")},
            {"var": None, "var/.wh.old": b""},
            id="a whole folder gone",
        ),
        pytest.param(
            BASE | {"usr/lib/third": (LINK, "usr/lib/pair")},
            {"usr": None, "usr/lib": None, "usr/lib/third": b"pair"},
            id="a hard link into the base becomes a file",
        ),
        pytest.param(
            BASE | {"etc/a": b"a", "etc/b": (LINK, "etc/a")},
            {"etc": None, "etc/a": b"a", "etc/b": (LINK, "etc/a")},
            id="a hard link within the layer stays one",
        ),
        pytest.param(
            BASE | {"etc/same": (SYMLINK, "changed")},
            {"etc": None, "etc/same": (SYMLINK, "changed")},
            id="a file becomes a link",
        ),
    ],
)
def test_layer_holds_the_difference(tmp_path: pathlib.Path, root: Tree, layer: Tree) -> None:
    base_tar, root_tar = write(tmp_path / "base", BASE), write(tmp_path / "root", root)
    layers.write_difference(base_tar, root_tar, tmp_path / "layer")
    assert read(tmp_path / "layer") == layer


def test_owner_and_mode_count_and_a_folders_time_does_not(tmp_path: pathlib.Path) -> None:
    def changed(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.mtime = 5 if member.isdir() else member.mtime
        member.uid = 7 if member.name == "etc/same" else 0
        return member

    base_tar, root_tar = write(tmp_path / "base", BASE), tmp_path / "root"
    with tarfile.open(base_tar) as source, tarfile.open(root_tar, "w") as target:
        for member in source:
            target.addfile(changed(member), source.extractfile(member) if member.isreg() else None)
    layers.write_difference(base_tar, root_tar, tmp_path / "layer")
    assert set(read(tmp_path / "layer")) == {"etc", "etc/same"}


def write(target: pathlib.Path, tree: Tree) -> pathlib.Path:
    with tarfile.open(target, "w") as tar:
        for name, content in tree.items():
            member = tarfile.TarInfo(name)
            if content is None:
                member.type = FOLDER
                tar.addfile(member)
            elif isinstance(content, bytes):
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
            else:
                member.type, member.linkname = content
                tar.addfile(member)
    return target


def read(archive: pathlib.Path) -> Tree:
    found: Tree = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isdir():
                found[member.name] = None
            elif member.isreg():
                stream = tar.extractfile(member)
                assert stream is not None
                found[member.name] = stream.read()
            else:
                found[member.name] = (member.type, member.linkname)
    return found
