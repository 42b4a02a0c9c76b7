"""Models an overcloud's networks in the undercloud: VLAN provider networks without a router."""

from typing import Any

import openstack

from altostratus import stack, survey
from altostratus.model import Network, Overcloud

_PHYSICAL_NETWORK = "control"


def create(
    undercloud: openstack.connection.Connection, overcloud: Overcloud, wanted: Network
) -> None:
    """Make the network and its subnet, whichever is missing."""
    name = stack.network(overcloud.name, wanted.name)
    network = undercloud.network.find_network(name) or undercloud.network.create_network(
        name=name,
        description=survey.network_owner(overcloud.name),
        provider_network_type="vlan",
        provider_physical_network=_PHYSICAL_NETWORK,
        provider_segmentation_id=wanted.vlan,
    )
    if not list(undercloud.network.subnets(network_id=network.id)):
        undercloud.network.create_subnet(
            name=name,
            description=survey.network_owner(overcloud.name),
            network_id=network.id,
            ip_version=4,
            cidr=str(wanted.cidr),
            gateway_ip=None,
            is_dhcp_enabled=False,
        )


def delete(undercloud: openstack.connection.Connection, overcloud: str) -> list[str]:
    """Remove all networks of an overcloud; returns their names."""
    removed: list[str] = []
    for network in undercloud.network.networks():
        if network.description == survey.network_owner(overcloud):
            _delete(undercloud, network)
            removed.append(network.name)
    return removed


def _delete(undercloud: openstack.connection.Connection, network: Any) -> None:
    for port in undercloud.network.ports(network_id=network.id):
        undercloud.network.delete_port(port, ignore_missing=True)
    undercloud.network.delete_network(network, ignore_missing=True)
