"""What an overcloud is for: it boots machines, which are reached, and move; tempest agrees."""

import contextlib
import pathlib
import subprocess
import urllib.parse

import openstack
import pytest
import websocket
import yaml

from altostratus import cloud, credentials
from altostratus.errors import Exit
from altostratus.machine import install
from tests.e2e import checkout, clouds, machines
from tests.e2e.machines import NAME, Machine, wait_for

FILE = clouds.ROOT / "examples/compute.yaml"
TEMPEST_S = 2400
NODES = ("compute-0", "compute-1")
# Emulated on two processors, which two nodes and the control plane share.
LONGEST_ABSENCE_S = 60
REACHES = "timeout 3 bash -c '</dev/tcp/{}/{}' 2>/dev/null && echo yes || echo no"

pytestmark = pytest.mark.usefixtures("deployed")


@pytest.mark.turn("compute")
def test_control_plane_and_compute_node_deploy() -> None:
    clouds.altostratus("overcloud", "delete")
    clouds.altostratus("devtest", str(FILE), timeout_s=clouds.DEPLOY_S)
    clouds.altostratus("overcloud", "verify", str(FILE))
    again = clouds.altostratus("overcloud", "deploy", str(FILE))
    assert "Nothing to do" in again.stdout


@pytest.mark.turn("compute")
def test_privileges_stay_in_the_user_namespace() -> None:
    assert clouds.in_instance("compute", "cat /proc/1/uid_map").split()[1] != "0"


@pytest.mark.turn("compute")
def test_machine_is_reached_through_a_router(tmp_path: pathlib.Path) -> None:
    machine = machines.boot(str(FILE), tmp_path)
    connection = cloud.connect("overcloud")
    assert connection.compute.get_server(machine.server).status == "ACTIVE"
    assert_screen_is_shown(connection, machine.server)
    install(("iputils-ping",))
    ping = ["ping", "-c", "1", "-W", "2", machine.address]
    wait_for(lambda: subprocess.run(ping, capture_output=True, check=False).returncode == 0)
    wait_for(lambda: machine.ssh("hostname") == f"{NAME}\n")
    fixed = machine.ssh("ip -4 -o addr show")
    assert "10.20.30." in fixed and machine.address not in fixed
    assert_node_changes_only_with_its_machine(tmp_path, machine)
    machines.remove()


