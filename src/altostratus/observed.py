"""What really is there, as plain data: all that planning and checking look at."""

import collections.abc
import dataclasses
import ipaddress

from altostratus import endpoints
from altostratus.certificates import Certificate
from altostratus.model import ControlNetwork, Hypervisor


@dataclasses.dataclass(frozen=True, slots=True)
class Deployed:
    """An instance as the stack was last told to make it."""

    hypervisor: Hypervisor
    services: tuple[str, ...]
    addresses: dict[str, str]
    flavor: str
    state_gib: int
    image: str
    digest: str
    release: str
    zone: str | None = None


def public_urls(deployed: collections.abc.Mapping[str, Deployed]) -> dict[str, str]:
    """Where users reach the services of what is deployed."""
    return endpoints.public_urls((one.services, one.addresses) for one in deployed.values())


@dataclasses.dataclass(frozen=True, slots=True)
class Stack:
    """The overcloud's stack in Heat; ``digest`` is over everything it was made from."""

    id: str
    status: str
    reason: str
    digest: str
    instances: dict[str, Deployed]

    @property
    def is_complete(self) -> bool:
        """Whether Heat carried out all it was asked for."""
        return self.status in ("CREATE_COMPLETE", "UPDATE_COMPLETE")

    @property
    def is_changing(self) -> bool:
        """Whether Heat is at what it was asked for."""
        return self.status.endswith("_IN_PROGRESS")


@dataclasses.dataclass(frozen=True, slots=True)
class Server:
    """A server of the overcloud; ``answers`` says whether it can be reached, ``has_run`` whether
    it was ever started, ``drift`` what in it is not as it was configured, in words.

    ``status`` is Nova's word, but ERROR for all that failed, whatever Nova believes to go on with it.
    ``image`` is the digest of the image that Nova has noted, if that is known. ``host`` is the
    compute process that has it.
    """

    instance: str
    id: str
    status: str
    answers: bool
    has_run: bool = True
    drift: tuple[str, ...] = ()
    image: str | None = None
    host: str | None = None

    @property
    def is_alive(self) -> bool:
        """Whether it runs and can be reached."""
        return self.status == "ACTIVE" and self.answers

    @property
    def is_broken(self) -> bool:
        """Whether a server that ran is in ERROR: its rebuild failed, or was cut off."""
        return self.status == "ERROR" and self.has_run


@dataclasses.dataclass(frozen=True, slots=True)
class NeutronNetwork:
    """A network of the undercloud; ``owner`` is the overcloud that it was made for."""

    name: str
    vlan: int | None
    cidrs: tuple[ipaddress.IPv4Network, ...]
    owner: str | None
    physical_network: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Provider:
    """A compute process's share, and how much of it others than this overcloud use.

    ``trouble`` is why it takes no instances, if it takes none; ``is_disabled`` says that somebody
    wanted it so. ``silent_since`` is when it was last heard of, if nothing is heard of it now.
    ``zone`` is the availability zone of its node.
    """

    name: str
    hypervisor: Hypervisor
    memory_mib: int
    disk_gib: int
    others_memory_mib: int = 0
    others_disk_gib: int = 0
    trouble: str | None = None
    is_disabled: bool = False
    zone: str = ""
    silent_since: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class MachineNetwork:
    """A network that this machine has an address in or a route to, and through what."""

    cidr: ipaddress.IPv4Network
    device: str


@dataclasses.dataclass(frozen=True, slots=True)
class Control:
    """The control network: its pool, the addresses in it that ports have, and its gateway, which the
    undercloud itself is."""

    cidr: ipaddress.IPv4Network
    pool_start: ipaddress.IPv4Address
    pool_end: ipaddress.IPv4Address
    used: frozenset[str] = frozenset()
    gateway: ipaddress.IPv4Address = ControlNetwork().address


@dataclasses.dataclass(frozen=True, slots=True)
class Observed:
    """The undercloud as far as it matters to one overcloud.

    ``images`` are the digests in Glance with their ids, ``built`` those in the cache.
    ``endpoints`` are the public URLs in the overcloud's Keystone, None if that does not answer.
    ``credentials`` is the digest of the entry ``overcloud`` of the user's clouds.yaml.
    ``machines`` are the names of those that run on the overcloud's compute nodes, by instance.
    ``certificates`` are those that the overcloud was given; ``authority`` is what clients of the
    undercloud trust: PEM.
    """

    control: Control
    stack: Stack | None = None
    servers: tuple[Server, ...] = ()
    images: dict[str, str] = dataclasses.field(default_factory=dict)
    built: frozenset[str] = frozenset()
    networks: tuple[NeutronNetwork, ...] = ()
    flavors: frozenset[str] = frozenset()
    has_keypair: bool = False
    providers: tuple[Provider, ...] = ()
    machine_networks: tuple[MachineNetwork, ...] = ()
    endpoints: dict[str, str] | None = None
    machines: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    credentials: str | None = None
    certificates: tuple[Certificate, ...] = ()
    authority: str = ""

    def server_of(self, instance: str) -> Server | None:
        """The server of an instance."""
        return next((found for found in self.servers if found.instance == instance), None)

    def carries(self, instance: str) -> tuple[str, ...]:
        """The machines that would stop if an instance did."""
        server = self.server_of(instance)
        return self.machines.get(instance, ()) if server and server.is_alive else ()

    def deployed(self, instance: str) -> Deployed | None:
        """An instance as it was deployed."""
        return self.stack.instances.get(instance) if self.stack else None
