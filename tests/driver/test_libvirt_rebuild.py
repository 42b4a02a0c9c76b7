"""Rebuild in place under libvirt, as far as it needs no libvirt: disks, and the order of things."""

import contextlib
import functools
from pathlib import Path
from typing import Any

import killed
import pytest
from conftest import IMAGE, NEXT_IMAGE, admin, new_instance, new_vif
from doubles import FakeRoot
from nova import exception, objects
from nova.compute import power_state
from nova.network import model
from nova.virt import hardware
from nova.virt.libvirt import driver as nova_driver
from nova_altostratus import libvirt
from nova_altostratus.disk_roots import DiskRoots

STATE = {"altostratus:state_disk": "demo.database", "altostratus:state_gib": "1"}
VIFS = model.NetworkInfo([new_vif(1, active=True)])
THIRD_IMAGE = "33333333-4444-5555-6666-777777777777"


class FakeLibvirt:
    """Nova's own driver and libvirt: a domain runs on what its disk holds.

    What is to outlive a process is in files: whether there is a domain, and images fetched.
    """

    def __init__(self, tmp_path: Path) -> None:
        self.domain = tmp_path / "domain"
        self.log: list[str] = []
        self.fails = False
        self.awaited: list[bool] = []
        self.fetched: list[str] = []
        self.driver: Any = None
        self.image_backend = self

    def runs_on(self) -> str | None:
        return self.domain.read_text() if self.domain.exists() else None

    def start(self, instance: Any) -> None:
        directory = libvirt._directory(instance)
        config = directory / "disk.config"
        if not config.exists():
            config.write_text(f"config of {instance.image_ref}")
        with self.driver._lxc_disk_handler(admin(), instance, None, None):
            self.domain.write_text((directory / "disk").read_text())

    def spawn(self, _driver: Any, context: Any, instance: Any, *_: Any, **given: Any) -> None:
        self.log.append("spawn")
        self.awaited = [vif["active"] for vif in given["network_info"]]
        disk = self.by_name(instance, "disk")
        self.driver._try_fetch_image_cache(disk, None, context, "", "", instance, None)
        self.start(instance)
        if self.fails:
            raise exception.VirtualInterfaceCreateException

    def power_off(self, _driver: Any, instance: Any, *_: Any) -> None:
        self.log.append("power_off")
        self.domain.unlink(missing_ok=True)

    def destroy(self, _driver: Any, *_: Any, destroy_disks: bool, **__: Any) -> None:
        assert not destroy_disks
        self.domain.unlink(missing_ok=True)

    def power_on(self, _driver: Any, _context: Any, instance: Any, *_: Any) -> None:
        self.log.append("power_on")
        self.start(instance)

    def get_info(self, _driver: Any, instance: Any) -> Any:
        if not self.domain.exists():
            raise exception.InstanceNotFound(instance_id=instance.uuid)
        return hardware.InstanceInfo(state=power_state.RUNNING)

    def by_name(self, instance: Any, name: str) -> Any:
        path = libvirt._directory(instance) / name
        return type("Image", (), {"path": path, "exists": lambda _self: path.exists()})()

    def fetch(self, _driver: Any, disk: Any, *given: Any) -> None:
        image = given[3]
        self.log.append("fetch")
        self.fetched.append(image)
        if image == THIRD_IMAGE:
            raise exception.ImageNotFound(image_id=image)
        disk.path.write_text(f"half of {image}")
        disk.path.write_text(f"root of {image}")

    def bound(self, name: str) -> Any:
        """Return a method of this double's as one that a driver can have."""
        return lambda driver, *given, **more: getattr(self, name)(driver, *given, **more)

    def spawned(self) -> Any:
        """Return an instance that runs, as Nova's own spawn leaves it."""
        instance = new_instance(STATE, vm_state="active")
        instance.flavor.root_gb = 0
        instance.info_cache.network_info = VIFS
        directory = libvirt._directory(instance)
        directory.mkdir()
        (directory / "disk").write_text(f"root of {IMAGE}")
        self.start(instance)
        return instance

    def rebuild(self, instance: Any, image: str = NEXT_IMAGE, **more: Any) -> None:
        instance.image_ref, instance.task_state = image, "rebuilding"
        meta = objects.ImageMeta(id=image)
        ours = [admin(), instance, meta, [], None, {}, None, None, None, VIFS]
        self.driver.rebuild(*ours, **{"preserve_ephemeral": True, **more})


def files(instance: Any) -> dict[str, str]:
    """Return what is in an instance's folder, but for what a state disk needs."""
    found = libvirt._directory(instance).glob("disk*")
    return {path.name: path.read_text() for path in found if not path.is_symlink()}


