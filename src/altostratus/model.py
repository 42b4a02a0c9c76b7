"""What an operator wants, parsed and complete: plain immutable data."""

import dataclasses
import ipaddress
import typing

from altostratus import releases

# What images are made of where nobody says otherwise.
DEBIAN = "bookworm"
CONTROL = "control"
UNDERCLOUD = "undercloud"
INTERNAL = "internal_api"
EXTERNAL = "external"
# This machine's bridge to its undercloud: what is reached through it is not this machine's own.
MACHINE_BRIDGE = "alto0"
# Between a machine and its undercloud, and between containers of one: fixed.
MANAGEMENT_NIC = "eth0"
MANAGEMENT_CIDR = "192.168.23.0/24"
TRUNK_CIDR = "192.168.26.0/27"
OWN_CIDRS = (MANAGEMENT_CIDR, TRUNK_CIDR)
_CONTROL = ipaddress.IPv4Network("192.168.24.0/24")


# What an instance runs on: a name in the table of ``hypervisors``, which alone says what there is.
Hypervisor = typing.NewType("Hypervisor", str)


@dataclasses.dataclass(frozen=True, slots=True)
class Network:
    """A VLAN provider network of an overcloud."""

    name: str
    vlan: int
    cidr: ipaddress.IPv4Network


@dataclasses.dataclass(frozen=True, slots=True)
class Instance:
    """A server that runs one service or several; ``networks`` begins with the control network.

    ``privileged`` says that a container is to be allowed more than others. ``zone`` is the node that
    it is to be on, if that matters. ``group`` is the entry of the file that it is one of several of.
    """

    name: str
    services: tuple[str, ...]
    hypervisor: Hypervisor
    networks: tuple[str, ...]
    memory_mib: int
    vcpus: int
    disk_gib: int
    state_gib: int
    privileged: bool = False
    zone: str | None = None
    group: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Image:
    """The image that an instance runs, and the OpenStack release that it is made of."""

    name: str
    digest: str
    release: str = releases.LATEST


@dataclasses.dataclass(frozen=True, slots=True)
class Overcloud:
    """A cloud to deploy; ``ntp`` are the servers that tell its machines the time, where the
    undercloud is not to, and ``release`` is OpenStack's."""

    name: str
    networks: tuple[Network, ...]
    instances: tuple[Instance, ...]
    ntp: tuple[str, ...] = ()
    release: str = releases.LATEST

    def instance_of(self, service: str) -> Instance | None:
        """The instance that runs a service."""
        return next((found for found in self.instances if service in found.services), None)

    def instance(self, name: str) -> Instance:
        """The instance of this name, which is known to exist."""
        return next(found for found in self.instances if found.name == name)

    def network(self, name: str) -> Network:
        """The network of this name, which is known to exist."""
        return next(found for found in self.networks if found.name == name)


@dataclasses.dataclass(frozen=True, slots=True)
class Share:
    """The part of a node that one compute process gives to its instances.

    ``vcpus`` times ``vcpu_ratio`` is its part of the processors, which can be less than one.
    """

    hypervisor: Hypervisor
    memory_mib: int
    disk_gib: int
    vcpus: int
    vcpu_ratio: float = 1.0


@dataclasses.dataclass(frozen=True, slots=True)
class Node:
    """A further node of an undercloud, at an address on the control network: compute processes
    alone."""

    name: str
    address: ipaddress.IPv4Address
    shares: tuple[Share, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class ControlNetwork:
    """The flat network of the undercloud and all instances; ``address`` is the undercloud's."""

    cidr: ipaddress.IPv4Network = _CONTROL
    address: ipaddress.IPv4Address = _CONTROL[1]
    dhcp_address: ipaddress.IPv4Address = _CONTROL[2]
    pool_start: ipaddress.IPv4Address = _CONTROL[20]
    pool_end: ipaddress.IPv4Address = _CONTROL[250]
    bridge: str = "br-ctl"
    physical_network: str = "control"


def control_network(cidr: ipaddress.IPv4Network) -> ControlNetwork:
    """A control network whose addresses are where they usually are."""
    return ControlNetwork(cidr, cidr[1], cidr[2], cidr[20], cidr[-6])


@dataclasses.dataclass(frozen=True, slots=True)
class Site:
    """What an undercloud is told of the place that it is at.

    ``dns`` and ``ntp`` are servers of others; its front is known by ``tls_names``, too. ``nic`` is
    the NIC of its machine by which the control network goes on outside of it, if it does.
    """

    control: ControlNetwork = ControlNetwork()
    dns: tuple[str, ...] = ()
    ntp: tuple[str, ...] = ()
    tls_names: tuple[str, ...] = ()
    nic: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Undercloud:
    """A cloud whose instances are another cloud's servers; all its services in one instance.

    ``hypervisors`` are those that its image is made for, None for the usual ones; not each of them
    has a share of the node. ``shares`` are of its own node, ``nodes`` the further ones.
    """

    shares: tuple[Share, ...]
    hypervisors: tuple[Hypervisor, ...] | None = None
    name: str = UNDERCLOUD
    site: Site = Site()
    # The user-space datapath works on every machine; "system" needs the kernel's module.
    datapath_type: str = "netdev"
    nodes: tuple[Node, ...] = ()

    @property
    def control(self) -> ControlNetwork:
        """Its control network."""
        return self.site.control

    @property
    def all_shares(self) -> tuple[Share, ...]:
        """The shares of all nodes."""
        return (*self.shares, *(share for node in self.nodes for share in node.shares))
