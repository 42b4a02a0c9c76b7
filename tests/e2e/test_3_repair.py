"""The overcloud without its undercloud, and both after a reboot of the node that they are on."""

import subprocess
import time

import pytest

from altostratus import cloud
from altostratus.undercloud import CONTAINER
from tests.e2e import clouds, writers

pytestmark = [pytest.mark.usefixtures("deployed"), pytest.mark.turn("repair")]

# All of OpenStack, the database, messaging and the front; not what instances run on.
CONTROL = (
    *("glance-*", "heat-*", "keystone-*", "neutron-*", "nova-*", "placement-*"),
    *("haproxy*", "mariadb*", "memcached*", "rabbitmq-server*"),
)
SERVED_S = 30
BACK_S = 600


def test_overcloud_serves_while_the_undercloud_does_not() -> None:
    running = services_of_the_undercloud()
    assert {"mariadb.service", "rabbitmq-server.service", "nova-compute@docker.service"} <= running
    endpoints = clouds.status()["endpoints"]
    clouds.in_undercloud("systemctl", "stop", *running)
    try:
        assert services_of_the_undercloud() == set()
        with writers.writing(endpoints) as working:
            time.sleep(SERVED_S)
    finally:
        clouds.in_undercloud("systemctl", "start", *running)
    for name, client in working.items():
        assert client.lost() == set(), name
        assert client.longest_pause_s() < writers.REQUEST_S, name
    await_the_undercloud()
    assert "Nothing to do" in clouds.altostratus("overcloud", "deploy").stdout


def test_instances_are_back_after_a_reboot_of_the_node() -> None:
    before = {one["name"]: one["addresses"] for one in clouds.status()["instances"]}
    for name in before:
        clouds.in_instance(name, "echo kept > /mnt/state/e2e; sync")
    subprocess.run(["docker", "restart", "--time", "120", CONTAINER], check=True)
    await_the_undercloud()
    cloud.wait_serving("overcloud", hint="overcloud status")
    clouds.altostratus("overcloud", "verify")
    assert {one["name"]: one["addresses"] for one in clouds.status()["instances"]} == before
    for name in before:
        assert clouds.in_instance(name, "cat /mnt/state/e2e; rm /mnt/state/e2e") == "kept\n"
    assert "Nothing to do" in clouds.altostratus("overcloud", "deploy").stdout


def services_of_the_undercloud() -> set[str]:
    """The units of the undercloud's control plane that run."""
    listed = clouds.in_undercloud(
        *("systemctl", "list-units", "--type=service", "--state=active", "--plain", "--no-legend"),
        *CONTROL,
    )
    return {line.split()[0] for line in listed.splitlines()}


def await_the_undercloud() -> None:
    """Until its services answer and all its compute processes are known to be up."""
    cloud.wait_serving("undercloud", hint="systemctl --failed in the undercloud")

    def up() -> tuple[bool | None, str]:
        found = cloud.connect("undercloud").compute.services(binary="nova-compute")
        states = {one.host: one.state for one in found}
        return set(states.values()) == {"up"} or None, str(states)

    cloud.wait("the compute processes", up, BACK_S, poll_s=1)