@pytest.fixture(scope="module")
def two_nodes(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The file of an overcloud with two compute nodes, which is deployed."""
    file = tmp_path_factory.mktemp("two-nodes") / "overcloud.yaml"
    content = yaml.safe_load(FILE.read_text())
    content["instances"]["compute"]["count"] = len(NODES)
    file.write_text(yaml.safe_dump(content))
    clouds.have_deployed(str(file))
    return str(file)


@pytest.mark.turn("migration")
def test_compute_nodes_alone_reach_one_another_by_tls(two_nodes: str) -> None:
    places = {one["name"]: one["addresses"] for one in clouds.status(two_nodes)["instances"]}
    first, second = (places[name]["internal_api"] for name in NODES)
    answer = clouds.in_instance(NODES[0], f"virsh --connect qemu+tls://{second}/system hostname")
    assert answer.split(".")[0].strip() == clouds.in_instance(NODES[1], "hostname").strip()
    for port in (16509, 16514):
        assert clouds.in_instance("controller", REACHES.format(first, port)) == "no\n"
    assert clouds.in_instance(NODES[1], REACHES.format(first, 16509)) == "no\n"


@pytest.mark.turn("migration")
def test_machine_runs_on_while_its_nodes_change(two_nodes: str, tmp_path: pathlib.Path) -> None:
    """Upgrade, an upgrade that is killed while the machine moves, and back: it never boots."""
    install(("iputils-ping",))
    machine = machines.boot_outside(two_nodes, tmp_path)
    wait_for(lambda: machine.boot_id() != "")
    booted, node = machine.boot_id(), machine.node()
    new = checkout.with_new_elements(tmp_path / "new", "nova-compute")
    with machines.pinged(machine.address, tmp_path / "pings") as away_s:
        clouds.kill_during(
            f"move {NAME} away", "overcloud", "upgrade", "--only", node, two_nodes, checkout=new
        )
        said = checkout.run(new, "overcloud", "upgrade", two_nodes)
        assert_changed(said, "nova-compute\n")
        assert machine.boot_id() == booted
        back = clouds.altostratus("overcloud", "rollback", two_nodes, timeout_s=clouds.DEPLOY_S)
        assert_changed(back.stdout, "")
        assert machine.boot_id() == booted
    print(f"the machine was silent for {away_s():.1f} s at most")
    assert away_s() < LONGEST_ABSENCE_S
    machines.remove()


def assert_changed(said: str, content: str) -> None:
    """Both nodes have another image, and take machines; what was told is that the machine moves."""
    assert f"changes when its machines have moved away: {NAME} to compute-" in said
    assert "stays as it is" not in said
    for name in NODES:
        look = f"cat /{checkout.NEW_FILE} 2>/dev/null || true"
        assert clouds.in_instance(name, look) == content
    services = list(cloud.connect("overcloud").compute.services(binary="nova-compute"))
    assert {(one.host, one.status, one.state) for one in services} == {
        (name, "enabled", "up") for name in NODES
    }


@pytest.mark.turn("tempest")
def test_tempest_passes() -> None:
    clouds.have_deployed(str(FILE))
    done = clouds.altostratus("overcloud", "verify", "--tempest", str(FILE), timeout_s=TEMPEST_S)
    assert "tests passed" in done.stdout


def assert_node_changes_only_with_its_machine(folder: pathlib.Path, machine: Machine) -> None:
    """An upgrade leaves the machine's node as it is; told to stop it, it brings the machine back."""
    new = checkout.with_new_elements(folder / "new", "nova-compute")
    booted = machine.boot_id()
    assert booted
    with checkout.started(new, "overcloud", "plan", str(FILE)) as program:
        _, refused = program.communicate(timeout=clouds.COMMAND_S)
    assert program.returncode == Exit.FINDINGS
    assert f"machines that run there would stop: {NAME}" in refused
    said = checkout.run(new, "overcloud", "upgrade", str(FILE))
    assert "compute stays as it is: machines run there" in said
    assert machine.boot_id() == booted
    checkout.run(new, "overcloud", "upgrade", "--stop-machines", "compute", str(FILE))
    assert clouds.in_instance("compute", f"cat /{checkout.NEW_FILE}") == "nova-compute\n"
    wait_for(lambda: machine.boot_id() not in ("", booted))


def assert_screen_is_shown(connection: openstack.connection.Connection, server: str) -> None:
    """Whoever has a token sees the machine's screen: the noVNC proxy has logged in to QEMU."""
    page = urllib.parse.urlsplit(connection.compute.create_console(server, "novnc")["url"])
    (path,) = urllib.parse.parse_qs(page.query)["path"]
    link = websocket.create_connection(
        f"wss://{page.netloc}/{path}",
        timeout=60,
        subprotocols=["binary"],
        sslopt={"ca_certs": (credentials.read("overcloud") or {})["cacert"]},
    )
    with contextlib.closing(link):
        # The words of RFB: its version, no further secret, success; then the screen's size.
        for said, answer in ((b"RFB 003.008\n",) * 2, (b"\1\1", b"\1"), (bytes(4), b"\1")):
            assert received(link, len(said)) == said
            link.send_binary(answer)
        assert int.from_bytes(received(link, 24)[:2], "big") >= 640


def received(link: websocket.WebSocket, size: int) -> bytes:
    """At least so many bytes."""
    found = b""
    while len(found) < size:
        found += bytes(link.recv())
    return found
