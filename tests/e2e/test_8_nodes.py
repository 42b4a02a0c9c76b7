"""A second node: compute processes alone, with instances on it; it dies, and its instances go on
elsewhere; and nothing is left of it afterwards.

The undercloud that it is added to is made for it, and taken down with it.
"""

import collections.abc
import contextlib
import json
import pathlib
import subprocess
import time
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
# A group on two hypervisors, and the same without a word of where anything is to be.
SPREAD = CLOUD + "  cache: {services: [memcached], hypervisor: [docker, lxc], count: 2}\n"
ANYWHERE = SPREAD.replace(", zone: second", "").replace(", zone: undercloud", "")
DOWN_S = 180
REMOVED_S = 180
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


def written(file: str, content: str) -> str:
    pathlib.Path(file).write_text(content)
    return file


def hosts() -> dict[str, str]:
    """The compute host of each instance."""
    servers = cloud.connect("undercloud").compute.servers(all_projects=True)
    return {one.name.removeprefix("demo-"): one.compute_host for one in servers}


def wait_until(look: collections.abc.Callable[[], bool], timeout_s: float, what: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not look():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(2)


def die() -> None:
    """Kill the node, and wait until Nova has noticed."""
    output("docker", "kill", BOX)
    wait_until(
        lambda: {compute_services()[host].state for host in HOSTS} == {"down"}, DOWN_S, "it is down"
    )


def disks() -> pathlib.Path:
    """The state disks of the node, which outlive its container."""
    volume = json.loads(output("docker", "volume", "inspect", BOX))[0]["Mountpoint"]
    return pathlib.Path(volume, "state-disks")


@contextlib.contextmanager
def without_disks() -> collections.abc.Iterator[None]:
    """As if the node were a machine of its own, whose disks nobody reaches."""
    away = disks().with_name("state-disks.away")
    disks().rename(away)
    try:
        yield
    finally:
        away.rename(disks())


def left_on_node() -> dict[str, str]:
    """What the hypervisors of the node still have."""
    return {
        "docker": in_node("docker", "ps", "--all", "--quiet").strip(),
        "lxc": in_node("virsh", "--connect", "lxc:///system", "list", "--all", "--name").strip(),
    }


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
    told = json.loads((folder_of_node() / "local-data" / "node.json").read_text())
    words = {*clouds.leaves(told)}
    others = [name for name, value in secrets.items() if words & {*clouds.leaves(value)}]
    assert others
    assert all(name.startswith("node_") for name in others)


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


def test_instances_of_one_entry_come_onto_different_nodes(file: str) -> None:
    clouds.altostratus("overcloud", "deploy", written(file, SPREAD), timeout_s=clouds.DEPLOY_S)
    found = hosts()
    nodes, processes = zip(
        *(found[name].rsplit("-", 1) for name in ("cache-0", "cache-1")), strict=True
    )
    assert processes == ("docker", "lxc")
    assert {*nodes} == {"undercloud", NAME}
    rows = {one["name"]: one for one in clouds.status(file)["instances"]}
    assert tuple(rows[name]["node"] for name in ("cache-0", "cache-1")) == nodes
    # Without zones in the file they stay where they are.
    again = clouds.altostratus("overcloud", "deploy", written(file, ANYWHERE))
    assert "Nothing to do" in again.stdout


def test_a_node_that_is_up_is_not_evacuated(file: str) -> None:
    done = clouds.altostratus("overcloud", "evacuate", NAME, file, ok=False)
    assert done.returncode == Exit.FAILED
    assert f"the node {NAME} is not down" in done.stderr


def test_a_node_that_is_down_is_seen(file: str, tmp_path: pathlib.Path) -> None:
    content = tmp_path / "kept"
    content.write_bytes(b"kept" * 4096)
    clouds.openstack("overcloud", "project", "create", "kept")
    clouds.openstack("overcloud", "image", "create", "--file", str(content), "kept")
    here = sorted(name for name, host in hosts().items() if host in HOSTS)
    die()
    said = f"the node {NAME} is down, last heard of at "
    shown = clouds.altostratus("overcloud", "status", file).stdout
    assert f"warning: {said}" in shown
    assert f"on it: {', '.join(here)}; " in shown
    assert f"./altostratus overcloud evacuate {NAME} FILE" in shown
    assert f"warning: {said}" in clouds.altostratus("undercloud", "status").stdout
    done = clouds.altostratus("overcloud", "deploy", file, ok=False)
    assert done.returncode == Exit.FINDINGS
    assert f"'database' is on the node {NAME}, which is down" in done.stderr


def test_state_that_is_not_at_hand_is_not_lost_unasked(file: str) -> None:
    before = hosts()
    with without_disks():
        done = clouds.altostratus("overcloud", "evacuate", NAME, file, ok=False)
    assert done.returncode == Exit.FINDINGS
    for name, kept in (("database", "databases"), ("images", "images")):
        assert f"the state of {name!r} is on the node {NAME} alone ({kept})" in done.stderr
        assert f"--accept-loss {name}" in done.stderr
    done = clouds.altostratus("overcloud", "evacuate", NAME, written(file, SPREAD), ok=False)
    assert done.returncode == Exit.FINDINGS
    assert f"'images' is to be in the zone '{NAME}', whose node is down" in done.stderr
    assert hosts() == before


def test_instances_go_on_elsewhere_with_their_state(file: str) -> None:
    written(file, ANYWHERE)
    before = {one["name"]: one["addresses"] for one in clouds.status(file)["instances"]}
    clouds.altostratus("overcloud", "evacuate", NAME, file, timeout_s=clouds.DEPLOY_S)
    assert not HOSTS & {*hosts().values()}
    assert {one["name"]: one["addresses"] for one in clouds.status(file)["instances"]} == before
    clouds.altostratus("overcloud", "verify", file)
    projects = clouds.openstack("overcloud", "project", "list")
    assert "kept" in [one["Name"] for one in projects]
    (image,) = [
        one for one in clouds.openstack("overcloud", "image", "list") if one["Name"] == "kept"
    ]
    answer = cloud.connect("overcloud").image.get(f"/images/{image['ID']}/file")
    assert answer.content == b"kept" * 4096
    again = clouds.altostratus("overcloud", "evacuate", NAME, file)
    assert "Nothing to do" in again.stdout
    assert [path.name for path in disks().rglob("demo.*")] == []


def test_a_node_that_comes_back_removes_what_has_left_it(file: str) -> None:
    clouds.altostratus("undercloud", "up", timeout_s=ADD_S)
    gone = {"docker": "", "lxc": ""}
    wait_until(lambda: left_on_node() == gone, REMOVED_S, "its hypervisors have nothing left")
    # The ports are the new servers' now: removing the old ones must leave them alone.
    clouds.altostratus("overcloud", "verify", file)
    assert "Nothing to do" in clouds.altostratus("overcloud", "deploy", file).stdout


def test_state_that_was_given_up_is_removed_when_the_node_comes_back(file: str) -> None:
    more = ANYWHERE.replace("count: 2", "count: 3")
    clouds.altostratus("overcloud", "deploy", written(file, more), timeout_s=clouds.DEPLOY_S)
    # The others are both on the first node.
    assert hosts()["cache-2"] == f"{NAME}-docker"
    die()
    with without_disks():
        done = clouds.altostratus("overcloud", "evacuate", NAME, file, timeout_s=clouds.DEPLOY_S)
    assert "with a new state disk" in done.stdout
    assert hosts()["cache-2"] == "undercloud-docker"
    assert [path.name for path in disks().rglob("demo.cache-2.img")] == ["demo.cache-2.img"]
    clouds.altostratus("undercloud", "up", timeout_s=ADD_S)
    wait_until(lambda: not list(disks().rglob("demo.cache-2.img")), REMOVED_S, "its disk is gone")
    clouds.altostratus("overcloud", "verify", file)


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
