"""Each service's section of the metadata: what it must know, and no more.

Pure. Hashes stand for passwords wherever a service only has to check them.
"""

import base64
import collections.abc
import dataclasses
import hashlib
import uuid
from typing import Any

from altostratus import certificates, services
from altostratus.model import CONTROL

Tree = dict[str, Any]
Secrets = collections.abc.Mapping[str, str]

REGION = "RegionOne"
REGISTRY_USER = "altostratus"
REGISTRY_PORT = 5005
MESSAGING_IN_CLEAR = 5672
# The physical network by which an overcloud's machines reach others than themselves.
_PROVIDER = "provider"
PROVIDER_BRIDGE = "br-ex"
# Works on every machine: no kernel has to have Open vSwitch's module.
_DATAPATH = "netdev"
_TENANT_NETWORKS = "vxlan"
_COMPUTE = services.COMPUTE
# Where the element instance-tls has the cloud's authorities, and Debian those of its own.
AUTHORITY = "/etc/ssl/instance/authority.pem"
_NO_AUTHORITY = "/etc/ssl/certs/ca-certificates.crt"


@dataclasses.dataclass(frozen=True, slots=True)
class Cloud:
    """Where things are in the cloud that an instance belongs to.

    ``host`` is its own address for the others, ``addresses`` are all that it has. ``shown`` is
    what the certificate of each service's instance names: where it is empty, services speak in
    clear to one another. ``front`` are the addresses at which the cloud's front answers,
    ``consoles_url`` is where machines' screens are shown. ``compute_nodes`` are the names in the
    certificates of those instances between which machines move. ``is_machine`` says that the instance is a
    whole machine: whether it can virtualise, it finds out itself.
    """

    secrets: Secrets
    instance: str
    host: str
    database_host: str
    messaging_host: str
    bind: str
    auth_url: str
    internal_hosts: collections.abc.Mapping[str, str]
    public_urls: collections.abc.Mapping[str, str]
    services: tuple[str, ...]
    shown: collections.abc.Mapping[str, str] = dataclasses.field(default_factory=dict)
    addresses: tuple[str, ...] = ()
    front: tuple[str, ...] = ()
    cache_hosts: tuple[str, ...] = ()
    consoles_url: str | None = None
    compute_nodes: tuple[str, ...] = ()
    is_machine: bool = False


def make(cloud: Cloud, names: tuple[str, ...]) -> Tree:
    """The sections of these services, and what they share."""
    tree: Tree = {"tls": _tls(cloud)}
    for service in map(services.get, names):
        more = _MORE.get(service.name)
        tree[service.name] = _usual(cloud, service) | (more(cloud) if more else {})
        if "keystone" in service.needs:
            tree["identity"] = {
                "auth_url": cloud.auth_url,
                "cafile": AUTHORITY if cloud.shown else _NO_AUTHORITY,
                "region": REGION,
            }
        if cloud.cache_hosts and service.uses_cache:
            servers = [f"{host}:{services.CACHE_PORT}" for host in cloud.cache_hosts]
            tree["cache"] = {"servers": ",".join(servers)}
        if cloud.front and (service.public_port or service.name == services.FRONT):
            tree["front"] = {"addresses": list(cloud.front)}
    if _COMPUTE in names:
        # Where Nova or Neutron itself is in the same instance, its own account comes first.
        for name, section in _compute_node(cloud).items():
            tree[name] = section | tree.get(name, {})
    return tree


def _tls(cloud: Cloud) -> Tree:
    return {
        "services": bool(cloud.shown),
        "certificate": cloud.secrets[certificates.of(cloud.instance)],
        "authority": certificates.trusted(cloud.secrets),
    }


def _usual(cloud: Cloud, service: services.Service) -> Tree:
    """What follows from the catalogue."""
    section: Tree = {key: cloud.secrets[name] for key, name in service.own_secrets.items()}
    if service.ports:
        section["bind"] = cloud.bind
    if service.databases:
        section["database_url"] = _database_url(cloud, service.name, service.name)
    if service.has_messaging and not service.vhosts:
        section["transport_url"] = _transport_url(cloud, service.name)
    return section


def _mariadb(cloud: Cloud) -> Tree:
    databases = [
        {
            "name": database,
            "user": name,
            "password_hash": password_hash(cloud.secrets[f"{name}_database_password"]),
        }
        for name in cloud.services
        for database in services.get(name).databases
    ]
    return {"databases": databases}


def _rabbitmq(cloud: Cloud) -> Tree:
    users = [
        {
            "name": name,
            "password_hash": messaging_password_hash(cloud.secrets[f"{name}_messaging_password"]),
            "vhosts": list(services.get(name).vhosts or (name,)),
        }
        for name in cloud.services
        if services.get(name).has_messaging
    ]
    return {"users": users}


def _registry(cloud: Cloud) -> Tree:
    return {"bind": cloud.bind, "user": REGISTRY_USER}


def _memcached(cloud: Cloud) -> Tree:
    # Who can reach it can read and write all it holds: it is on no other network.
    return {"bind": cloud.host}


def _haproxy(cloud: Cloud) -> Tree:
    behind = [services.get(name) for name in cloud.services if name in cloud.public_urls]
    return {
        "services": [
            {
                "name": name,
                "port": port,
                "host": cloud.internal_hosts[one.name],
                "shows": cloud.shown.get(one.name, ""),
            }
            for one in behind
            for name, port in one.public_ports.items()
        ],
    }


