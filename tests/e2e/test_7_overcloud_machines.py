"""What an overcloud is for: it boots a machine, which is reached through a router; tempest agrees."""

import collections.abc
import contextlib
import pathlib
import subprocess
import time
import urllib.parse
from typing import Any

import openstack
import pytest
import websocket

from altostratus import cloud, credentials, glance, guest, machine, reach, spec, tempest
from altostratus.errors import Exit
from altostratus.model import Network
from tests.e2e import checkout, clouds

FILE = clouds.ROOT / "examples/compute.yaml"
NAME = "e2e"
PRIVATE = "10.20.30.0/24"
BOOT_S = 300
BOOTED = "cat /proc/sys/kernel/random/boot_id"
TEMPEST_S = 2400

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
    connection = cloud.connect("overcloud")
    external = provider_network()
    reach.open(external)
    outside = tempest.external_network(connection, external)
    image = glance.load_file(connection, guest.build(), NAME, "raw")
    server, address = boot(connection, image, outside, key=tmp_path / "key")
    assert connection.compute.get_server(server).status == "ACTIVE"
    assert_screen_is_shown(connection, server)
    machine.install(("iputils-ping",))
    ping = ["ping", "-c", "1", "-W", "2", address]
    wait_for(lambda: subprocess.run(ping, capture_output=True, check=False).returncode == 0)
    wait_for(lambda: ssh(address, tmp_path / "key", "hostname") == f"{NAME}\n")
    fixed = ssh(address, tmp_path / "key", "ip -4 -o addr show")
    assert "10.20.30." in fixed and address not in fixed
    assert_node_changes_only_with_its_machine(tmp_path, address)
    remove(connection)


@pytest.mark.turn("tempest")
def test_tempest_passes() -> None:
    clouds.have_deployed(str(FILE))
    done = clouds.altostratus("overcloud", "verify", "--tempest", str(FILE), timeout_s=TEMPEST_S)
    assert "tests passed" in done.stdout


def assert_node_changes_only_with_its_machine(folder: pathlib.Path, address: str) -> None:
    """An upgrade leaves the machine's node as it is; told to stop it, it brings the machine back."""
    new = checkout.with_new_elements(folder / "new", "nova-compute")
    booted = ssh(address, folder / "key", BOOTED)
    assert booted
    with checkout.started(new, "overcloud", "plan", str(FILE)) as program:
        _, refused = program.communicate(timeout=clouds.COMMAND_S)
    assert program.returncode == Exit.FINDINGS
    assert f"machines that run there would stop: {NAME}" in refused
    said = checkout.run(new, "overcloud", "upgrade", str(FILE))
    assert "compute stays as it is: machines run there" in said
    assert ssh(address, folder / "key", BOOTED) == booted
    checkout.run(new, "overcloud", "upgrade", "--stop-machines", "compute", str(FILE))
    assert clouds.in_instance("compute", f"cat /{checkout.NEW_FILE}") == "nova-compute\n"
    wait_for(lambda: ssh(address, folder / "key", BOOTED) not in ("", booted))


def provider_network() -> Network:
    (found,) = reach.wanted(spec.parse(FILE.read_text(), str(FILE)))
    return found


def boot(
    connection: openstack.connection.Connection, image: str, outside: str, *, key: pathlib.Path
) -> tuple[str, str]:
    """A machine behind a router, and the floating address that it is reached by."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    public = key.with_suffix(".pub").read_text()
    network: Any = connection.network
    compute = connection.compute
    compute.create_keypair(name=NAME, public_key=public)
    flavor = compute.create_flavor(name=NAME, ram=192, vcpus=1, disk=1)
    inside = network.create_network(name=NAME)
    subnet = network.create_subnet(
        name=NAME, network_id=inside.id, ip_version=4, cidr=PRIVATE, dns_nameservers=[]
    )
    router = network.create_router(name=NAME, external_gateway_info={"network_id": outside})
    network.add_interface_to_router(router, subnet_id=subnet.id)
    group = network.create_security_group(name=NAME)
    for protocol in ("icmp", "tcp"):
        network.create_security_group_rule(
            security_group_id=group.id, direction="ingress", protocol=protocol
        )
    port = network.create_port(network_id=inside.id, name=NAME, security_group_ids=[group.id])
    server = compute.create_server(
        name=NAME,
        image_id=image,
        flavor_id=flavor.id,
        key_name=NAME,
        networks=[{"port": port.id}],
    )
    compute.wait_for_server(server, wait=BOOT_S)
    floating = network.create_ip(floating_network_id=outside, port_id=port.id)
    return server.id, floating.floating_ip_address


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


def remove(connection: openstack.connection.Connection) -> None:
    """The machine and all that was made for it."""
    network: Any = connection.network
    compute = connection.compute
    server = compute.find_server(NAME)
    compute.delete_server(server)
    compute.wait_for_delete(server)
    (port,) = network.ports(name=NAME)
    for floating in network.ips(port_id=port.id):
        network.delete_ip(floating)
    network.delete_port(port)
    subnet, router = network.find_subnet(NAME), network.find_router(NAME)
    network.remove_interface_from_router(router, subnet_id=subnet.id)
    network.delete_router(router)
    network.delete_network(network.find_network(NAME))
    network.delete_security_group(network.find_security_group(NAME))
    compute.delete_flavor(compute.find_flavor(NAME))
    compute.delete_keypair(NAME)
    connection.image.delete_image(connection.image.find_image(NAME))


def ssh(address: str, key: pathlib.Path, command: str) -> str:
    options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "ConnectTimeout=5"]
    words = [word for option in options for word in ("-o", option)]
    done = subprocess.run(
        ["ssh", "-q", *words, "-i", str(key), f"{guest.SSH_USER}@{address}", command],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.stdout


def wait_for(holds: collections.abc.Callable[[], bool]) -> None:
    deadline = time.monotonic() + BOOT_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(1)
