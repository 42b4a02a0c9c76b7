"""Bare metal: an undercloud with Ironic, and virtual machines with BMCs beside it.

It comes last, because it takes the undercloud of the tests before down: another one is made.
"""

import collections.abc
import pathlib

import pytest
import yaml

from altostratus import cloud
from tests.e2e import clouds

pytestmark = pytest.mark.turn("baremetal")

UP_S = 1800
COUNT = 2
CLOUD = """
overcloud: demo
default_hypervisor: baremetal
networks:
  internal_api: {vlan: 101, cidr: 172.16.1.0/24}
instances:
  identity: {services: [mariadb, keystone]}
"""


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> collections.abc.Iterator[pathlib.Path]:
    """The file of the machines of a testbed, beside a straight bare-metal undercloud."""
    file = tmp_path_factory.mktemp("testbed") / "nodes.yaml"
    example = "examples/undercloud/only-baremetal.yaml"
    clouds.altostratus("undercloud", "down")
    clouds.altostratus("undercloud", "up", example, timeout_s=UP_S)
    clouds.altostratus("testbed", "up", "--machines", str(COUNT), str(file), timeout_s=UP_S)
    yield file
    clouds.altostratus("undercloud", "down")


def test_its_one_compute_process_is_ironics(nodes: pathlib.Path) -> None:
    compute = cloud.connect("undercloud").compute
    found = {one.host: one.state for one in compute.services(binary="nova-compute")}
    assert found == {"undercloud-ironic": "up"}
    config = clouds.in_undercloud("cat", "/etc/nova/compute/nova-ironic.conf")
    assert "compute_driver = ironic.IronicDriver" in config
    assert "state_path = /mnt/state/nova-ironic" in config


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bmc": "https://192.168.23.250"}, "(BMC https://192.168.23.250)"),
        ({"password_file": "/dev/null"}, "there is no password in /dev/null"),
        ({"password_env": "WRONG"}, "it refuses the user or the password"),
    ],
)
def test_one_that_cannot_be_enrolled_leaves_none(
    nodes: pathlib.Path,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, str],
    said: str,
) -> None:
    monkeypatch.setenv("WRONG", "not the password")
    content = yaml.safe_load(nodes.read_text())
    last = content["nodes"][f"testbed-{COUNT - 1}"]
    if "password_env" in change:
        del last["password_file"]
    last.update(change)
    file = tmp_path / "nodes.yaml"
    file.write_text(yaml.safe_dump(content))
    done = clouds.altostratus("node", "import", str(file), timeout_s=UP_S, ok=False)
    assert done.returncode == 1
    assert f"node testbed-{COUNT - 1}" in done.stderr
    assert said in done.stderr
    assert "testbed" not in clouds.altostratus("node", "list").stdout


def test_machines_are_enrolled_once(nodes: pathlib.Path) -> None:
    done = clouds.altostratus("node", "import", str(nodes), timeout_s=UP_S)
    assert done.stdout.split() == [f"testbed-{n}" for n in range(COUNT)]
    again = clouds.altostratus("node", "import", str(nodes))
    assert again.stdout == ""
    assert "nothing to do" in again.stderr


def test_a_machine_is_inspected_by_its_bmc(nodes: pathlib.Path) -> None:
    done = clouds.altostratus("node", "inspect", "testbed-0")
    assert "2048 MiB" in done.stdout
    assert "52:54:00:" in done.stdout


def test_a_machine_looks_at_itself(nodes: pathlib.Path) -> None:
    done = clouds.altostratus("node", "inspect", "--boot", "testbed-0", timeout_s=UP_S)
    assert "manageable" in done.stdout


def test_machines_are_made_ready(nodes: pathlib.Path) -> None:
    names = [f"testbed-{n}" for n in range(COUNT)]
    done = clouds.altostratus("node", "provide", *names, timeout_s=UP_S)
    assert done.stdout.count(" available ") == COUNT
    again = clouds.altostratus("node", "provide", *names)
    assert "clean" not in again.stderr


def test_machine_that_is_too_small_is_told_before(
    nodes: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    file = tmp_path / "overcloud.yaml"
    file.write_text(CLOUD.replace("keystone]", "keystone], memory: 4096"))
    done = clouds.altostratus("overcloud", "check", str(file), ok=False)
    assert done.returncode == 3
    assert "no free machine is large enough: identity needs 4096 MiB" in done.stdout + done.stderr
    assert "testbed-0: 2048 MiB of memory" in done.stdout + done.stderr


@pytest.fixture(scope="module")
def identity(nodes: pathlib.Path) -> collections.abc.Iterator[pathlib.Path]:
    """The file of an overcloud that is on one of the machines."""
    file = nodes.with_name("overcloud.yaml")
    file.write_text(CLOUD)
    clouds.altostratus("overcloud", "deploy", str(file), timeout_s=clouds.DEPLOY_S)
    yield file


def test_identity_is_on_a_machine(identity: pathlib.Path) -> None:
    found = clouds.openstack("overcloud", "token", "issue")
    assert found["project_id"]
    assert "active" in clouds.altostratus("node", "list").stdout


def test_its_state_is_behind_its_root(identity: pathlib.Path) -> None:
    where = clouds.in_instance(
        "identity", "findmnt --noheadings --output SOURCE,OPTIONS /mnt/state"
    )
    assert where.startswith("/dev/vda3")
    assert "nosuid,nodev" in where
    assert "state" in clouds.in_instance("identity", "blkid --match-tag LABEL /dev/vda3")


def test_internal_network_comes_tagged(identity: pathlib.Path) -> None:
    shown = clouds.in_instance("identity", "ip -brief address show dev vlan101")
    assert "172.16.1.10/24" in shown


def test_machine_comes_back_from_a_boot_with_its_data(identity: pathlib.Path) -> None:
    clouds.openstack("overcloud", "project", "create", "kept")
    (server,) = cloud.connect("undercloud").compute.servers()
    cloud.connect("undercloud").compute.reboot_server(server.id, "HARD")
    clouds.altostratus("overcloud", "deploy", str(identity), timeout_s=clouds.DEPLOY_S)
    assert clouds.openstack("overcloud", "project", "show", "kept")["name"] == "kept"


def test_deleting_cleans_the_machine(identity: pathlib.Path) -> None:
    clouds.altostratus("overcloud", "delete", str(identity), timeout_s=UP_S)
    names = [f"testbed-{n}" for n in range(COUNT)]

    def look() -> tuple[bool | None, str]:
        shown = clouds.altostratus("node", "list").stdout
        return (shown.count(" available ") == COUNT) or None, shown

    cloud.wait(f"{names} being available", look, UP_S, poll_s=5)


def test_no_password_is_shown(nodes: pathlib.Path) -> None:
    password = pathlib.Path("/var/lib/altostratus/testbed/password").read_text()
    shown = clouds.in_undercloud("journalctl", "--unit", "ironic", "--no-pager")
    assert password not in shown
    assert password not in clouds.altostratus("--debug", "node", "list").stderr
