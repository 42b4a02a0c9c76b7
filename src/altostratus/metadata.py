"""What the services in an instance are configured with, as os-apply-config reads it.

Pure: the same functions make the trees of the undercloud's one instance and of each instance of
an overcloud. An instance is given what its own services need and nothing else.
"""

import collections.abc
import dataclasses
import hashlib
import json
import secrets as random
from typing import Any

from altostratus import hypervisors, seal, services
from altostratus.model import CONTROL, INTERNAL, Hypervisor, Instance, Overcloud, Share, Undercloud

Tree = dict[str, Any]
Secrets = collections.abc.Mapping[str, str]
Addresses = collections.abc.Mapping[str, collections.abc.Mapping[str, str]]

REGION = "RegionOne"
EVERYWHERE = "0.0.0.0"
_LOOPBACK = "127.0.0.1"
_MESSAGING_USER = "openstack"
_HEAT_KEY_LENGTH = 32
_SEAL_KEY = "seal_key_"

# Keys whose values no one but the instance may read, wherever in a tree they are.
_SECRET_KEYS = frozenset(
    {
        "databases",
        "password",
        "admin_password",
        "domain_admin_password",
        "auth_encryption_key",
        "database_url",
        "api_database_url",
        "cell0_database_url",
        "metadata_secret",
        "url",
    }
)


@dataclasses.dataclass(frozen=True, slots=True)
class _Cloud:
    """Where things are in the cloud that an instance belongs to."""

    secrets: Secrets
    database_host: str
    messaging_host: str
    bind: str
    auth_url: str
    internal_hosts: collections.abc.Mapping[str, str]
    public_hosts: collections.abc.Mapping[str, str]
    services: tuple[str, ...]


def generate(names: collections.abc.Iterable[str], known: Secrets) -> dict[str, str]:
    """The known secrets, and new ones for the names that have none yet."""
    return dict(known) | {name: _new_secret(name) for name in names if name not in known}


def undercloud_secrets(known: Secrets) -> dict[str, str]:
    """The secrets of an undercloud: the known ones, and new ones for those missing."""
    return generate(services.secrets_of(services.all_names()), known)


def overcloud_secrets(overcloud: Overcloud, known: Secrets) -> dict[str, str]:
    """The secrets of an overcloud: the known ones, and new ones for those missing."""
    names = tuple(service for instance in overcloud.instances for service in instance.services)
    seal_keys = tuple(seal_key(instance.name) for instance in overcloud.instances)
    return generate((*services.secrets_of(names), *seal_keys), known)


def seal_key(instance: str) -> str:
    """The name of the secret that an instance's other secrets are sealed with."""
    return f"{_SEAL_KEY}{instance}"


def undercloud(wanted: Undercloud, secrets: Secrets) -> Tree:
    """The metadata of an undercloud's one instance."""
    host = str(wanted.control.address)
    names = services.all_names()
    everywhere = dict.fromkeys(names, host)
    cloud = _Cloud(
        secrets=secrets,
        database_host=_LOOPBACK,
        messaging_host=_LOOPBACK,
        bind=EVERYWHERE,
        auth_url=endpoint("keystone", host),
        internal_hosts=everywhere,
        public_hosts=everywhere,
        services=names,
    )
    tree = _services(cloud, names)
    tree["mariadb"]["bind"] = tree["rabbitmq"]["bind"] = _LOOPBACK
    tree["nova"] |= _undercloud_nova(wanted)
    tree["neutron"] |= {
        "host": wanted.name,
        "datapath_type": wanted.datapath_type,
        "bridge_mappings": f"{wanted.control.physical_network}:{wanted.control.bridge}",
        "flat_networks": wanted.control.physical_network,
        "network_vlan_ranges": wanted.control.physical_network,
    }
    tree["network"] = {
        "control": {
            "bridge": wanted.control.bridge,
            "host": host,
            "address": f"{host}/{wanted.control.cidr.prefixlen}",
        }
    }
    tree["catalog"] = catalog(names, everywhere, everywhere, secrets)
    return _named(tree, wanted.name, wanted.name, names)