def _keystone(cloud: Cloud) -> Tree:
    return {
        "region": REGION,
        "public_url": cloud.public_urls["keystone"],
        "internal_url": cloud.auth_url,
    }


def _nova(cloud: Cloud) -> Tree:
    section: Tree = {
        "user": "nova",
        "api_database_url": _database_url(cloud, "nova", "nova_api"),
        "cell0_database_url": _database_url(cloud, "nova", "nova_cell0"),
        "my_ip": cloud.host,
        "metadata_bind": cloud.bind,
        "is_undercloud": False,
    }
    if cloud.consoles_url:
        section["consoles"] = {"url": cloud.consoles_url, "bind": cloud.bind}
    return section


def _neutron(cloud: Cloud) -> Tree:
    return {
        "host": cloud.instance,
        "service_plugins": "router",
        "tenant_network_types": _TENANT_NETWORKS,
        "flat_networks": _PROVIDER,
        "network_vlan_ranges": _PROVIDER,
        "is_undercloud": False,
    }


def _ironic(cloud: Cloud) -> Tree:
    """Machines and their BMCs reach it as users do: at the front."""
    ((_, files_port),) = services.get("ironic").further_ports
    api_url = cloud.public_urls["ironic"]
    return {
        "api_url": api_url,
        "files_url": f"{api_url.rpartition(':')[0]}:{files_port}",
        "network": CONTROL,
    }


def _horizon(cloud: Cloud) -> Tree:
    return {"hosts": [*cloud.addresses, *cloud.front]}


def _compute_node(cloud: Cloud) -> dict[str, Tree]:
    """What of Nova and Neutron runs on a compute node; it reaches no database."""
    common = {
        "password": cloud.secrets[f"{_COMPUTE}_password"],
        "metadata_secret": cloud.secrets["metadata_secret"],
        "database_url": "",
        "is_undercloud": False,
    }
    nova = {
        "user": _COMPUTE,
        "consoles": {"url": cloud.consoles_url},
        "api_database_url": "",
        "transport_url": _transport_url(cloud, _COMPUTE, "nova"),
        "my_ip": cloud.host,
        "compute": {"qemu": _compute_process(cloud)},
        "migration": _migration(cloud),
    }
    agents = {
        "host": cloud.instance,
        "service_plugins": "",
        "transport_url": _transport_url(cloud, _COMPUTE, "neutron"),
        "tenant_network_types": _TENANT_NETWORKS,
        "flat_networks": _PROVIDER,
        "network_vlan_ranges": _PROVIDER,
        "bridge_mappings": f"{_PROVIDER}:{PROVIDER_BRIDGE}",
        "datapath_type": _DATAPATH,
        "nova_metadata_host": cloud.internal_hosts["nova"],
        "tunnel_ip": cloud.host,
        "tunnel_types": _TENANT_NETWORKS,
    }
    return {"nova": common | nova, "neutron": common | agents}


def _compute_process(cloud: Cloud) -> Tree:
    """Nova's own driver has ports bound to its own host: that is the agents', too."""
    return {
        "driver": "libvirt.LibvirtDriver",
        "host": cloud.instance,
        "state_path": "/mnt/state/nova",
        # Empty: where the key is absent, the node may have been described in old ones.
        "virt_type": "" if cloud.is_machine else "qemu",
    }


def _migration(cloud: Cloud) -> Tree:
    """Whom libvirt lets in, and by what it tells itself from others.

    Containers see the machine that they are on, and two on one machine would be the same to it.
    """
    return {
        "host_uuid": str(uuid.uuid5(uuid.NAMESPACE_DNS, cloud.host)),
        "peers": [{"name": name} for name in cloud.compute_nodes],
    }


# What a service must know besides, if anything.
_MORE: dict[str, collections.abc.Callable[[Cloud], Tree]] = {
    "mariadb": _mariadb,
    "rabbitmq": _rabbitmq,
    "registry": _registry,
    services.CACHE: _memcached,
    services.FRONT: _haproxy,
    "keystone": _keystone,
    "nova": _nova,
    "ironic": _ironic,
    "neutron": _neutron,
    "horizon": _horizon,
}


def password_hash(password: str) -> str:
    """MariaDB's hash of a password (mysql_native_password)."""
    inner = hashlib.sha1(password.encode(), usedforsecurity=False).digest()
    return "*" + hashlib.sha1(inner, usedforsecurity=False).hexdigest().upper()


def messaging_password_hash(password: str) -> str:
    """RabbitMQ's hash of a password (rabbit_password_hashing_sha256), always the same for the same."""
    salt = hashlib.sha256(f"salt of {password}".encode()).digest()[:4]
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def _database_url(cloud: Cloud, user: str, database: str) -> str:
    # With its port and query: nova-manage makes templates of them.
    password = cloud.secrets[f"{user}_database_password"]
    trusted = f"&ssl_ca={AUTHORITY}" if cloud.shown else ""
    place = f"{cloud.database_host}:3306/{database}?charset=utf8mb4{trusted}"
    return f"mysql+pymysql://{user}:{password}@{place}"


def _transport_url(cloud: Cloud, user: str, vhost: str | None = None) -> str:
    """A service's own account in RabbitMQ, by default in the virtual host that is named like it."""
    password = cloud.secrets[f"{user}_messaging_password"]
    port = services.MESSAGING_PORT if cloud.shown else MESSAGING_IN_CLEAR
    return f"rabbit://{user}:{password}@{cloud.messaging_host}:{port}/{vhost or user}"
