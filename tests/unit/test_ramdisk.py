"""A root that is packed as an initial file system is one that cpio unpacks."""

import io
import os
import pathlib
import subprocess

import pytest

from altostratus import errors, layers, ramdisk


@pytest.fixture
def root(tmp_path: pathlib.Path) -> layers.Root:
    below, own = tmp_path / "below", tmp_path / "own"
    for folder in (below / "etc", below / "boot", own / "etc", own / "usr/lib/altostratus"):
        folder.mkdir(parents=True)
    (below / "etc/name").write_text("below\n")
    (below / "boot/large").write_text("left out\n")
    (own / "etc/name").write_text("own\n")
    (own / "etc/name").chmod(0o750)
    (own / "init").symlink_to("lib/systemd/systemd")
    (own / ramdisk.KERNEL).write_text("kernel\n")
    return (below, own)


def test_a_root_comes_out_as_it_was(root: layers.Root, tmp_path: pathlib.Path) -> None:
    packed = io.BytesIO()
    ramdisk.pack(layers.files(root), packed)
    target = tmp_path / "unpacked"
    target.mkdir()
    _unpack(packed.getvalue(), target)
    assert (target / "etc/name").read_text() == "own\n"
    assert (target / "etc/name").stat().st_mode & 0o777 == 0o750
    assert os.readlink(target / "init") == "lib/systemd/systemd"
    assert (target / "boot/large").read_text() == "left out\n"


def test_the_kernel_and_what_knows_of_packages_are_not_in_it(
    root: layers.Root, tmp_path: pathlib.Path
) -> None:
    kernel, target = tmp_path / "agent.vmlinuz", tmp_path / "agent.initrd"
    ramdisk.write(root, kernel, target)
    assert kernel.read_text() == "kernel\n"
    content = subprocess.run(
        ["zstd", "--decompress", "--stdout", str(target)], capture_output=True, check=True
    ).stdout
    assert b"etc/name\0" in content
    assert b"left out" not in content
    assert b"vmlinuz" not in content
    assert sorted(path.name for path in tmp_path.glob("agent*")) == [kernel.name, target.name][::-1]


def test_a_root_without_a_kernel_is_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "root").mkdir()
    with pytest.raises(errors.Error, match="has no kernel"):
        ramdisk.write((tmp_path / "root",), tmp_path / "kernel", tmp_path / "initrd")


def _unpack(content: bytes, target: pathlib.Path) -> None:
    """Read newc as the kernel does, as far as it is used here."""
    place = 0
    while True:
        fields = [int(content[place + 6 + 8 * n : place + 14 + 8 * n], 16) for n in range(13)]
        assert content[place : place + 6] == b"070701"
        mode, size, length = fields[1], fields[6], fields[11]
        name = content[place + 110 : place + 110 + length - 1].decode()
        start = place + 110 + length
        start += -start % 4
        body = content[start : start + size]
        place = start + size + -size % 4
        if name == "TRAILER!!!":
            assert place == len(content)
            return
        path = target / name
        if mode >> 12 == 0o4:
            path.mkdir()
        elif mode >> 12 == 0o12:
            path.symlink_to(body.decode())
        else:
            path.write_bytes(body)
            path.chmod(mode & 0o777)