def instance(
    overcloud: Overcloud, wanted: Instance, addresses: Addresses, secrets: Secrets
) -> Tree:
    """The metadata of one instance of an overcloud, secrets included."""
    internal = _hosts(overcloud, addresses, INTERNAL)
    cloud = _Cloud(
        secrets=secrets,
        database_host=internal.get("mariadb", ""),
        messaging_host=internal.get("rabbitmq", ""),
        bind=EVERYWHERE,
        auth_url=endpoint("keystone", internal.get("keystone", "")),
        internal_hosts=internal,
        public_hosts=_hosts(overcloud, addresses, CONTROL),
        services=tuple(internal),
    )
    return _named(_services(cloud, wanted.services), overcloud.name, wanted.name, wanted.services)


def overcloud_catalog(overcloud: Overcloud, addresses: Addresses, secrets: Secrets) -> list[Tree]:
    """What :mod:`altostratus.catalog` is to register in an overcloud's Keystone."""
    internal = _hosts(overcloud, addresses, INTERNAL)
    public = _hosts(overcloud, addresses, CONTROL)
    return catalog(tuple(internal), public, internal, secrets)


def catalog(
    names: collections.abc.Iterable[str],
    public_hosts: collections.abc.Mapping[str, str],
    internal_hosts: collections.abc.Mapping[str, str],
    secrets: Secrets,
) -> list[Tree]:
    """The catalogue entries and users of those of the services that have them."""
    entries: list[Tree] = []
    for service in map(services.get, names):
        if service.user is None:
            continue
        entry: Tree = {
            "name": service.name,
            "type": service.endpoint_type,
            "user": service.user,
            "password": secrets[f"{service.name}_password"],
            "roles": list(service.roles),
            "public_url": endpoint(service.name, public_hosts[service.name]),
            "internal_url": endpoint(service.name, internal_hosts[service.name]),
        }
        if service.name == "heat":
            entry["domain"] = {
                "name": "heat",
                "admin": "heat_domain_admin",
                "password": secrets["heat_domain_admin_password"],
                "role": "heat_stack_user",
            }
        entries.append(entry)
    return entries


def endpoint(name: str, host: str) -> str:
    """The URL of a service at a host."""
    service = services.get(name)
    return f"http://{host}:{service.public_port}{service.path}"


def shares_of(tree: Tree) -> tuple[Share, ...]:
    """The shares that an undercloud's metadata was made from."""
    return tuple(
        Share(
            Hypervisor(name),
            one["memory_mb"],
            one["disk_gb"],
            one["vcpus"],
            one.get("vcpu_ratio", 1.0),
        )
        for name, one in tree["nova"]["compute"].items()
    )


def split(tree: Tree) -> tuple[Tree, Tree]:
    """The part of a tree that may be read by others, and the part that must be sealed."""
    clear: Tree = {}
    secret: Tree = {}
    for key, value in tree.items():
        if key in _SECRET_KEYS:
            secret[key] = value
        elif isinstance(value, dict):
            inner_clear, inner_secret = split(value)
            if inner_clear or not inner_secret:
                clear[key] = inner_clear
            if inner_secret:
                secret[key] = inner_secret
        else:
            clear[key] = value
    return clear, secret


def digest(value: Any) -> str:
    """sha256 of plain data."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def password_hash(password: str) -> str:
    """MariaDB's hash of a password (mysql_native_password)."""
    inner = hashlib.sha1(password.encode(), usedforsecurity=False).digest()
    return "*" + hashlib.sha1(inner, usedforsecurity=False).hexdigest().upper()


def _new_secret(name: str) -> str:
    if name.startswith(_SEAL_KEY):
        return seal.new_key()
    # Heat takes keys of exactly this length; for all others it does as well.
    return random.token_urlsafe(_HEAT_KEY_LENGTH)[:_HEAT_KEY_LENGTH]


def _hosts(overcloud: Overcloud, addresses: Addresses, network: str) -> dict[str, str]:
    """The address of each service on a network, in the order they are configured."""
    found = {
        service: addresses[instance.name][network]
        for instance in overcloud.instances
        for service in instance.services
    }
    return {name: found[name] for name in services.all_names() if name in found}


def _named(tree: Tree, cloud: str, name: str, names: tuple[str, ...]) -> Tree:
    about = {"cloud": cloud, "instance": name, "services": list(names)}
    return {"altostratus": about | {"digest": digest(tree)}, **tree}


