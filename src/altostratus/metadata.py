"""What the services in an instance are configured with, as os-apply-config reads it.

Pure: the same functions make the trees of the undercloud's one instance and of each instance of
an overcloud. An instance is given what its own services need and nothing else.
"""

import collections.abc
import hashlib
import json
import secrets as random
from typing import Any

from altostratus import (
    certificates,
    endpoints,
    hypervisors,
    nodemetadata,
    seal,
    sections,
    services,
    sitemetadata,
)
from altostratus.model import (
    CONTROL,
    INTERNAL,
    ControlNetwork,
    Hypervisor,
    Instance,
    Node,
    Overcloud,
    Share,
    Undercloud,
)

Tree = sections.Tree
Secrets = sections.Secrets
Addresses = collections.abc.Mapping[str, collections.abc.Mapping[str, str]]

EVERYWHERE = "0.0.0.0"
_LOOPBACK = "127.0.0.1"
_HEAT_KEY_LENGTH = 32
_LEAST_ROUNDS = 4
_SEAL_KEY = "seal_key_"
_FERNET_KEY = "_fernet_key"

# Keys whose values no one but the instance may read, wherever in a tree they are.
_SECRET_KEYS = services.secret_keys() | {
    "databases",
    "database_url",
    "api_database_url",
    "cell0_database_url",
    "certificate",
    "transport_url",
    "users",
}


def generate(names: collections.abc.Iterable[str], known: Secrets) -> dict[str, str]:
    """The known secrets, and new ones for the names that have none yet."""
    return dict(known) | {name: _new_secret(name) for name in names if name not in known}


def undercloud_secrets(
    known: Secrets,
    among: collections.abc.Container[str] | None = None,
    nodes: collections.abc.Sequence[Node] = (),
) -> dict[str, str]:
    """The secrets of an undercloud with these hypervisors and further nodes: the known ones, and
    new ones for those missing."""
    own = services.secrets_of(services.undercloud_names(among or ()))
    kept = nodemetadata.without_others(known, nodes)
    return generate((*own, *nodemetadata.secrets_of(nodes)), kept)


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
    names = services.undercloud_names(wanted.hypervisors or ())
    public_urls = endpoints.public_urls([(names, {CONTROL: host})])
    internal_urls = endpoints.internal_urls(dict.fromkeys(names, _LOOPBACK), scheme="http")
    tree = _undercloud_sections(wanted, secrets, public_urls, internal_urls["keystone"])
    tree["nova"] |= _undercloud_nova(wanted)
    tree["neutron"] |= _undercloud_neutron(wanted, secrets)
    tree["network"] = {
        "control": {
            "bridge": wanted.control.bridge,
            "host": host,
            "address": f"{host}/{wanted.control.cidr.prefixlen}",
        }
    }
    tree["catalog"] = catalog(names, public_urls, internal_urls, secrets)
    nodemetadata.admit(tree, wanted.nodes, secrets)
    sitemetadata.settle(tree, wanted.site)
    named = _named(tree, wanted.name, wanted.name, names)
    if wanted.hypervisors is not None:
        named["altostratus"]["hypervisors"] = list(wanted.hypervisors)
    if wanted.nodes:
        named["altostratus"]["nodes"] = nodemetadata.described(wanted.nodes)
    named["altostratus"] |= sitemetadata.described(wanted.site)
    return named


def undercloud_node(there: Undercloud, node: Node, secrets: Secrets) -> Tree:
    """The metadata of a further node of an undercloud."""
    tree = nodemetadata.of_node(there, node, secrets)
    return _named(tree, there.name, node.name, ("nova-compute",))


def instance(
    overcloud: Overcloud,
    wanted: Instance,
    addresses: Addresses,
    secrets: Secrets,
    undercloud_address: str = str(ControlNetwork().address),
) -> Tree:
    """The metadata of one instance of an overcloud, secrets included."""
    internal = _hosts(overcloud, addresses, INTERNAL)
    host = addresses[wanted.name][INTERNAL]
    front = front_addresses(overcloud, addresses)
    cloud = sections.Cloud(
        secrets=secrets,
        instance=wanted.name,
        host=host,
        database_host=internal.get("mariadb", ""),
        messaging_host=internal.get("rabbitmq", ""),
        # The front has the same ports, and may be in the same instance.
        bind=host if front else EVERYWHERE,
        auth_url=endpoints.endpoint("keystone", internal.get("keystone", "")),
        internal_hosts=internal,
        public_urls=public_urls(overcloud, addresses),
        services=tuple(internal),
        shown=_shown(overcloud),
        addresses=tuple(addresses[wanted.name].values()),
        front=front,
        cache_hosts=tuple(
            addresses[one.name][INTERNAL]
            for one in overcloud.instances
            if services.CACHE in one.services
        ),
        consoles_url=endpoints.consoles_url(_placed(overcloud, addresses)),
        compute_nodes=_compute_nodes(overcloud),
        is_machine=not hypervisors.entry(wanted.hypervisor).has_share,
    )
    tree = sections.make(cloud, wanted.services)
    if hypervisors.entry(wanted.hypervisor).has_clock:
        tree["ntp"] = {"servers": list(overcloud.ntp or [undercloud_address])}
    network = _network(overcloud, wanted, addresses[wanted.name])
    if network:
        tree["network"] = network
    return _named(tree, overcloud.name, wanted.name, wanted.services)


