"""Taking clouds down leaves nothing of them. These come last: they end what the others use."""

import pathlib
import re
import subprocess

import pytest

from altostratus import credentials, undercloud
from tests.e2e import clouds

OURS = re.compile(r"/(nova-[a-z]+/instances|state-disks)/")

pytestmark = pytest.mark.usefixtures("deployed")


def test_delete_leaves_nothing_in_the_undercloud() -> None:
    clouds.altostratus("overcloud", "delete")
    for kind in (["server"], ["stack"], ["flavor"], ["keypair"]):
        assert clouds.openstack("undercloud", *kind, "list") == []
    networks = clouds.openstack("undercloud", "network", "list")
    assert [one["Name"] for one in networks] == ["control"]
    assert clouds.in_undercloud("docker", "ps", "--all", "--quiet") == ""
    for kind in ("lxc", "qemu"):
        virsh = ("virsh", "--connect", f"{kind}:///system")
        assert clouds.in_undercloud(*virsh, "list", "--all", "--name").strip() == ""
    loops = clouds.in_undercloud("losetup", "--list", "--noheadings", "--output", "BACK-FILE")
    assert [file for file in loops.splitlines() if OURS.search(file)] == []
    assert clouds.in_undercloud("find", "/mnt/state/state-disks", "-name", "*.img") == ""
    taps = clouds.in_undercloud("ovs-vsctl", "list-ports", "br-int").split()
    assert [tap for tap in taps if tap.startswith(("tap", "nga", "ngu"))] == dhcp_ports()
    assert credentials.read("overcloud") is None


def test_delete_again_is_no_fault() -> None:
    assert "there was nothing of it" in clouds.altostratus("overcloud", "delete").stdout


def test_down_leaves_nothing_on_the_machine() -> None:
    clouds.altostratus("undercloud", "down")
    containers = output("docker", "ps", "--all", "--format", "{{.Names}}").split()
    assert undercloud.CONTAINER not in containers
    assert undercloud.VOLUME not in output("docker", "volume", "ls", "--quiet").split()
    assert (
        undercloud.NETWORK not in output("docker", "network", "ls", "--format", "{{.Name}}").split()
    )
    assert undercloud.BRIDGE not in output("ip", "-o", "link")
    assert "192.168.24." not in output("ip", "route")
    assert "altostratus" not in pathlib.Path("/proc/mounts").read_text()
    loops = output("losetup", "--list", "--noheadings", "--output", "BACK-FILE")
    assert [file for file in loops.splitlines() if OURS.search(file)] == []
    assert output("pgrep", "--full", "nova-compute|neutron-openvswitch-agent") == ""
    assert credentials.read("undercloud") is None


def dhcp_ports() -> list[str]:
    found = clouds.openstack("undercloud", "port", "list", "--device-owner", "network:dhcp")
    return [f"tap{one['ID']}"[:14] for one in found]


def output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout
