"""An undercloud, its nodes and its site by one file and one command, and one more node later."""

import collections.abc
import pathlib
import subprocess

import pytest

from altostratus import cloud
from altostratus.errors import Exit
from altostratus.undercloud import CONTAINER
from tests.e2e import clouds

pytestmark = pytest.mark.turn("nodes")

FILE = """
undercloud: undercloud
hypervisors: {docker: {}, lxc: {}}
nodes:
  second: {hypervisors: {docker: {memory: 2048, disk: 6}}}
  third: {hypervisors: {lxc: {}}}
networks: {control: {cidr: 10.213.0.0/24}}
tls: {names: [cloud.example.org]}
dns: [192.0.2.53]
ntp: [192.0.2.123]
"""
# Both are on further nodes, and none on the undercloud's own.
CLOUD = """
overcloud: demo
instances:
  database: {services: [mariadb], hypervisor: lxc, zone: third}
  identity: {services: [keystone], zone: second}
"""
NODES = "10.213.0"
FRONT = f"{NODES}.1"
NAMED = {"second-docker": "second", "third-lxc": "third"}
ADD = ("undercloud", "add-node", "fourth", "--hypervisor", "docker", "--memory", "1024")


@pytest.fixture(scope="module", autouse=True)
def nothing() -> collections.abc.Iterator[None]:
    """A machine without an undercloud, before and after."""
    clouds.altostratus("undercloud", "down")
    yield
    clouds.altostratus("undercloud", "down")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("site") / "undercloud.yaml"
    path.write_text(FILE)
    return path


def other(file: pathlib.Path, before: str, after: str) -> str:
    """A file like it, but for this."""
    assert before in FILE
    path = file.with_name("other.yaml")
    path.write_text(FILE.replace(before, after))
    return str(path)


def zones() -> dict[str, str]:
    """The availability zone of each compute host that is up, but the undercloud's own."""
    found = cloud.connect("undercloud").compute.services(binary="nova-compute")
    own = ("undercloud-docker", "undercloud-lxc")
    return {
        one.host: one.availability_zone
        for one in found
        if one.state == "up" and one.host not in own
    }


def started(*nodes: str) -> str:
    boxes = [f"altostratus-node-{name}" for name in nodes]
    return subprocess.run(
        ["docker", "inspect", "--format", "{{.State.StartedAt}}", *boxes, CONTAINER],
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_more_than_the_machine_has_is_refused_before_anything_is_there(file: pathlib.Path) -> None:
    wrong = other(file, "memory: 2048", "memory: 7777777")
    done = clouds.altostratus("undercloud", "up", wrong, ok=False)
    assert done.returncode == Exit.FAILED
    assert "too little for one more node" in done.stderr
    assert "there is none" in clouds.altostratus("undercloud", "status", ok=False).stdout


def test_an_interrupted_run_is_carried_on_by_the_next(file: pathlib.Path) -> None:
    clouds.kill_during("boot the node third instance", "undercloud", "up", str(file))
    clouds.altostratus("undercloud", "up", str(file), timeout_s=clouds.DEPLOY_S)
    assert zones() == NAMED


def test_the_undercloud_is_where_its_site_says() -> None:
    subnet = cloud.connect("undercloud").network.find_subnet("control")
    assert (subnet.cidr, subnet.gateway_ip) == ("10.213.0.0/24", FRONT)
    assert subnet.allocation_pools == [{"start": "10.213.0.20", "end": "10.213.0.250"}]
    assert f"third: configured, {NODES}.4" in clouds.altostratus("undercloud", "status").stdout


def test_its_front_is_known_by_the_names_of_the_site() -> None:
    asked = f"openssl s_client -connect {FRONT}:5000 </dev/null | openssl x509 -noout -text"
    shown = clouds.in_undercloud("bash", "-c", asked)
    assert "DNS:cloud.example.org" in shown and f"IP Address:{FRONT}" in shown


def test_it_asks_the_servers_of_the_site() -> None:
    assert "nameserver 192.0.2.53" in clouds.in_undercloud("cat", "/etc/resolv.conf")
    assert "192.0.2.123" in clouds.in_undercloud("chronyc", "-n", "sources")
    subnet = cloud.connect("undercloud").network.find_subnet("control")
    assert subnet.dns_nameservers == ["192.0.2.53"]


def test_the_same_file_again_changes_nothing(file: pathlib.Path) -> None:
    before, since = clouds.undercloud_metadata(), started("second", "third")
    clouds.altostratus("undercloud", "up", str(file), timeout_s=clouds.DEPLOY_S)
    assert clouds.undercloud_metadata() == before
    assert started("second", "third") == since


def test_a_node_that_is_there_otherwise_is_refused(file: pathlib.Path) -> None:
    before = clouds.undercloud_metadata()
    wrong = other(file, "memory: 2048", "memory: 1024")
    done = clouds.altostratus("undercloud", "up", wrong, ok=False)
    assert done.returncode == Exit.FAILED
    assert "the node second is there with MiB for docker 2048, not 1024" in done.stderr
    assert clouds.undercloud_metadata() == before


def test_a_node_that_was_added_by_hand_stays(file: pathlib.Path) -> None:
    clouds.altostratus(*ADD, timeout_s=clouds.DEPLOY_S)
    before = clouds.undercloud_metadata()
    clouds.altostratus("undercloud", "up", str(file), timeout_s=clouds.DEPLOY_S)
    assert clouds.undercloud_metadata() == before
    assert zones() == NAMED | {"fourth-docker": "fourth"}


def test_a_node_that_comes_to_the_file_comes_to_the_undercloud(file: pathlib.Path) -> None:
    more = other(file, "  third:", "  fifth: {hypervisors: {docker: {memory: 512}}}\n  third:")
    clouds.altostratus("undercloud", "up", more, timeout_s=clouds.DEPLOY_S)
    assert zones() == NAMED | {"fourth-docker": "fourth", "fifth-docker": "fifth"}
    for name in ("fourth", "fifth"):
        clouds.altostratus("undercloud", "remove-node", name, timeout_s=clouds.DEPLOY_S)
    assert zones() == NAMED


def test_another_control_network_is_refused(file: pathlib.Path) -> None:
    before = clouds.undercloud_metadata()
    wrong = other(file, "10.213.0.0/24", "10.214.0.0/24")
    done = clouds.altostratus("undercloud", "up", wrong, ok=False)
    assert done.returncode == Exit.FAILED
    assert "has the control network 10.213.0.0/24" in done.stderr
    assert clouds.undercloud_metadata() == before


def test_an_overcloud_is_deployed_to_the_nodes(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "overcloud.yaml"
    path.write_text(CLOUD)
    clouds.altostratus("overcloud", "deploy", str(path), timeout_s=clouds.DEPLOY_S)
    clouds.altostratus("overcloud", "verify", str(path))
    servers = cloud.connect("undercloud").compute.servers(all_projects=True)
    assert {one.name: one.compute_host for one in servers} == {
        "demo-database": "third-lxc",
        "demo-identity": "second-docker",
    }
    found = {one["name"]: one["addresses"] for one in clouds.status(str(path))["instances"]}
    assert all(one["control"].startswith(f"{NODES}.") for one in found.values())
    clouds.altostratus("overcloud", "delete", str(path), timeout_s=clouds.DEPLOY_S)


def test_a_site_that_says_less_is_taken_back(file: pathlib.Path) -> None:
    less = other(
        file, "tls: {names: [cloud.example.org]}\ndns: [192.0.2.53]\nntp: [192.0.2.123]\n", ""
    )
    clouds.altostratus("undercloud", "up", less, timeout_s=clouds.DEPLOY_S)
    assert "192.0.2.53" not in clouds.in_undercloud("cat", "/etc/resolv.conf")
    assert "192.0.2.123" not in clouds.in_undercloud("cat", "/etc/chrony/chrony.conf")
    assert cloud.connect("undercloud").network.find_subnet("control").dns_nameservers == []
    asked = f"openssl s_client -connect {FRONT}:5000 </dev/null | openssl x509 -noout -text"
    assert "cloud.example.org" not in clouds.in_undercloud("bash", "-c", asked)