def _network(
    overcloud: Overcloud, wanted: Instance, addresses: collections.abc.Mapping[str, str]
) -> Tree:
    """What an instance is to make of its NICs, beyond the addresses that its server has."""
    found: Tree = {}
    bridged = services.bridged_network(wanted.services)
    is_tagged = not hypervisors.entry(wanted.hypervisor).has_share
    if is_tagged:
        tagged = [overcloud.network(name) for name in wanted.networks if name != CONTROL]
        found["tagged"] = [
            {"interface": f"vlan{one.vlan}", "vlan": one.vlan}
            | _unless(one.name == bridged, f"{addresses[one.name]}/{one.cidr.prefixlen}")
            for one in tagged
        ]
    if bridged:
        nic = f"eth{wanted.networks.index(bridged)}"
        interface = f"vlan{overcloud.network(bridged).vlan}" if is_tagged else nic
        found["provider"] = {"bridge": sections.PROVIDER_BRIDGE, "interface": interface}
    return found


def _unless(is_bridged: bool, address: str) -> Tree:
    return {} if is_bridged else {"address": address}


def public_urls(overcloud: Overcloud, addresses: Addresses) -> dict[str, str]:
    """Where an overcloud's users reach its services."""
    return endpoints.public_urls(_placed(overcloud, addresses))


def certified(overcloud: Overcloud, addresses: Addresses) -> dict[str, tuple[str, ...]]:
    """The addresses that the certificate of each instance is for."""
    return {one.name: tuple(addresses[one.name].values()) for one in overcloud.instances}


def _shown(overcloud: Overcloud) -> dict[str, str]:
    """The name in the certificate of each service's instance."""
    return {
        service: certificates.host_name(overcloud.name, one.name)
        for one in overcloud.instances
        for service in one.services
    }


def _compute_nodes(overcloud: Overcloud) -> tuple[str, ...]:
    """The names in the certificates of the instances that run machines."""
    return tuple(
        certificates.common_name(overcloud.name, one.name)
        for one in overcloud.instances
        if services.COMPUTE in one.services
    )


def _placed(overcloud: Overcloud, addresses: Addresses) -> endpoints.Placed:
    return [(one.services, addresses[one.name]) for one in overcloud.instances]


def front_addresses(overcloud: Overcloud, addresses: Addresses) -> tuple[str, ...]:
    """Where the front of an overcloud answers, if it has one."""
    front = overcloud.instance_of(services.FRONT)
    if front is None:
        return ()
    return tuple(addresses[front.name][name] for name in services.public_networks(front.networks))


def overcloud_catalog(overcloud: Overcloud, addresses: Addresses, secrets: Secrets) -> list[Tree]:
    """What :mod:`altostratus.catalog` is to register in an overcloud's Keystone."""
    internal = _hosts(overcloud, addresses, INTERNAL)
    internal_urls = endpoints.internal_urls(internal)
    return catalog(tuple(internal), public_urls(overcloud, addresses), internal_urls, secrets)


def catalog(
    names: collections.abc.Iterable[str],
    public_urls: collections.abc.Mapping[str, str],
    internal_urls: collections.abc.Mapping[str, str],
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
        }
        if service.endpoint_type:
            entry |= {
                "public_url": public_urls[service.name],
                "internal_url": internal_urls[service.name],
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


def shares_of(tree: Tree) -> tuple[Share, ...]:
    """The shares of its own node that an undercloud's metadata was made from."""
    return nodemetadata.shares_of(tree["nova"]["compute"])


def hypervisors_of(tree: Tree) -> tuple[Hypervisor, ...] | None:
    """The hypervisors that an undercloud's metadata was made for, None for the usual ones."""
    found = tree["altostratus"].get("hypervisors")
    return None if found is None else tuple(map(Hypervisor, found))


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


def _new_secret(name: str) -> str:
    if name.startswith(_SEAL_KEY) or name.endswith(_FERNET_KEY):
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


def _undercloud_neutron(wanted: Undercloud, secrets: Secrets) -> Tree:
    return nodemetadata.neutron(wanted) | {
        "host": wanted.name,
        "metadata_secret": secrets["metadata_secret"],
        "nova_metadata_host": _LOOPBACK,
    }


def _undercloud_sections(
    wanted: Undercloud,
    secrets: Secrets,
    public_urls: collections.abc.Mapping[str, str],
    auth_url: str,
) -> Tree:
    """The services' sections, as they are where all of them speak over the loopback interface."""
    host = str(wanted.control.address)
    names = services.undercloud_names(wanted.hypervisors or ())
    cloud = sections.Cloud(
        secrets=secrets,
        instance=wanted.name,
        host=host,
        database_host=_LOOPBACK,
        messaging_host=_LOOPBACK,
        # Others than itself reach it at its front alone.
        bind=_LOOPBACK,
        auth_url=auth_url,
        internal_hosts=dict.fromkeys(names, _LOOPBACK),
        public_urls=public_urls,
        services=names,
        front=(host,),
        cache_hosts=(_LOOPBACK,),
    )
    tree = sections.make(cloud, names)
    # All passwords in it are long and random: to hash them slowly protects nothing, and takes a
    # third of a second of a processor at each login.
    tree["keystone"]["password_hash_rounds"] = _LEAST_ROUNDS
    # Our stacks name nothing by a name that something else could get.
    tree["heat"]["remembers"] = True
    tree[services.CACHE]["bind"] = _LOOPBACK
    tree["registry"]["bind"] = EVERYWHERE
    # Instances have no screens.
    screens = dict(services.get("nova").further_ports)
    tree["haproxy"]["services"] = [
        one for one in tree["haproxy"]["services"] if one["name"] not in screens
    ]
    return tree


def _undercloud_nova(wanted: Undercloud) -> Tree:
    return {
        "metadata_bind": _LOOPBACK,
        "is_undercloud": True,
        "compute": {
            **nodemetadata.compute_processes(wanted.name, wanted.shares),
            **{
                hypervisors.process(name): nodemetadata.compute_process(wanted.name, name)
                for name in wanted.hypervisors or ()
                if not hypervisors.entry(name).has_share
            },
        },
    }
