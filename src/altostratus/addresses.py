"""Which address each instance has on each network: chosen once, kept from then on."""

import ipaddress
import itertools

from altostratus import errors
from altostratus.model import CONTROL, Overcloud
from altostratus.observed import Observed

_FIRST_HOST = 10

Assigned = dict[str, dict[str, str]]


def assign(overcloud: Overcloud, observed: Observed) -> Assigned:
    """The addresses of all instances: those deployed keep theirs, others get the first free.

    Raises :class:`errors.Error` if the control network's pool is used up.
    """
    assigned: Assigned = {instance.name: {} for instance in overcloud.instances}
    for network in (CONTROL, *(network.name for network in overcloud.networks)):
        members = [found for found in overcloud.instances if network in found.networks]
        kept = {
            found.name: deployed.addresses[network]
            for found in members
            if (deployed := observed.deployed(found.name)) and network in deployed.addresses
        }
        free = _free(overcloud, observed, network, set(kept.values()))
        for instance in members:
            address = kept.get(instance.name) or next(free, None)
            if address is None:
                raise errors.Error(f"the network {network!r} has no free address left")
            assigned[instance.name][network] = address
    return assigned


def _free(
    overcloud: Overcloud, observed: Observed, network: str, kept: set[str]
) -> "itertools.filterfalse[str]":
    if network == CONTROL:
        first, last = int(observed.control.pool_start), int(observed.control.pool_end)
        taken = kept | observed.control.used
    else:
        cidr = overcloud.network(network).cidr
        first, last = int(cidr[_FIRST_HOST]), int(cidr.broadcast_address) - 1
        taken = kept
    addresses = (str(ipaddress.IPv4Address(number)) for number in range(first, last + 1))
    return itertools.filterfalse(taken.__contains__, addresses)
