"""State disks: which one an instance gets, and what happens to the file on real loop devices."""

import fcntl
import os
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import PROJECT, new_instance
from doubles import FakeRoot
from nova_altostratus import statedisk
from nova_altostratus.root import Root
from nova_altostratus.statedisk import StateDisk, StateDiskError

BASE = 1_000_000
on_loop_devices = pytest.mark.real


def instance_with(**metadata: str) -> Any:
    return new_instance({f"altostratus:{key}": value for key, value in metadata.items()})


@pytest.fixture
def disk(settings: Any, tmp_path: Path) -> StateDisk:
    return StateDisk(tmp_path / "disks" / "demo.database.img", 1, release=False)


def test_instance_without_the_metadata_has_none(settings: Any) -> None:
    assert statedisk.wanted(new_instance()) is None


def test_file_is_named_by_project_and_metadata(settings: Any, tmp_path: Path) -> None:
    found = statedisk.wanted(instance_with(state_disk="demo.database", state_gib="3"))
    path = tmp_path / "state-disks" / PROJECT / "demo.database.img"
    assert found == StateDisk(path, 3, release=False)


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "A", "a..b", "", "a\n", "x" * 300])
def test_name_that_could_leave_the_folder_is_refused(settings: Any, name: str) -> None:
    with pytest.raises(StateDiskError):
        statedisk.wanted(instance_with(state_disk=name))


@pytest.mark.parametrize("size", ["0", "-1", "1.5", "many", "99999"])
def test_size_that_is_none_is_refused(settings: Any, size: str) -> None:
    with pytest.raises(StateDiskError):
        statedisk.wanted(instance_with(state_disk="demo.database", state_gib=size))


@pytest.mark.parametrize(("released", "left"), [("false", True), ("true", False)])
def test_it_goes_with_its_instance_only_if_told_so(
    settings: Any, released: str, left: bool
) -> None:
    instance = instance_with(state_disk="demo.database", state_release=released)
    found = statedisk.wanted(instance)
    assert found
    found.path.parent.mkdir(parents=True)
    found.path.touch()
    statedisk.release_if_asked(instance)
    assert found.path.exists() is left


@pytest.mark.parametrize(
    ("description", "left"),
    [
        ("altostratus:state_release=demo.database", False),
        ("altostratus:state_release=demo.data", True),
        ("altostratus:state_release=../demo.database", True),
        ("demo.database", True),
        (None, True),
    ],
)
def test_disk_of_an_instance_that_is_deleted_already_goes_by_its_description(
    settings: Any, description: str | None, left: bool
) -> None:
    disk = statedisk.wanted(instance_with(state_disk="demo.database"))
    assert disk
    disk.path.parent.mkdir(parents=True)
    disk.path.touch()
    statedisk.release_if_asked(new_instance(display_description=description))
    assert disk.path.exists() is left


@on_loop_devices
def test_data_outlives_the_mount(disk: StateDisk, tmp_path: Path) -> None:
    at = tmp_path / "state"
    assert statedisk.prepare(disk, Root()) is True
    with statedisk.mounted(disk, at, 0, Root()):
        (at / "data").write_text("kept")
        options = _options(at)
    assert {"nosuid", "nodev"} <= options
    assert statedisk.prepare(disk, Root()) is False
    with statedisk.mounted(disk, at, 0, Root()):
        assert (at / "data").read_text() == "kept"
    assert not at.is_mount()
    assert not _loops(disk)


@on_loop_devices
def test_ownership_follows_the_user_namespace_and_comes_back(
    disk: StateDisk, tmp_path: Path
) -> None:
    at = tmp_path / "state"
    statedisk.prepare(disk, Root())
    with statedisk.mounted(disk, at, 0, Root()):
        (at / "mariadb").mkdir()
        (at / "mariadb" / "ibdata1").touch()
        (at / "mariadb" / "tool").touch()
        (at / "link").symlink_to("/etc/passwd")
        os.chown(at / "mariadb" / "ibdata1", 101, 102)
        (at / "mariadb" / "tool").chmod(0o4755)
    for base in (BASE, 2 * BASE, 0):
        with statedisk.mounted(disk, at, base, Root()):
            file = (at / "mariadb" / "ibdata1").stat()
            assert (file.st_uid, file.st_gid) == (base + 101, base + 102)
            assert (at / "mariadb" / "tool").stat().st_mode & 0o7777 == 0o4755
            for path in (at, at / "mariadb", at / "link", at / "lost+found"):
                assert path.lstat().st_uid == base, path
    assert Path("/etc/passwd").stat().st_uid == 0


