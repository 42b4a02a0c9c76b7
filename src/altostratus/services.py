"""The catalogue of services: what each listens on, needs and keeps."""

import collections.abc
import dataclasses

from altostratus.model import EXTERNAL, INTERNAL

FRONT = "haproxy"
CACHE = "memcached"
COMPUTE = "nova-compute"
CACHE_PORT = 11211
MESSAGING_PORT = 5671
_CONSOLES = "novncproxy"
CONSOLES_PORT = 6080
CONSOLES_PAGE = "vnc_lite.html"


# A port, or one after the other.
Port = int | range


@dataclasses.dataclass(frozen=True, slots=True)
class Service:
    """What deploying a service takes.

    ``element`` is the diskimage-builder element (and lock file) that makes its image; ``package``
    is the Python distribution or the Debian package whose version is its own. ``needs``
    are the services that must be configured before it. ``is_debians`` says that its software is
    Debian's, and the same in each release of OpenStack. ``internal_ports`` are open to
    the overcloud's internal network, ``public_port`` to everybody who reaches the instance, and so
    are ``further_ports``, by the name of what listens there.
    ``path`` follows host and port in its endpoint. ``roles`` are what its
    user has in the project of services; ``is_client`` says that it has a user and no endpoint.
    ``vhosts`` are the virtual hosts of RabbitMQ that it uses, if not the one named like it.
    ``peer_ports`` are open on the internal network to the other instances of the service alone.
    ``bridged_network`` is one on which its instance uses no address, but has a bridge for machines.
    ``is_repeatable`` says that several instances may run it, each by itself.
    ``keeps`` is what its state disk has that nothing else has, in words.
    ``needs_privileges`` says what a container that runs it must be allowed. ``hypervisor`` is the
    one that an undercloud must have to have the service. Sizes are what an
    instance gets per service.

    What some of its ``secrets`` are for follows from their names, here without the service's:
    ``database_password`` opens its databases, ``messaging_password`` its account in RabbitMQ,
    ``password`` is that of its user in Keystone, ``fernet_key`` is of the form that Fernet takes.
    """

    name: str
    order: int
    needs: tuple[str, ...] = ()
    internal_ports: tuple[Port, ...] = ()
    peer_ports: tuple[Port, ...] = ()
    public_port: int | None = None
    further_ports: tuple[tuple[str, int], ...] = ()
    endpoint_type: str | None = None
    path: str = ""
    databases: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    roles: tuple[str, ...] = ("service",)
    is_client: bool = False
    vhosts: tuple[str, ...] = ()
    bridged_network: str | None = None
    is_repeatable: bool = False
    keeps: str = ""
    needs_privileges: bool = False
    memory_mib: int = 768
    disk_gib: int = 2
    state_gib: int = 1
    in_overcloud: bool = False
    in_undercloud: bool = True
    package_name: str | None = None
    is_debians: bool = False
    hypervisor: str | None = None

    @property
    def element(self) -> str:
        """The element that makes its image."""
        return self.name

    @property
    def package(self) -> str:
        """What its version is that of, as package indexes name it."""
        return self.package_name or self.name

    @property
    def user(self) -> str | None:
        """Its own user in Keystone, if it has one."""
        has_user = self.is_client or self.endpoint_type not in (None, "identity")
        return self.name if has_user else None

    @property
    def has_messaging(self) -> bool:
        """Whether it has an account of its own in RabbitMQ."""
        return f"{self.name}_messaging_password" in self.secrets

    @property
    def own_secrets(self) -> dict[str, str]:
        """The secrets that its section of the metadata holds, by the keys that it has them under.

        The others are in the URLs of what they open.
        """
        elsewhere = {f"{self.name}_database_password", f"{self.name}_messaging_password"}
        return {
            secret.removeprefix(f"{self.name}_"): secret
            for secret in self.secrets
            if secret not in elsewhere
        }

    @property
    def uses_cache(self) -> bool:
        """Whether it keeps what it looked up in memcached, where there is one: it has users."""
        return self.public_port is not None

    @property
    def public_ports(self) -> dict[str, int]:
        """All ports that users reach, by the name of what listens there."""
        own = {self.name: self.public_port} if self.public_port else {}
        return own | dict(self.further_ports)

    @property
    def ports(self) -> tuple[Port, ...]:
        """All ports that the internal network can reach."""
        return (*self.internal_ports, *self.public_ports.values())


_SERVICES = (
    Service(
        name="mariadb",
        package_name="mariadb-server",
        is_debians=True,
        order=30,
        internal_ports=(3306,),
        keeps="databases",
        memory_mib=1024,
        state_gib=4,
        in_overcloud=True,
    ),
    Service(
        name="rabbitmq",
        package_name="rabbitmq-server",
        is_debians=True,
        order=31,
        internal_ports=(MESSAGING_PORT,),
        keeps="messages under way",
        state_gib=1,
        in_overcloud=True,
    ),
    Service(
        name="registry",
        package_name="docker-registry",
        is_debians=True,
        order=33,
        secrets=("registry_password",),
    ),
    Service(
        name=CACHE,
        is_debians=True,
        order=34,
        internal_ports=(CACHE_PORT,),
        is_repeatable=True,
        memory_mib=384,
        in_overcloud=True,
    ),
    Service(
        name=FRONT,
        # Before what it fronts: services wait for what is registered in Keystone through it.
        is_debians=True,
        order=36,
        needs=("keystone",),
        memory_mib=384,
        in_overcloud=True,
    ),
    Service(
        name="keystone",
        order=40,
        needs=("mariadb",),
        public_port=5000,
        endpoint_type="identity",
        path="/v3",
        databases=("keystone",),
        keeps="keys of tokens and credentials",
        secrets=("keystone_database_password", "admin_password"),
        in_overcloud=True,
    ),
    Service(
        name="glance",
        order=50,
        needs=("mariadb", "keystone"),
        public_port=9292,
        endpoint_type="image",
        databases=("glance",),
        keeps="images",
        secrets=("glance_database_password", "glance_password"),
        state_gib=8,
        in_overcloud=True,
    ),
    Service(
        name="placement",
        package_name="openstack-placement",
        order=51,
        needs=("mariadb", "keystone"),
        public_port=8778,
        endpoint_type="placement",
        databases=("placement",),
        secrets=("placement_database_password", "placement_password"),
        memory_mib=512,
        in_overcloud=True,
    ),
    Service(
        name="barbican",
        order=52,
        needs=("mariadb", "keystone"),
        public_port=9311,
        endpoint_type="key-manager",
        databases=("barbican",),
        secrets=("barbican_database_password", "barbican_password", "barbican_fernet_key"),
        memory_mib=512,
        in_overcloud=True,
        in_undercloud=False,
    ),
    Service(
        name="nova",
        order=55,
        needs=("mariadb", "rabbitmq", "keystone", "glance", "placement"),
        internal_ports=(8775,),
        public_port=8774,
        further_ports=((_CONSOLES, CONSOLES_PORT),),
        endpoint_type="compute",
        path="/v2.1",
        databases=("nova_api", "nova", "nova_cell0"),
        roles=("service", "admin"),
        secrets=(
            "nova_database_password",
            "nova_messaging_password",
            "nova_password",
            "metadata_secret",
        ),
        memory_mib=1536,
        in_overcloud=True,
    ),
    Service(
        name="ironic",
        order=58,
        needs=("mariadb", "keystone", "glance"),
        public_port=6385,
        # What machines boot and are written with: their BMCs and they themselves fetch it.
        further_ports=(("ironic-files", 6388),),
        endpoint_type="baremetal",
        databases=("ironic",),
        roles=("service", "admin"),
        secrets=("ironic_database_password", "ironic_password"),
        hypervisor="baremetal",
    ),
    Service(
        name="neutron",
        order=60,
        needs=("mariadb", "rabbitmq", "keystone"),
        public_port=9696,
        endpoint_type="network",
        databases=("neutron",),
        roles=("service", "admin"),
        secrets=("neutron_database_password", "neutron_messaging_password", "neutron_password"),
        memory_mib=1280,
        in_overcloud=True,
    ),
    Service(
        name="heat",
        package_name="openstack-heat",
        order=65,
        needs=("mariadb", "rabbitmq", "keystone"),
        public_port=8004,
        endpoint_type="orchestration",
        path="/v1/%(project_id)s",
        databases=("heat",),
        roles=("service", "admin"),
        secrets=(
            "heat_database_password",
            "heat_messaging_password",
            "heat_password",
            "heat_domain_admin_password",
            "heat_auth_encryption_key",
        ),
        memory_mib=1024,
        in_overcloud=True,
    ),
    Service(
        name=COMPUTE,
        package_name="nova",
        order=70,
        needs=("rabbitmq", "keystone", "glance", "placement", "nova", "neutron"),
        # Where the screens of machines are.
        internal_ports=(range(5900, 6000),),
        # By which machines move: libvirt's port, and those of QEMU for memory and disks.
        peer_ports=(16514, range(49152, 49216)),
        roles=("service", "admin"),
        secrets=("nova-compute_messaging_password", "nova-compute_password"),
        is_client=True,
        vhosts=("nova", "neutron"),
        bridged_network="provider",
        is_repeatable=True,
        keeps="machines",
        needs_privileges=True,
        memory_mib=3072,
        disk_gib=4,
        state_gib=10,
        in_overcloud=True,
        in_undercloud=False,
    ),
    Service(
        name="horizon",
        order=75,
        needs=("keystone",),
        public_port=8080,
        secrets=("horizon_secret_key",),
        in_overcloud=True,
        in_undercloud=False,
    ),
)
_BY_NAME = {service.name: service for service in _SERVICES}


def get(name: str) -> Service:
    """The service of this name, which is known to exist."""
    return _BY_NAME[name]


def names() -> tuple[str, ...]:
    """The services that an overcloud can have, in the order they are configured."""
    return tuple(service.name for service in _SERVICES if service.in_overcloud)


def undercloud_names(hypervisors: collections.abc.Container[str] = ()) -> tuple[str, ...]:
    """The services of an undercloud with these hypervisors, in the order they are configured."""
    return tuple(
        service.name
        for service in _SERVICES
        if service.in_undercloud and (not service.hypervisor or service.hypervisor in hypervisors)
    )


def all_names() -> tuple[str, ...]:
    """All services of both clouds, in the order they are configured."""
    return tuple(_BY_NAME)


def bridged_network(names: tuple[str, ...]) -> str | None:
    """The network on which an instance of these services has a bridge and no address, if any."""
    return next((found for name in names if (found := get(name).bridged_network)), None)


def networks(
    names: tuple[str, ...],
    cloud: collections.abc.Collection[str],
    there: collections.abc.Container[str],
) -> tuple[str, ...]:
    """The networks that an instance of these services needs, beside the control network.

    ``cloud`` are the services of all its instances, ``there`` the networks that it has. Services
    talk to one another over the internal network. Users come over the external one, if there is
    one: to the front, or without a front to whatever has a port for them.
    """
    has_users = FRONT in names or any(get(name).public_ports for name in names)
    is_reached = has_users and (FRONT in names or FRONT not in cloud)
    wanted = (EXTERNAL if is_reached else None, bridged_network(names))
    return (INTERNAL, *(name for name in wanted if name in there and name))


def public_networks(networks: collections.abc.Collection[str]) -> tuple[str, ...]:
    """Those of an instance's networks over which users reach it."""
    if EXTERNAL in networks:
        return (EXTERNAL,)
    return tuple(name for name in networks if name != INTERNAL)


def secret_keys() -> frozenset[str]:
    """The keys of all sections of the metadata that hold services' own secrets."""
    return frozenset(key for service in _SERVICES for key in service.own_secrets)


def secrets_of(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names of the secrets that these services own."""
    return tuple(dict.fromkeys(secret for name in names for secret in get(name).secrets))
