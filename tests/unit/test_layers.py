"""Layers: what overlayfs shows of them is what a root holds, and container images say the same."""

import os
import pathlib
import stat
import subprocess
import tarfile

import pytest

from altostratus import layers

GONE = object()
REPLACED = object()

Tree = dict[str, object]

BASE: Tree = {
    "etc/same": b"same",
    "etc/changed": b"old",
    "usr/lib/gone": b"gone",
    "usr/lib/link": "gone",
    "var/old/file": b"x",
    "var/old/folder/file": b"x",
    "var/old-too": b"x",
}


@pytest.mark.parametrize(
    ("layer", "root", "archive"),
    [
        pytest.param({}, BASE, {}, id="nothing"),
        pytest.param(
            {"etc/changed": b"new", "etc/new": b"n"},
            BASE | {"etc/changed": b"new", "etc/new": b"n"},
            {"etc": None, "etc/changed": b"new", "etc/new": b"n"},
            id="changed and new",
        ),
        pytest.param(
            {"usr/lib/gone": GONE},
            {name: found for name, found in BASE.items() if name != "usr/lib/gone"},
            {"usr": None, "usr/lib": None, "usr/lib/.wh.gone": b""},
            id="gone",
        ),
        pytest.param(
            {"var/old": GONE},
            {name: found for name, found in BASE.items() if not name.startswith("var/old/")},
            {"var": None, "var/.wh.old": b""},
            id="a whole folder gone",
        ),
        pytest.param(
            {"var/old": REPLACED, "var/old/other": b"o"},
            {name: found for name, found in BASE.items() if not name.startswith("var/old/")}
            | {"var/old/other": b"o"},
            {"var": None, "var/old": None, "var/old/.wh..wh..opq": b"", "var/old/other": b"o"},
            id="a folder in place of another",
            marks=pytest.mark.skipif(os.geteuid() != 0, reason="sets a trusted attribute"),
        ),
        pytest.param(
            {"var/old": b"file"},
            {name: found for name, found in BASE.items() if not name.startswith("var/old/")}
            | {"var/old": b"file"},
            {"var": None, "var/old": b"file"},
            id="a file in place of a folder",
        ),
        pytest.param(
            {"etc/same": "changed"},
            BASE | {"etc/same": "changed"},
            {"etc": None, "etc/same": "changed"},
            id="a link in place of a file",
        ),
    ],
)
def test_layer_on_a_base(tmp_path: pathlib.Path, layer: Tree, root: Tree, archive: Tree) -> None:
    make(tmp_path / "base", BASE)
    make(tmp_path / "layer", layer)
    assert seen([tmp_path / "base", tmp_path / "layer"]) == root
    layers.write(tmp_path / "layer", tmp_path / "layer.tar")
    assert read(tmp_path / "layer.tar") == archive


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts")
def test_overlayfs_sees_the_same_root(tmp_path: pathlib.Path) -> None:
    """Changes that overlayfs itself records, as it does in a build."""
    changes = (
        "echo new > etc/changed && rm usr/lib/gone && rm -r var/old && mkdir var/old"
        " && echo n > var/old/new && ln etc/same etc/pair && chmod 600 etc/pair"
    )
    make(tmp_path / "base", BASE)
    for name in ("layer", "work", "root"):
        (tmp_path / name).mkdir()
    script = (
        'cd "$0" && mount -t overlay -o lowerdir=base,upperdir=layer,workdir=work none root'
        f" && cd root && {changes} && find . -type f -printf '%P\\n' | sort"
    )
    found = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, tmp_path],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    root = seen([tmp_path / "base", tmp_path / "layer"])
    assert sorted(name for name, one in root.items() if isinstance(one, bytes)) == found.split()
    layers.write(tmp_path / "layer", tmp_path / "layer.tar")
    archive = read(tmp_path / "layer.tar")
    assert archive["var/old/.wh..wh..opq"] == b""
    assert archive["usr/lib/.wh.gone"] == b""
    with tarfile.open(tmp_path / "layer.tar") as tar:
        assert [one.name for one in tar if one.islnk()] == ["etc/same"]


def test_archive_of_the_same_layer_is_the_same(tmp_path: pathlib.Path) -> None:
    for name in ("one", "two"):
        make(tmp_path / name, BASE)
        for path in (tmp_path / name).rglob("*"):
            os.utime(path, (1000.25, 1000.75), follow_symlinks=False)
        layers.write(tmp_path / name, tmp_path / f"{name}.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


def make(folder: pathlib.Path, tree: Tree) -> None:
    folder.mkdir()
    for name, content in tree.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is GONE:
            os.mknod(path, stat.S_IFCHR, os.makedev(0, 0))
        elif content is REPLACED:
            path.mkdir()
            os.setxattr(path, "trusted.overlay.opaque", b"y")
        elif isinstance(content, str):
            path.symlink_to(content)
        else:
            assert isinstance(content, bytes)
            path.write_bytes(content)


def seen(root: layers.Root) -> Tree:
    """What a root holds, but for its folders."""
    return {
        place: os.readlink(entry) if entry.is_symlink() else pathlib.Path(entry).read_bytes()
        for place, entry in layers.files(root).items()
        if not entry.is_dir(follow_symlinks=False)
    }


def read(archive: pathlib.Path) -> Tree:
    found: Tree = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            stream = tar.extractfile(member) if member.isreg() else None
            found[member.name] = (
                stream.read() if stream else member.linkname if member.issym() else None
            )
    return found