def test_interrupted_shift_is_taken_up(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    for name in ("a", "b"):
        (tmp_path / name).touch()
    os.chown(tmp_path / "a", BASE, BASE)
    os.chown(tmp_path, 0, 0)
    statedisk.shift(tmp_path, BASE)
    assert {path.stat().st_uid for path in (tmp_path, *tmp_path.iterdir())} == {BASE}


@on_loop_devices
def test_disk_in_use_is_refused(
    disk: StateDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statedisk, "_FREE_TIMEOUT_S", 0.2)
    statedisk.prepare(disk, Root())
    other = tmp_path / "other"
    other.mkdir()
    subprocess.run(["mount", "-o", "loop", disk.path, other], check=True)
    try:
        with (
            pytest.raises(StateDiskError, match="in use"),
            statedisk.mounted(disk, tmp_path / "state", 0, Root()),
        ):
            pass
    finally:
        subprocess.run(["umount", other], check=True)


def test_disk_that_qemu_has_open_is_refused(
    disk: StateDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statedisk, "_FREE_TIMEOUT_S", 0.2)
    disk.path.parent.mkdir(parents=True)
    disk.path.write_bytes(bytes(4096))
    with disk.path.open("r+b") as file:
        # As QEMU does for each thing that it does with an image: a lock of the open file.
        lock = struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, 100, 1, 0)
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, lock)
        for hold in (
            statedisk.mounted(disk, tmp_path / "state", 0, FakeRoot()),
            statedisk.attached(disk, tmp_path / "state", FakeRoot()),
        ):
            with pytest.raises(StateDiskError, match="under QEMU"), hold:
                pass


@on_loop_devices
def test_disk_of_a_container_comes_back_to_the_ids_of_a_machine(
    disk: StateDisk, tmp_path: Path
) -> None:
    at = tmp_path / "state"
    statedisk.prepare(disk, Root())
    with statedisk.mounted(disk, at, BASE, Root()):
        (at / "data").write_text("kept")
        os.chown(at / "data", BASE + 101, BASE + 102)
    with statedisk.attached(disk, at, Root()):
        assert not at.is_mount()
        assert not _loops(disk)
    with statedisk.mounted(disk, at, 0, Root()):
        found = (at / "data").stat()
    assert (found.st_uid, found.st_gid) == (101, 102)


@on_loop_devices
def test_mount_left_by_a_dead_nova_compute_is_no_obstacle(disk: StateDisk, tmp_path: Path) -> None:
    at = tmp_path / "state"
    at.mkdir()
    statedisk.prepare(disk, Root())
    subprocess.run(["mount", "-o", "loop", disk.path, at], check=True)
    with statedisk.mounted(disk, at, 0, Root()):
        pass
    assert not at.is_mount()


@on_loop_devices
def test_it_grows_and_keeps_its_data(disk: StateDisk, tmp_path: Path) -> None:
    at = tmp_path / "state"
    statedisk.prepare(disk, Root())
    with statedisk.mounted(disk, at, 0, Root()):
        (at / "data").write_text("kept")
    bigger = StateDisk(disk.path, 2, release=False)
    assert statedisk.prepare(bigger, Root()) is False
    with statedisk.mounted(bigger, at, 0, Root()):
        assert (at / "data").read_text() == "kept"
        found = os.statvfs(at)
        assert found.f_blocks * found.f_frsize > 1.8 * 2**30


@on_loop_devices
def test_growth_that_was_cut_off_is_taken_up(disk: StateDisk, tmp_path: Path) -> None:
    class Dying(Root):
        def run(self, *command: str, **more: Any) -> str:
            if command[0] == "resize2fs":
                raise InterruptedError
            return super().run(*command, **more)

    at = tmp_path / "state"
    statedisk.prepare(disk, Root())
    bigger = StateDisk(disk.path, 2, release=False)
    with pytest.raises(InterruptedError):
        statedisk.prepare(bigger, Dying())
    statedisk.prepare(bigger, Root())
    with statedisk.mounted(bigger, at, 0, Root()):
        found = os.statvfs(at)
        assert found.f_blocks * found.f_frsize > 1.8 * 2**30
    statedisk.release(bigger)
    assert not list(disk.path.parent.iterdir())


@on_loop_devices
def test_garbage_is_refused_and_not_formatted(disk: StateDisk, tmp_path: Path) -> None:
    disk.path.parent.mkdir(parents=True)
    disk.path.write_bytes(b"precious")
    os.truncate(disk.path, 1 << 30)
    with (
        pytest.raises(StateDiskError, match="cannot be mounted"),
        statedisk.mounted(disk, tmp_path / "state", 0, Root()),
    ):
        pass
    assert disk.path.read_bytes()[:8] == b"precious"


def _options(at: Path) -> set[str]:
    for line in Path("/proc/mounts").read_text().splitlines():
        if line.split()[1] == str(at):
            return set(line.split()[3].split(","))
    return set()


def _loops(disk: StateDisk) -> str:
    return Root().run("losetup", "--associated", str(disk.path)).strip()
