"""How this machine reaches the networks that an overcloud's machines have floating addresses on.

The undercloud instance gets an address on the VLAN provider network, and this machine a route
through it. Where the undercloud is not on this machine, that is its operator's business.
"""

import collections.abc
import ipaddress

from altostratus import run, services, undercloud
from altostratus.model import Network, Overcloud


def wanted(overcloud: Overcloud) -> tuple[Network, ...]:
    """The networks that an instance of the overcloud bridges."""
    bridged = {services.bridged_network(instance.services) for instance in overcloud.instances}
    return tuple(network for network in overcloud.networks if network.name in bridged)


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
