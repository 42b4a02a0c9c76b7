"""LibvirtDriver on a real libvirt with LXC and a real Open vSwitch with the netdev datapath.

Needs ALTOSTRATUS_REAL_LXC=<a root file system's directory>, root, libvirtd, and a bridge br-int.
"""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nova.conf
import os_vif
import pytest
from conftest import IMAGE, admin, new_instance, new_vif
from doubles import FakeVirtAPI
from nova import objects
from nova.compute import power_state
from nova.network import model

pytest.importorskip("libvirt")
from nova.virt import images
from nova_altostratus import libvirt

ROOT = os.environ.get("ALTOSTRATUS_REAL_LXC")
BASE = 1_000_000
METADATA = {"altostratus:state_disk": "demo.database", "altostratus:state_gib": "1"}

needs_libvirt = pytest.mark.skipif(not ROOT, reason="needs ALTOSTRATUS_REAL_LXC")


class RootImage:
    """A Glance with one image: the root file system as an unpartitioned ext4 file."""

    def get(self, context: Any, image: str, **_options: Any) -> dict[str, Any]:
        return {"id": IMAGE, "disk_format": "raw", "size": 0, "container_format": "bare"}

    def download(self, context: Any, image: str, dest_path: str, **_options: Any) -> None:
        subprocess.run(["truncate", "-s", "1G", dest_path], check=True)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-d", str(ROOT), dest_path], check=True)


@pytest.fixture
def lxc(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Nova's configuration for the LXC process."""
    for name, value in {
        "virt_type": "lxc",
        "connection_uri": "lxc:///system",
        "images_type": "raw",
        "uid_maps": [f"0:{BASE}:65536"],
        "gid_maps": [f"0:{BASE}:65536"],
    }.items():
        settings.set_override(name, value, "libvirt")
    settings.set_override("host", "node-lxc")
    settings.set_override("use_cow_images", False)
    monkeypatch.setattr(images, "IMAGE_API", RootImage())
    monkeypatch.setattr(objects.Instance, "save", lambda *_a, **_k: None)
    monkeypatch.setattr(objects.Service, "get_by_compute_host", lambda *_a, **_k: None)
    return settings


@pytest.fixture
def driver(lxc: Any) -> Iterator[Any]:
    from nova.virt import node

    node.LOCAL_NODE_UUID = "5cf1f3a9-4e63-4b69-8d54-0a5ad7b7ee48"
    os_vif.initialize()
    found = libvirt.LibvirtDriver(FakeVirtAPI())
    socket = "unix:/run/openvswitch/db.sock"
    nova.conf.CONF.set_override("ovsdb_connection", socket, "os_vif_ovs")
    found.init_host("node-lxc")
    yield found
    found.cleanup_host("node-lxc")


def inside(driver: Any, instance: Any, *command: str) -> str:
    guest = driver._host.get_guest(instance)
    pid = libvirt.first_process(guest.id)
    done = subprocess.run(
        ["nsenter", "-t", str(pid), "-a", "--", *command],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def settle(check: Callable[[], Any], timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not check():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.1)


@needs_libvirt
def test_instance_has_all_that_docker_instances_have(driver: Any, tmp_path: Path) -> None:
    instance = new_instance(dict(METADATA))
    vif = new_vif(3, active=True)
    instance.info_cache.network_info = network = model.NetworkInfo([vif])
    meta = objects.ImageMeta.from_dict({"id": IMAGE, "disk_format": "raw", "properties": {}})
    driver.spawn(admin(), instance, meta, [], None, {}, network)
    try:
        assert driver.get_info(instance).state == power_state.RUNNING
        guest = driver._host.get_guest(instance)
        pid = libvirt.first_process(guest.id)
        assert Path(f"/proc/{pid}").stat().st_uid == BASE
        settle(lambda: "running" in inside(driver, instance, "systemctl", "is-system-running"))
        mounts = inside(driver, instance, "cat", "/proc/mounts")
        state = next(line for line in mounts.splitlines() if " /mnt/state " in line)
        assert {"rw", "nosuid", "nodev"} <= set(state.split()[3].split(","))
        drive = next(line for line in mounts.splitlines() if "/config_drive " in line)
        assert "ro" in drive.split()[3].split(",")
        content = inside(
            driver, instance, "ls", "/var/lib/cloud/seed/config_drive/openstack/latest"
        )
        assert {"meta_data.json", "user_data", "network_data.json"} <= set(content.split())
        assert "4755" in inside(driver, instance, "stat", "-c", "%a", "/usr/bin/passwd")
        assert "root" in inside(driver, instance, "stat", "-c", "%U", "/mnt/state")
        inside(driver, instance, "sh", "-c", "echo precious > /mnt/state/data")
        offload = subprocess.run(
            ["nsenter", f"--net=/proc/{pid}/ns/net", "ethtool", "-k", "eth0"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert "tx-checksumming: off" in offload
        driver.reboot(admin(), instance, network, "HARD")
        settle(lambda: "precious" in inside(driver, instance, "cat", "/mnt/state/data"))
        assert "4755" in inside(driver, instance, "stat", "-c", "%a", "/usr/bin/passwd")
    finally:
        driver.destroy(admin(), instance, network)
    (disk,) = (tmp_path / "state-disks").rglob("*.img")
    assert str(disk) not in subprocess.check_output(["losetup", "-a"], text=True)
    assert not (tmp_path / "instances" / instance.uuid).exists()
    instance.metadata["altostratus:state_release"] = "true"
    driver.destroy(admin(), instance, network)
    assert not disk.exists()


@needs_libvirt
def test_node_has_its_share_under_its_own_name(driver: Any) -> None:
    assert driver.get_available_nodes() == ["node-lxc"]
    assert list(driver.get_nodenames_by_uuid().values()) == ["node-lxc"]
    resources = driver.get_available_resource("node-lxc")
    assert (resources["hypervisor_hostname"], resources["memory_mb"]) == ("node-lxc", 3000)
    assert resources["hypervisor_type"] == "LXC"
    assert driver.network_binding_host_id(admin(), new_instance()) == "node"


def test_mounted_directory_s_xml() -> None:
    device = libvirt.MountedDirectory(Path("/a"), "/b", read_only=True)
    assert device.to_xml(pretty_print=False) == (
        '<filesystem type="mount"><source dir="/a"/><target dir="/b"/><readonly/></filesystem>'
    )


@pytest.mark.parametrize(
    ("maps", "base"), [([], 0), (["0:1000000:65536"], BASE), (["1:5:1", "0:7:1"], 7)]
)
def test_user_base_is_the_map_of_root(lxc: Any, maps: list[str], base: int) -> None:
    lxc.set_override("uid_maps", maps, "libvirt")
    assert libvirt.user_base() == base
