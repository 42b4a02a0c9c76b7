"""The ports of an overcloud's instances in its Heat stack, and what they let in."""

import collections.abc
from typing import Any

from altostratus import services
from altostratus.model import CONTROL, INTERNAL, Instance, Overcloud

# The parameter with Neutron's ids of the networks, by name.
NETWORK_IDS = "network_ids"

_SSH_PORT = 22

Tree = dict[str, Any]
# By instance and network.
Addresses = collections.abc.Mapping[str, collections.abc.Mapping[str, str]]


def resource(instance: Instance, network: str) -> str:
    """The name of the resource that is an instance's port on a network."""
    return f"{instance.name}_{network}_port"


def render(
    overcloud: Overcloud, instance: Instance, name: str, addresses: Addresses, origin: str
) -> Tree:
    """A port and the security group that lets in what its network may reach.

    ``name`` is the network's, ``origin`` the resource that both come after.
    """
    title, address = f"{overcloud.name}-{instance.name}-{name}", addresses[instance.name][name]
    if name == services.bridged_network(instance.services):
        return {resource(instance, name): _bridge_port(title, name, address, origin)}
    group = f"{instance.name}_{name}_access"
    return {
        group: {
            "type": "OS::Neutron::SecurityGroup",
            "depends_on": [origin],
            "properties": {"name": title, "rules": _rules(overcloud, instance, name, addresses)},
        },
        resource(instance, name): {
            "type": "OS::Neutron::Port",
            "properties": {
                "name": title,
                "network": {"get_param": [NETWORK_IDS, name]},
                "fixed_ips": [{"ip_address": address}],
                "security_groups": [{"get_resource": group}],
            },
        },
    }


def _bridge_port(title: str, name: str, address: str, origin: str) -> Tree:
    """A port for the traffic of others; its address is only kept free.

    Nova takes no port without an address where Neutron does not say that none was wanted. The
    instance gives it up for the bridge.
    """
    return {
        "type": "OS::Neutron::Port",
        "depends_on": [origin],
        "properties": {
            "name": title,
            "network": {"get_param": [NETWORK_IDS, name]},
            "fixed_ips": [{"ip_address": address}],
            "port_security_enabled": False,
        },
    }


def _rules(overcloud: Overcloud, instance: Instance, name: str, addresses: Addresses) -> list[Tree]:
    is_public = name in services.public_networks(instance.networks)
    ports: list[services.Port] = [*_public_ports(overcloud, instance)] if is_public else []
    if name == CONTROL:
        return [_rule(port) for port in (_SSH_PORT, *ports)] + [{"protocol": "icmp"}]
    cidr = str(overcloud.network(name).cidr)
    if name == INTERNAL:
        ports = [port for service in instance.services for port in services.get(service).ports]
    rules = [_rule(port, cidr) for port in ports]
    if name == INTERNAL:
        rules += _peer_rules(overcloud, instance, addresses)
    return [*rules, {"protocol": "icmp", "remote_ip_prefix": cidr}]


def _peer_rules(overcloud: Overcloud, instance: Instance, addresses: Addresses) -> list[Tree]:
    """What the other instances of a service may reach: Neutron lets none take another's address."""
    return [
        _rule(port, f"{addresses[other.name][INTERNAL]}/32")
        for service in instance.services
        for port in services.get(service).peer_ports
        for other in overcloud.instances
        if service in other.services and other.name != instance.name
    ]


def _public_ports(overcloud: Overcloud, instance: Instance) -> list[int]:
    """The ports that an instance has for the cloud's users: where there is a front, only its."""
    behind = overcloud.instances if services.FRONT in instance.services else [instance]
    if overcloud.instance_of(services.FRONT) and services.FRONT not in instance.services:
        behind = []
    runs = [services.get(service) for one in behind for service in one.services]
    return [port for service in runs for port in service.public_ports.values()]


def _rule(port: services.Port, cidr: str | None = None) -> Tree:
    first, last = (port, port) if isinstance(port, int) else (port[0], port[-1])
    rule: Tree = {"protocol": "tcp", "port_range_min": first, "port_range_max": last}
    return rule | ({"remote_ip_prefix": cidr} if cidr else {})