def _services(cloud: _Cloud, names: tuple[str, ...]) -> Tree:
    tree: Tree = {}
    for name in names:
        tree[name] = _SECTIONS[name](cloud)
        needs = services.get(name).needs
        if "rabbitmq" in needs:
            tree["messaging"] = {"url": _messaging_url(cloud)}
        if "keystone" in needs:
            tree["identity"] = {"auth_url": cloud.auth_url, "region": REGION}
    return tree


def _mariadb(cloud: _Cloud) -> Tree:
    databases = [
        {
            "name": database,
            "user": name,
            "password_hash": password_hash(cloud.secrets[f"{name}_database_password"]),
        }
        for name in cloud.services
        for database in services.get(name).databases
    ]
    return {"bind": cloud.bind, "databases": databases}


def _rabbitmq(cloud: _Cloud) -> Tree:
    password = cloud.secrets["rabbitmq_password"]
    return {"bind": cloud.bind, "user": _MESSAGING_USER, "password": password}


def _keystone(cloud: _Cloud) -> Tree:
    return {
        "bind": cloud.bind,
        "region": REGION,
        "database_url": _database_url(cloud, "keystone", "keystone"),
        "admin_password": cloud.secrets["admin_password"],
        "public_url": endpoint("keystone", cloud.public_hosts["keystone"]),
        "internal_url": endpoint("keystone", cloud.internal_hosts["keystone"]),
    }


def _glance(cloud: _Cloud) -> Tree:
    return _with_user(cloud, "glance")


def _placement(cloud: _Cloud) -> Tree:
    return _with_user(cloud, "placement")


def _nova(cloud: _Cloud) -> Tree:
    return _with_user(cloud, "nova") | {
        "api_database_url": _database_url(cloud, "nova", "nova_api"),
        "cell0_database_url": _database_url(cloud, "nova", "nova_cell0"),
        "metadata_secret": cloud.secrets["metadata_secret"],
    }


def _neutron(cloud: _Cloud) -> Tree:
    metadata_secret = cloud.secrets["metadata_secret"]
    return _with_user(cloud, "neutron") | {"metadata_secret": metadata_secret}


def _heat(cloud: _Cloud) -> Tree:
    return _with_user(cloud, "heat") | {
        "domain_admin_password": cloud.secrets["heat_domain_admin_password"],
        "auth_encryption_key": cloud.secrets["heat_auth_encryption_key"],
    }


_SECTIONS: dict[str, collections.abc.Callable[[_Cloud], Tree]] = {
    "mariadb": _mariadb,
    "rabbitmq": _rabbitmq,
    "keystone": _keystone,
    "glance": _glance,
    "placement": _placement,
    "nova": _nova,
    "neutron": _neutron,
    "heat": _heat,
}


def _with_user(cloud: _Cloud, name: str) -> Tree:
    return {
        "bind": cloud.bind,
        "database_url": _database_url(cloud, name, name),
        "password": cloud.secrets[f"{name}_password"],
    }


def _undercloud_nova(wanted: Undercloud) -> Tree:
    return {
        "my_ip": str(wanted.control.address),
        "metadata_bind": _LOOPBACK,
        "compute": {
            str(share.hypervisor): _compute_process(wanted, share) for share in wanted.shares
        },
    }


def _compute_process(wanted: Undercloud, share: Share) -> Tree:
    entry = hypervisors.entry(share.hypervisor)
    process: Tree = {
        "driver": entry.compute_driver,
        "host": f"{wanted.name}-{share.hypervisor}",
        "state_path": f"/mnt/state/nova-{share.hypervisor}",
        "memory_mb": share.memory_mib,
        "disk_gb": share.disk_gib,
        "vcpus": share.vcpus,
        "vcpu_ratio": share.vcpu_ratio,
    }
    return process | ({"virt_type": entry.virt_type} if entry.virt_type else {})


def _database_url(cloud: _Cloud, user: str, database: str) -> str:
    # With its port and query: nova-manage makes templates of them.
    password = cloud.secrets[f"{user}_database_password"]
    host = cloud.database_host
    return f"mysql+pymysql://{user}:{password}@{host}:3306/{database}?charset=utf8mb4"


def _messaging_url(cloud: _Cloud) -> str:
    password = cloud.secrets["rabbitmq_password"]
    return f"rabbit://{_MESSAGING_USER}:{password}@{cloud.messaging_host}:5672/"
