"""How this machine reaches networks that are an overcloud's users': of its front, of its machines.

The undercloud instance gets an address on the VLAN provider network, and this machine a route
through it. Where the undercloud is not on this machine, that is its operator's business.
"""

import collections.abc
import ipaddress

from altostratus import run, services, undercloud
from altostratus.model import EXTERNAL, Network, Overcloud


def wanted(overcloud: Overcloud) -> tuple[Network, ...]:
    """The networks that users reach the overcloud and its machines by, beside the control network."""
    names = {services.bridged_network(instance.services) for instance in overcloud.instances}
    names |= {EXTERNAL for instance in overcloud.instances if EXTERNAL in instance.networks}
    return tuple(network for network in overcloud.networks if network.name in names)


def open_all(overcloud: Overcloud) -> None:
    """Make way to all networks of an overcloud that need it."""
    for network in wanted(overcloud):
        open(network)


def open(network: Network) -> None:
    """Make address and route, or find them made; the gateway is the network's first address."""
    if undercloud.status() is None:
        return
    address = f"{network.cidr[1]}/{network.cidr.prefixlen}"
    undercloud.execute("reach-network", str(network.vlan), address)
    via = undercloud.MANAGEMENT_ADDRESS
    run.run(["ip", "route", "replace", str(network.cidr), "via", via])


def close(vlan: int, cidrs: collections.abc.Iterable[ipaddress.IPv4Network]) -> None:
    """Take address and route away; what is not there is away already."""
    if undercloud.status() is None:
        return
    undercloud.execute("reach-network", str(vlan))
    for cidr in cidrs:
        via = undercloud.MANAGEMENT_ADDRESS
        run.run(["ip", "route", "delete", str(cidr), "via", via], check=False)