@pytest.fixture(params=["qemu", "lxc"])
def fake(
    request: pytest.FixtureRequest, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> FakeLibvirt:
    settings.set_override("virt_type", request.param, "libvirt")
    settings.set_override("images_type", "raw", "libvirt")
    found = FakeLibvirt(tmp_path)
    nova = nova_driver.LibvirtDriver
    monkeypatch.setattr(nova, "__init__", lambda *_: None)
    monkeypatch.setattr(nova, "init_host", lambda *_: None)
    monkeypatch.setattr(nova, "_lxc_disk_handler", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(nova, "_try_fetch_image_cache", found.bound("fetch"))
    monkeypatch.setattr(libvirt.LibvirtDriver, "_end_root_device_with", lambda *_: None)
    for name in ("spawn", "power_off", "destroy", "power_on", "get_info"):
        monkeypatch.setattr(libvirt.LibvirtDriver, name, found.bound(name), raising=False)
    monkeypatch.setattr(libvirt.LibvirtDriver, "_host", None, raising=False)
    monkeypatch.setattr(libvirt.LibvirtDriver, "image_backend", found, raising=False)
    monkeypatch.setattr(objects.Instance, "save", lambda *_, **__: None)
    found.driver = libvirt.LibvirtDriver(None, root=FakeRoot())
    return found


REBUILT = {
    "disk": f"root of {NEXT_IMAGE}",
    "disk.config": f"config of {NEXT_IMAGE}",
    "disk.image": NEXT_IMAGE,
    f"disk.kept-1.{IMAGE}": f"root of {IMAGE}",
}
BEFORE = {
    "disk": f"root of {IMAGE}",
    "disk.config": f"config of {IMAGE}",
    "disk.image": IMAGE,
}


def test_rebuilt_instance_runs_from_another_disk(fake: FakeLibvirt) -> None:
    instance = fake.spawned()
    fake.rebuild(instance)
    assert fake.runs_on() == f"root of {NEXT_IMAGE}"
    assert files(instance) == REBUILT
    assert instance.task_state == "rebuild_spawning"


def test_disk_is_made_while_the_instance_runs(fake: FakeLibvirt) -> None:
    fake.rebuild(fake.spawned())
    assert fake.log == ["fetch", "power_off", "spawn"]


def test_container_s_next_disk_is_shifted_while_it_runs(fake: FakeLibvirt, settings: Any) -> None:
    settings.set_override("uid_maps", ["0:1000000:65536"], "libvirt")
    instance = fake.spawned()
    fake.driver.root.commands.clear()
    fake.rebuild(instance)
    mounts = [words for words in fake.driver.root.commands if words.startswith("mount -o loop ")]
    is_lxc = libvirt.is_lxc()
    assert [words.split()[3].rpartition("/")[2] for words in mounts] == (
        ["disk.new", "disk"] if is_lxc else []
    )


def test_ports_are_waited_for_whatever_nova_remembers(fake: FakeLibvirt) -> None:
    fake.rebuild(fake.spawned())
    assert fake.awaited == [False]
    assert VIFS[0]["active"] is True


def test_instance_runs_on_if_the_image_cannot_be_had(fake: FakeLibvirt) -> None:
    instance = fake.spawned()
    with pytest.raises(exception.ImageNotFound):
        fake.rebuild(instance, THIRD_IMAGE)
    assert fake.log == ["fetch"]
    assert files(instance) == BEFORE
    assert fake.runs_on() == f"root of {IMAGE}"


def test_rebuild_that_fails_brings_the_old_disk_back(fake: FakeLibvirt) -> None:
    instance = fake.spawned()
    fake.fails = True
    with pytest.raises(exception.VirtualInterfaceCreateException):
        fake.rebuild(instance)
    assert fake.log[-1] == "power_on"
    assert files(instance) == BEFORE
    assert fake.runs_on() == f"root of {IMAGE}"


def test_stopped_instance_stays_stopped_if_its_rebuild_fails(fake: FakeLibvirt) -> None:
    instance = fake.spawned()
    fake.power_off(None, instance)
    fake.fails = True
    with pytest.raises(exception.VirtualInterfaceCreateException):
        fake.rebuild(instance)
    assert fake.runs_on() is None
    assert files(instance) == BEFORE


def test_rollback_takes_the_previous_disk_and_fetches_nothing(fake: FakeLibvirt) -> None:
    instance = fake.spawned()
    disk = libvirt._directory(instance) / "disk"
    number = disk.stat().st_ino
    fake.rebuild(instance)
    fake.rebuild(instance, IMAGE)
    assert fake.fetched == [NEXT_IMAGE]
    assert disk.stat().st_ino == number
    assert fake.runs_on() == f"root of {IMAGE}"
    kept = {f"disk.kept-1.{NEXT_IMAGE}": f"root of {NEXT_IMAGE}"}
    assert files(instance) == {**BEFORE, **kept}


def test_repair_makes_the_disk_anew_and_leaves_the_previous_one(fake: FakeLibvirt) -> None:
    instance = fake.spawned()
    fake.rebuild(instance)
    fake.rebuild(instance)
    assert fake.fetched == [NEXT_IMAGE, NEXT_IMAGE]
    assert files(instance) == REBUILT


@pytest.mark.parametrize("count", [0, 1, 2])
def test_as_many_previous_disks_are_kept_as_configured(
    fake: FakeLibvirt, settings: Any, count: int
) -> None:
    settings.set_override("previous_roots", count, "altostratus")
    instance = fake.spawned()
    for image in (NEXT_IMAGE, "44444444-0000-0000-0000-000000000000"):
        fake.rebuild(instance, image)
    kept = [f"disk.kept-1.{IMAGE}", f"disk.kept-2.{NEXT_IMAGE}"][2 - count :]
    assert sorted(name for name in files(instance) if "kept" in name) == kept


def test_previous_disk_of_another_size_is_not_taken(tmp_path: Path) -> None:
    roots = DiskRoots(tmp_path)
    (tmp_path / "disk").write_text("now")
    (tmp_path / f"disk.kept-1.{IMAGE}").write_text("four")
    roots.prepare(IMAGE, 5, lambda path: path.write_text("fives") and None)
    assert (tmp_path / "disk.next").read_text() == "fives"
    roots.go_back()
    roots.prepare(IMAGE, 4, lambda _path: pytest.fail("it is there"))
    assert (tmp_path / "disk.next").read_text() == "four"


def test_disk_of_an_unknown_image_is_nobody_s_previous_one(fake: FakeLibvirt) -> None:
    """An instance of a driver that wrote nothing down: Nova's word is of the next image already."""
    instance = fake.spawned()
    (libvirt._directory(instance) / "disk.image").unlink()
    fake.rebuild(instance)
    assert f"disk.kept-1.{IMAGE}" not in files(instance)
    assert files(instance)["disk.kept-1.unknown"] == f"root of {IMAGE}"


@pytest.mark.parametrize("hindrance", ["volume", "ephemeral", "qcow2"])
def test_what_has_more_than_a_root_is_left_to_nova(
    fake: FakeLibvirt, settings: Any, hindrance: str
) -> None:
    instance = fake.spawned()
    more: dict[str, Any] = {}
    if hindrance == "volume":
        more["block_device_info"] = {"block_device_mapping": [{"mount_device": "/dev/vdb"}]}
    if hindrance == "ephemeral":
        instance.flavor.ephemeral_gb = 1
        more["preserve_ephemeral"] = False
    if hindrance == "qcow2":
        settings.set_override("images_type", "qcow2", "libvirt")
    with pytest.raises(NotImplementedError):
        fake.rebuild(instance, **more)
    assert fake.log == []


# A nova-compute that is killed


def is_line(frame: Any, event: str) -> bool:
    place = Path(frame.f_code.co_filename).name
    return event == "line" and place in ("disk_roots.py", "libvirt_rebuild.py", "rebuild.py")


@pytest.mark.parametrize(
    ("fake", "back"),
    [("qemu", False), ("lxc", True)],
    ids=["machine to a new root", "container to a previous one"],
    indirect=["fake"],
)
def test_nova_compute_killed_anywhere_leaves_one_root_or_the_other(
    fake: FakeLibvirt, monkeypatch: pytest.MonkeyPatch, back: bool
) -> None:
    """At each line that has to do with its roots."""
    old, new = (NEXT_IMAGE, IMAGE) if back else (IMAGE, NEXT_IMAGE)
    seen, step = [], 1
    while True:
        instance = fake.spawned()
        monkeypatch.setattr(objects.Instance, "get_by_uuid", lambda *_, found=instance: found)
        if back:
            fake.rebuild(instance)
        rebuilding = functools.partial(fake.rebuild, instance, new)
        if killed.runs_to_its_end(rebuilding, is_line, kill_at=step):
            break
        instance.image_ref = new
        fake.driver.init_host("node-lxc")
        found = files(instance)
        image = found["disk.image"]
        assert found["disk"] == fake.runs_on() == f"root of {image}", step
        assert found["disk.config"] == f"config of {image}", step
        assert len([name for name in found if "kept" in name]) <= 1, step
        left = {"disk.new", "disk.next", "disk.old", "disk.config.old", "disk.image.old"}
        assert not left & found.keys(), step
        seen.append(image)
        fake.rebuild(instance, new)
        assert fake.runs_on() == f"root of {new}", step
        step += 1
    assert seen == sorted(seen, key=[old, new].index), "a later death must not undo more"
    assert set(seen) == {old, new}
    assert step > 50
