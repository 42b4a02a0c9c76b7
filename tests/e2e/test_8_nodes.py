"""A second node: compute processes alone, with instances on it, and nothing left of it afterwards.

The undercloud that it is added to is made for it, and taken down with it.
"""

import collections.abc
import json
import pathlib
import subprocess
from typing import Any

import pytest

from altostratus import cloud, machine
from altostratus.errors import Exit
from altostratus.undercloud import CONTAINER
from tests.e2e import clouds

pytestmark = pytest.mark.turn("nodes")

NAME = "second"
BOX = f"altostratus-node-{NAME}"
HOSTS = {f"{NAME}-docker", f"{NAME}-lxc"}
ADD = ("undercloud", "add-node", NAME, "--hypervisor", "docker", "--hypervisor", "lxc")
ADD_S = 900
# Keystone and its database are on two nodes: they speak over a VLAN between them.
CLOUD = """
overcloud: demo
networks:
  internal_api: {vlan: 101, cidr: 172.16.1.0/24}
instances:
  database: {services: [mariadb], hypervisor: lxc, zone: second}
  identity: {services: [keystone], zone: undercloud}
  images: {services: [glance], zone: second}
"""
# What of the undercloud an instance reaches, and what is for nodes alone.
OPEN, CLOSED = (5000, 8004), (5005, 5006, 5671, 8778, 9292, 9696)


@pytest.fixture(scope="module", autouse=True)
def undercloud() -> collections.abc.Iterator[None]:
    """An undercloud, and a node that was interrupted when it was added."""
    clouds.altostratus("undercloud", "down")
    clouds.altostratus("undercloud", "up", timeout_s=clouds.DEPLOY_S)
    yield
    clouds.altostratus("undercloud", "down")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("nodes") / "overcloud.yaml"
    path.write_text(CLOUD)
    return str(path)


def compute_services() -> dict[str, Any]:
    found = cloud.connect("undercloud").compute.services(binary="nova-compute")
    return {one.host: one for one in found}


def in_node(*command: str) -> str:
    return output("docker", "exec", BOX, *command)


def output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("name", ["Second", "undercloud", "../second"])
def test_what_cannot_be_a_node_changes_nothing(name: str) -> None:
    before = clouds.undercloud_metadata()
    done = clouds.altostratus("undercloud", "add-node", name, ok=False)
    assert done.returncode == Exit.FAILED
    assert "cannot be called" in done.stderr and "hint:" in done.stderr
    assert clouds.undercloud_metadata() == before


def test_an_interrupted_node_is_added_by_the_next_run() -> None:
    clouds.kill_during(f"boot the node {NAME} instance", *ADD)
    clouds.altostratus(*ADD, timeout_s=ADD_S)
    services = compute_services()
    assert {host: services[host].state for host in HOSTS} == dict.fromkeys(HOSTS, "up")
    zones = {one.availability_zone for host, one in services.items() if host in HOSTS}
    assert zones == {NAME}
    shown = clouds.altostratus("undercloud", "status").stdout
    assert f"node {NAME}: configured, 192.168.24.3; docker up, lxc up" in shown


def test_adding_it_again_changes_nothing() -> None:
    before = clouds.undercloud_metadata()
    started = output("docker", "inspect", "--format", "{{.State.StartedAt}}", BOX, CONTAINER)
    clouds.altostratus(*ADD, timeout_s=ADD_S)
    assert clouds.undercloud_metadata() == before
    again = output("docker", "inspect", "--format", "{{.State.StartedAt}}", BOX, CONTAINER)
    assert again == started
    other = clouds.altostratus("undercloud", "add-node", NAME, "--memory", "77777", ok=False)
    assert "not 77777" in other.stderr


def test_it_holds_compute_processes_and_no_more() -> None:
    units = in_node("systemctl", "list-units", "--state=running", "--plain", "--no-legend")
    ours = {line.split()[0] for line in units.splitlines() if "nova" in line or "neutron" in line}
    assert ours == {
        "neutron-openvswitch-agent.service",
        "nova-compute@docker.service",
        "nova-compute@lxc.service",
    }
    secrets = json.loads((machine.state_dir() / "undercloud" / "secrets.json").read_text())
    told = (folder_of_node() / "local-data" / "node.json").read_text()
    others = [name for name, value in secrets.items() if value in told]
    assert {name for name in others if not name.startswith("node_")} == {"authority_certificate"}


