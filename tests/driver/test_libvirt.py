"""What LibvirtDriver adds to Nova's own, as far as it needs no libvirt; tests/e2e show the rest."""

import queue
from pathlib import Path
from typing import Any

import futurist
import pytest
from conftest import new_vif
from doubles import FakeRoot
from nova.virt.libvirt import config as vconfig
from nova.virt.libvirt import driver as nova_driver
from nova.virt.libvirt import host as nova_host
from nova_altostratus import libvirt, lxc, machine, resources, statedisk

BASE = 1_000_000


def test_mounted_directory_s_xml() -> None:
    device = lxc.MountedDirectory(Path("/a"), "/b", read_only=True)
    assert device.to_xml(pretty_print=False) == (
        '<filesystem type="mount"><source dir="/a"/><target dir="/b"/><readonly/></filesystem>'
    )


@pytest.mark.parametrize(
    ("maps", "base"), [([], 0), (["0:1000000:65536"], BASE), (["1:5:1", "0:7:1"], 7)]
)
def test_user_base_is_the_map_of_root(settings: Any, maps: list[str], base: int) -> None:
    settings.set_override("uid_maps", maps, "libvirt")
    assert libvirt.user_base() == base


def test_state_drive_s_xml(settings: Any) -> None:
    xml = machine.state_drive(Path("/a/disk.state")).to_xml(pretty_print=False)
    assert '<source file="/a/disk.state"/>' in xml
    assert '<target dev="vdz" bus="virtio"/>' in xml
    assert "<serial>state</serial>" in xml
    assert 'type="raw"' in xml


@pytest.mark.parametrize("given", [None, "vhost"])
def test_nic_offers_no_offload_to_the_guest(given: str | None) -> None:
    found = vconfig.LibvirtConfigGuestInterface()
    found.net_type, found.mac_addr, found.source_dev = "bridge", "52:54:00:00:00:01", "br-int"
    found.driver_name = given
    plain = machine.PlainInterface(found).format_dom()
    (driver,) = plain.findall("driver")
    assert driver.get("name") == given
    assert driver.find("host").get("csum") == driver.find("guest").get("csum") == "off"
    assert driver.find("host").get("gso") == "off"
    assert plain.find("mac").get("address") == "52:54:00:00:00:01"


@pytest.mark.parametrize(
    ("datapath", "kind"),
    [("netdev", machine.PlainInterface), ("system", vconfig.LibvirtConfigGuestInterface)],
)
def test_nic_is_plain_on_the_user_space_datapath(
    monkeypatch: pytest.MonkeyPatch, datapath: str, kind: type
) -> None:
    theirs = machine.Interfaces.__mro__[1]
    found = vconfig.LibvirtConfigGuestInterface()
    monkeypatch.setattr(theirs, "get_config", lambda *_: found)
    made = machine.Interfaces(None).get_config(None, new_vif(datapath=datapath), None, None, "qemu")
    assert type(made) is kind


@pytest.fixture
def driver(settings: Any, monkeypatch: pytest.MonkeyPatch) -> libvirt.LibvirtDriver:
    """A driver for machines, without the libvirt that Nova's own would look for."""
    settings.set_override("virt_type", "qemu", "libvirt")
    monkeypatch.setattr(nova_driver.LibvirtDriver, "__init__", lambda *_: None)
    monkeypatch.setattr(libvirt.LibvirtDriver, "_host", None, raising=False)
    return libvirt.LibvirtDriver(None, root=FakeRoot())


def test_no_thread_keeps_nova_from_stopping(driver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    host = object.__new__(nova_host.Host)
    host._conn_event_handler_queue = queue.Queue()
    monkeypatch.setattr(driver, "_host", host)
    monkeypatch.setattr(nova_driver.LibvirtDriver, "cleanup_host", lambda *_: None)
    pool = futurist.ThreadPoolExecutor()
    thread = pool.submit(host._conn_event_thread)
    driver.cleanup_host("node")
    assert isinstance(thread.exception(timeout=10), libvirt.Ended)
    pool.shutdown()


def test_machine_has_its_state_disk_beside_its_other_files(
    driver: Any, make_instance: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = make_instance({statedisk.NAME: "demo.database", statedisk.SIZE: "1"})
    directory = libvirt._directory(instance)
    directory.mkdir()
    nova = nova_driver.LibvirtDriver
    monkeypatch.setattr(nova, "_get_guest_storage_config", lambda *_: [])
    nothing: Any = [None] * 6
    (drive,) = driver._get_guest_storage_config(None, instance, *nothing)
    wanted = statedisk.wanted(instance)
    assert wanted
    wanted.path.parent.mkdir(parents=True)
    wanted.path.touch()
    with driver._lxc_disk_handler(None, instance, None, None):
        assert Path(drive.source_path).resolve() == wanted.path
    # Nova makes a file anew that it does not find by this name in the instance's folder.
    assert Path(drive.source_path).parent == directory
    mounts = [one for one in driver.root.commands if one.startswith("mount")]
    assert len(mounts) == 1


def test_machine_without_the_metadata_has_no_state_disk(
    driver: Any, make_instance: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    nova = nova_driver.LibvirtDriver
    monkeypatch.setattr(nova, "_get_guest_storage_config", lambda *_: [])
    nothing: Any = [None] * 6
    instance = make_instance()
    assert driver._get_guest_storage_config(None, instance, *nothing) == []
    with driver._lxc_disk_handler(None, instance, None, None):
        assert driver.root.commands == []


def test_driver_of_machines_is_called_kvm(driver: Any) -> None:
    assert libvirt.hypervisor() == "kvm"
    assert resources.trait(libvirt.hypervisor()) == "CUSTOM_HYPERVISOR_KVM"


@pytest.mark.parametrize(("vcpus", "ratio"), [(1, 0.666), (4, 1.0)])
def test_inventory_of_processors_can_be_a_fraction(settings: Any, vcpus: int, ratio: float) -> None:
    settings.set_override("vcpus", vcpus, "altostratus")
    settings.set_override("vcpu_ratio", ratio, "altostratus")
    found = resources.inventory()
    assert (found["VCPU"]["total"], found["VCPU"]["allocation_ratio"]) == (vcpus, ratio)
    assert {found[name]["allocation_ratio"] for name in ("MEMORY_MB", "DISK_GB")} == {1.0}
