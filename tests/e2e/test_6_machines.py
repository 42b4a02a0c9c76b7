"""Services in machines: the quickstart's three on the hypervisor kvm, emulated where it must be."""

import json
import time

import pytest

from tests.e2e import clouds

FILE = str(clouds.ROOT / "examples/kvm.yaml")
INSTANCES = ("database", "identity", "images")

pytestmark = [pytest.mark.usefixtures("deployed"), pytest.mark.turn("kvm")]


def test_quickstart_deploys_into_machines() -> None:
    clouds.altostratus("overcloud", "delete")
    clouds.altostratus("devtest", FILE, timeout_s=clouds.DEPLOY_S)
    found = {one["name"]: one["hypervisor"] for one in clouds.status(FILE)["instances"]}
    assert found == dict.fromkeys(INSTANCES, "kvm")
    assert len(running_machines()) == len(INSTANCES)
    clouds.altostratus("overcloud", "verify", FILE)


def test_second_deploy_has_nothing_to_do() -> None:
    assert "Nothing to do" in clouds.altostratus("overcloud", "deploy", FILE).stdout


def test_machines_have_the_virtualisation_that_was_found() -> None:
    found = json.loads(clouds.in_undercloud("cat", "/var/lib/altostratus/found.json"))["libvirt"]
    for name in running_machines():
        assert f"<domain type='{found['virt_type']}'" in virsh("dumpxml", name)


@pytest.mark.parametrize("instance", INSTANCES)
def test_machine_has_the_time_of_the_undercloud(instance: str) -> None:
    """Once it has asked: that it has not for a while after a boot is no fault."""
    wait = (
        "for _ in $(seq 120); do"
        " [ $(timedatectl show --property NTPSynchronized --value) = yes ] && break; sleep 1; done;"
        " timedatectl timesync-status; date +%s"
    )
    *said, now = clouds.in_instance(instance, wait).splitlines()
    assert any("Server: 192.168.24.1" in line for line in said), said
    assert abs(int(now) - time.time()) < 5


def test_state_of_a_machine_is_on_its_state_disk() -> None:
    mounted = clouds.in_instance("database", "findmnt --noheadings --output SOURCE /mnt/state")
    root = clouds.in_instance("database", "findmnt --noheadings --output SOURCE /")
    assert mounted.split()[0] != root.split()[0]
    kept = clouds.in_undercloud("find", "/mnt/state/state-disks", "-name", "*.img").split()
    assert len(kept) == len(INSTANCES)


def test_killed_machine_is_back_with_its_data() -> None:
    clouds.in_instance("database", "echo kept > /mnt/state/e2e; sync")
    server = clouds.openstack("undercloud", "server", "show", "demo-database")
    virsh("destroy", server["OS-EXT-SRV-ATTR:instance_name"])
    clouds.altostratus("overcloud", "deploy", FILE, timeout_s=clouds.DEPLOY_S)
    assert clouds.in_instance("database", "cat /mnt/state/e2e") == "kept\n"
    clouds.altostratus("overcloud", "verify", FILE)


def running_machines() -> list[str]:
    return virsh("list", "--name").split()


def virsh(*command: str) -> str:
    return clouds.in_undercloud("virsh", "--connect", "qemu:///system", *command)
