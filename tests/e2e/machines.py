"""Machines of an overcloud: behind a router with a floating address, or on the provider network."""

import collections.abc
import contextlib
import dataclasses
import itertools
import pathlib
import re
import subprocess
import time
from typing import Any

import openstack

from altostratus import cloud, glance, guest, reach, spec, tempest
from altostratus.model import Network

NAME = "e2e"
PRIVATE = "10.20.30.0/24"
BOOT_S = 300
PROVIDER = "provider"


@dataclasses.dataclass(frozen=True)
class Machine:
    """Its server's id, the address that it is reached by, and the key for it."""

    server: str
    address: str
    key: pathlib.Path

    def ssh(self, command: str) -> str:
        """What a command prints in the machine; nothing where it is not reached."""
        options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "ConnectTimeout=5"]
        words = [word for option in options for word in ("-o", option)]
        done = subprocess.run(
            ["ssh", "-q", *words, "-i", str(self.key), f"{guest.SSH_USER}@{self.address}", command],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done.stdout

    def boot_id(self) -> str:
        """Another one after each boot; nothing where it is not reached."""
        return self.ssh("cat /proc/sys/kernel/random/boot_id")

    def node(self) -> str:
        """The instance that it runs on."""
        return str(cloud.connect("overcloud").compute.get_server(self.server).compute_host)


def boot(file: str, folder: pathlib.Path) -> Machine:
    """Boot a machine behind a router in the overcloud of a file; its key is made in the folder."""
    connection = cloud.connect("overcloud")
    outside = _outside(connection, file)
    key = _key(connection, folder)
    network: Any = connection.network
    inside = network.create_network(name=NAME)
    subnet = network.create_subnet(
        name=NAME, network_id=inside.id, ip_version=4, cidr=PRIVATE, dns_nameservers=[]
    )
    router = network.create_router(name=NAME, external_gateway_info={"network_id": outside})
    network.add_interface_to_router(router, subnet_id=subnet.id)
    server, port = _boot(connection, inside.id)
    floating = network.create_ip(floating_network_id=outside, port_id=port.id)
    return Machine(server, floating.floating_ip_address, key)


def boot_outside(file: str, folder: pathlib.Path) -> Machine:
    """Boot a machine on the provider network itself, which every compute node is on."""
    connection = cloud.connect("overcloud")
    network: Any = connection.network
    outside = _outside(connection, file)
    (subnet,) = network.subnets(network_id=outside)
    network.update_subnet(subnet, is_dhcp_enabled=True)
    key = _key(connection, folder)
    server, port = _boot(connection, outside)
    return Machine(server, port.fixed_ips[0]["ip_address"], key)


def provider_network(file: str) -> Network:
    """The network of a file by which its machines are reached."""
    networks = reach.wanted(spec.parse(pathlib.Path(file).read_text(), file))
    (found,) = (one for one in networks if one.name == PROVIDER)
    return found


def _outside(connection: openstack.connection.Connection, file: str) -> str:
    external = provider_network(file)
    reach.open(external)
    return tempest.external_network(connection, external)


def _key(connection: openstack.connection.Connection, folder: pathlib.Path) -> pathlib.Path:
    key = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    connection.compute.create_keypair(name=NAME, public_key=key.with_suffix(".pub").read_text())
    return key


def _boot(connection: openstack.connection.Connection, place: str) -> tuple[str, Any]:
    """A server on a network: its id, and its port."""
    network: Any = connection.network
    compute = connection.compute
    image = glance.load_file(connection, guest.build(), NAME, "raw")
    flavor = compute.create_flavor(name=NAME, ram=192, vcpus=1, disk=1)
    group = network.create_security_group(name=NAME)
    for protocol in ("icmp", "tcp"):
        network.create_security_group_rule(
            security_group_id=group.id, direction="ingress", protocol=protocol
        )
    port = network.create_port(network_id=place, name=NAME, security_group_ids=[group.id])
    server = compute.create_server(
        name=NAME,
        image_id=image,
        flavor_id=flavor.id,
        key_name=NAME,
        networks=[{"port": port.id}],
    )
    compute.wait_for_server(server, wait=BOOT_S)
    return server.id, port


@contextlib.contextmanager
def pinged(
    address: str, file: pathlib.Path
) -> collections.abc.Iterator[collections.abc.Callable[[], float]]:
    """Ping an address all the while; gives the longest time in seconds that it was silent for."""
    command = ["ping", "-D", "-n", "-i", "0.2", "-W", "1", address]
    with file.open("w") as output, subprocess.Popen(command, stdout=output) as ping:
        try:
            yield lambda: _longest_silence_s(file)
        finally:
            ping.terminate()


def _longest_silence_s(file: pathlib.Path) -> float:
    """Between two answers: what comes after the last one is not over."""
    times = [float(found) for found in re.findall(r"\[([\d.]+)\] .* time=", file.read_text())]
    return max(later - before for before, later in itertools.pairwise(times))


def remove() -> None:
    """Remove the machine and all that was made for it."""
    connection = cloud.connect("overcloud")
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
    if router:
        network.remove_interface_from_router(router, subnet_id=subnet.id)
        network.delete_router(router)
        network.delete_network(network.find_network(NAME))
    network.delete_security_group(network.find_security_group(NAME))
    compute.delete_flavor(compute.find_flavor(NAME))
    compute.delete_keypair(NAME)
    connection.image.delete_image(connection.image.find_image(NAME))


def wait_for(holds: collections.abc.Callable[[], bool]) -> None:
    """Wait until something holds, as long as a boot may take."""
    deadline = time.monotonic() + BOOT_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(1)