def folder_of_node() -> pathlib.Path:
    return machine.state_dir() / "undercloud" / "nodes" / NAME


def test_zones_that_are_not_there_are_found(file: str, tmp_path: pathlib.Path) -> None:
    wrong = tmp_path / "overcloud.yaml"
    wrong.write_text(CLOUD.replace("zone: second", "zone: third"))
    done = clouds.altostratus("overcloud", "check", str(wrong), ok=False)
    assert done.returncode == Exit.FINDINGS
    assert "there is no zone 'third'" in done.stdout + done.stderr


def test_instances_come_onto_the_nodes_that_they_name(file: str) -> None:
    clouds.altostratus("overcloud", "deploy", file, timeout_s=clouds.DEPLOY_S)
    servers = cloud.connect("undercloud").compute.servers(all_projects=True)
    assert {one.name: one.compute_host for one in servers} == {
        "demo-database": "second-lxc",
        "demo-identity": "undercloud-docker",
        "demo-images": "second-docker",
    }
    clouds.altostratus("overcloud", "verify", file)
    again = clouds.altostratus("overcloud", "deploy", file)
    assert "Nothing to do" in again.stdout


def test_an_instance_reaches_nothing_that_is_for_nodes(file: str) -> None:
    probe = "timeout 2 bash -c 'echo > /dev/tcp/192.168.24.1/{0}' 2>/dev/null && echo {0} || true"
    script = "; ".join(probe.format(port) for port in (*OPEN, *CLOSED))
    instances = {one["name"]: one for one in clouds.status(file)["instances"]}
    address = instances["images"]["addresses"]["control"]
    assert clouds.ssh(address, script).stdout.split() == [str(port) for port in OPEN]


def test_a_node_with_instances_is_not_removed() -> None:
    done = clouds.altostratus("undercloud", "remove-node", NAME, ok=False)
    assert done.returncode == Exit.FAILED
    assert "instances are on it: demo-database, demo-images" in done.stderr
    assert {one.status for one in compute_services().values()} == {"enabled"}


def test_nothing_is_left_of_a_node(file: str) -> None:
    clouds.altostratus("overcloud", "delete", file, timeout_s=clouds.DEPLOY_S)
    clouds.altostratus("undercloud", "remove-node", NAME, timeout_s=ADD_S)
    connection = cloud.connect("undercloud")
    assert not HOSTS & compute_services().keys()
    assert not list(connection.network.agents(host=NAME))
    providers = connection.placement.get("/resource_providers").json()["resource_providers"]
    assert not HOSTS & {one["name"] for one in providers}
    aggregates = list(connection.compute.aggregates())
    assert NAME not in {one.name for one in aggregates}
    assert not HOSTS & {host for one in aggregates for host in one.hosts or ()}
    identity: Any = connection.identity
    assert [one.name for one in identity.users() if NAME in one.name] == []
    assert NAME not in clouds.in_undercloud("rabbitmqctl", "-q", "list_users")
    assert "192.168.24.3" not in clouds.in_undercloud("nft", "list", "ruleset")
    assert NAME not in json.dumps(clouds.undercloud_metadata())
    assert NAME not in (machine.state_dir() / "undercloud" / "secrets.json").read_text()
    assert not folder_of_node().exists()


def test_nothing_is_left_of_it_on_the_machine() -> None:
    assert BOX not in output("docker", "ps", "--all", "--format", "{{.Names}}").split()
    assert BOX not in output("docker", "volume", "ls", "--quiet").split()
    assert "altostratus-nodes" not in output("docker", "network", "ls", "--format", "{{.Name}}")
    assert "eth1" not in clouds.in_undercloud("ovs-vsctl", "list-ports", "br-ctl").split()
    done = clouds.altostratus("undercloud", "remove-node", NAME, ok=False)
    assert "the undercloud has no further nodes" in done.stderr
