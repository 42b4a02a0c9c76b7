"""What a further node of an undercloud is configured with, and what the undercloud has for it.

Pure. A node reaches the undercloud at its front alone, and no database; in everything that asks who
it is, it has an account of its own, which goes with it.
"""

import collections.abc
import ipaddress

from altostratus import certificates, endpoints, hypervisors, sections, services
from altostratus.model import ControlNetwork, Hypervisor, Node, Share, Undercloud

Tree = sections.Tree
Secrets = sections.Secrets
Nodes = collections.abc.Sequence[Node]

# Where the front has the registry for nodes: it has no port there but this one.
REGISTRY_PORT = 5006
# A node's one NIC.
_NIC = "eth0"
_LOOPBACK = "127.0.0.1"
_PREFIX = "node_"
_PASSWORD = "password"
_MESSAGING = "messaging_password"
_REGISTRY = "registry_password"
# RabbitMQ's virtual hosts that it uses.
VHOSTS = ("nova", "neutron")


def user(node: str) -> str:
    """A node's account: in Keystone, in RabbitMQ and at the registry."""
    return f"nova-compute-{node}"


def secrets_of(nodes: Nodes) -> tuple[str, ...]:
    """The names of the secrets of these nodes."""
    kinds = (_PASSWORD, _MESSAGING, _REGISTRY)
    return tuple(_secret(node.name, kind) for node in nodes for kind in kinds)


def without_others(secrets: Secrets, nodes: Nodes) -> dict[str, str]:
    """The secrets of an undercloud but those of nodes that it no longer has."""
    kept = secrets_of(nodes)
    return {
        name: value
        for name, value in secrets.items()
        if name in kept or not name.startswith(_PREFIX)
    }


def admit(tree: Tree, nodes: Nodes, secrets: Secrets) -> None:
    """Give an undercloud's metadata what lets these nodes in: accounts, and ways to get there."""
    if nodes:
        _open(tree, nodes)
        _introduce(tree, nodes, secrets)


def of_node(there: Undercloud, node: Node, secrets: Secrets) -> Tree:
    """The metadata of a node, its secrets included."""
    host = str(there.control.address)
    return {
        # It serves nothing: it has no certificate.
        "tls": {
            "services": True,
            "certificate": "",
            "authority": certificates.trusted(secrets),
        },
        "identity": {
            "auth_url": endpoints.endpoint("keystone", host),
            "cafile": sections.AUTHORITY,
            "region": sections.REGION,
            "interface": "public",
        },
        "registry": {
            "address": f"{host}:{REGISTRY_PORT}",
            "user": user(node.name),
            "password": secrets[_secret(node.name, _REGISTRY)],
        },
        "network": {"control": _control(there.control, node) | {"port": _NIC}},
        "nova": _nova(host, node, secrets),
        "neutron": neutron(there)
        | {
            "host": node.name,
            "database_url": "",
            "transport_url": _transport_url(host, node, secrets, "neutron"),
        },
    }


def neutron(there: Undercloud) -> Tree:
    """What all nodes of an undercloud know of its networks."""
    network = there.control.physical_network
    return {
        "service_plugins": "",
        "tenant_network_types": "",
        "is_undercloud": True,
        "tunnel_ip": "",
        "tunnel_types": "",
        "datapath_type": there.datapath_type,
        "bridge_mappings": f"{network}:{there.control.bridge}",
        "flat_networks": network,
        "network_vlan_ranges": network,
    }


def compute_process(node: str, hypervisor: Hypervisor) -> Tree:
    """A compute process of a node."""
    entry, name = hypervisors.entry(hypervisor), hypervisors.process(hypervisor)
    process: Tree = {
        "driver": entry.compute_driver,
        "host": hypervisors.compute_host(node, hypervisor),
        "state_path": f"/mnt/state/nova-{name}",
    }
    return process | ({"virt_type": entry.virt_type} if entry.virt_type else {})


def compute_processes(node: str, shares: collections.abc.Iterable[Share]) -> Tree:
    """The compute processes of a node with a share of it, by their names."""
    return {
        hypervisors.process(share.hypervisor): compute_process(node, share.hypervisor)
        | {
            "memory_mb": share.memory_mib,
            "disk_gb": share.disk_gib,
            "vcpus": share.vcpus,
            "vcpu_ratio": share.vcpu_ratio,
        }
        for share in shares
    }


def shares_of(processes: Tree) -> tuple[Share, ...]:
    """The shares that compute processes were described from."""
    return tuple(
        Share(
            hypervisors.of_process(name),
            one["memory_mb"],
            one["disk_gb"],
            one["vcpus"],
            one.get("vcpu_ratio", 1.0),
        )
        for name, one in processes.items()
        if "memory_mb" in one
    )


def described(nodes: Nodes) -> list[Tree]:
    """Nodes as the undercloud's metadata records them."""
    return [
        {
            "name": node.name,
            "address": str(node.address),
            "compute": compute_processes(node.name, node.shares),
        }
        for node in nodes
    ]


def nodes_of(tree: Tree) -> tuple[Node, ...]:
    """The nodes that an undercloud's metadata was made for."""
    return tuple(
        Node(one["name"], ipaddress.IPv4Address(one["address"]), shares_of(one["compute"]))
        for one in tree["altostratus"].get("nodes", ())
    )


def _open(tree: Tree, nodes: Nodes) -> None:
    host = tree["network"]["control"]["host"]
    tree["network"]["nodes"] = [str(node.address) for node in nodes]
    tree["haproxy"]["nodes"] = {
        "host": host,
        "messaging_port": services.MESSAGING_PORT,
        "messaging": f"{_LOOPBACK}:{sections.MESSAGING_IN_CLEAR}",
        "registry_port": REGISTRY_PORT,
        "registry": f"{_LOOPBACK}:{sections.REGISTRY_PORT}",
    }


def _introduce(tree: Tree, nodes: Nodes, secrets: Secrets) -> None:
    tree["rabbitmq"]["users"] += [
        {
            "name": user(node.name),
            "password_hash": sections.messaging_password_hash(
                secrets[_secret(node.name, _MESSAGING)]
            ),
            "vhosts": list(VHOSTS),
        }
        for node in nodes
    ]
    tree["registry"]["nodes"] = [
        {"user": user(node.name), "password": secrets[_secret(node.name, _REGISTRY)]}
        for node in nodes
    ]
    tree["catalog"] += [
        {
            "name": user(node.name),
            "type": None,
            "user": user(node.name),
            "password": secrets[_secret(node.name, _PASSWORD)],
            "roles": list(services.get("nova-compute").roles),
        }
        for node in nodes
    ]


def _control(network: ControlNetwork, node: Node) -> Tree:
    return {"bridge": network.bridge, "address": f"{node.address}/{network.cidr.prefixlen}"}


def _nova(host: str, node: Node, secrets: Secrets) -> Tree:
    return {
        "user": user(node.name),
        "password": secrets[_secret(node.name, _PASSWORD)],
        "transport_url": _transport_url(host, node, secrets, "nova"),
        "database_url": "",
        # That of the metadata API, which is not here.
        "metadata_secret": "",
        "my_ip": str(node.address),
        "is_undercloud": True,
        "compute": compute_processes(node.name, node.shares),
    }


def _transport_url(host: str, node: Node, secrets: Secrets, vhost: str) -> str:
    password = secrets[_secret(node.name, _MESSAGING)]
    return f"rabbit://{user(node.name)}:{password}@{host}:{services.MESSAGING_PORT}/{vhost}"


def _secret(node: str, kind: str) -> str:
    return f"{_PREFIX}{node}_{kind}"
