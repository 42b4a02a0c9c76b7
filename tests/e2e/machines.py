"""Machines of an overcloud: booted behind a router, and reached at a floating address."""

import collections.abc
import dataclasses
import pathlib
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
    """Its server's id, the floating address that it is reached by, and the key for it."""

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


def boot(file: str, folder: pathlib.Path) -> Machine:
    """Boot a machine in the overcloud of a file; its key is made in the folder."""
    connection = cloud.connect("overcloud")
    external = provider_network(file)
    reach.open(external)
    outside = tempest.external_network(connection, external)
    image = glance.load_file(connection, guest.build(), NAME, "raw")
    key = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    server, address = _boot(connection, image, outside, key.with_suffix(".pub").read_text())
    return Machine(server, address, key)


def provider_network(file: str) -> Network:
    """The network of a file by which its machines are reached."""
    networks = reach.wanted(spec.parse(pathlib.Path(file).read_text(), file))
    (found,) = (one for one in networks if one.name == PROVIDER)
    return found


def _boot(
    connection: openstack.connection.Connection, image: str, outside: str, public: str
) -> tuple[str, str]:
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
