"""What speaks against deploying an overcloud here: all of it at once, before anything starts."""

import collections.abc

from altostratus import errors, hypervisors, outages, releases, room, services, stack
from altostratus.changes import Action, Change
from altostratus.model import MACHINE_BRIDGE, Hypervisor, Instance, Network, Overcloud, Share
from altostratus.observed import Deployed, MachineNetwork, NeutronNetwork, Observed, Provider
from altostratus.yamlfile import Document, Location

_Findings = collections.abc.Iterator[errors.Finding]


def check(
    overcloud: Overcloud, observed: Observed, document: Document
) -> tuple[errors.Finding, ...]:
    """The findings; ``document`` tells where in the file each belongs."""
    return (
        *check_machine(overcloud, observed.machine_networks, document),
        *_undercloud_collisions(overcloud, observed, document),
        *_changed_instances(overcloud, observed, document),
        *_capacity(overcloud, observed, document),
        *_zones(overcloud, observed, document),
    )


def check_release(
    overcloud: Overcloud, observed: Observed, document: Document
) -> tuple[errors.Finding, ...]:
    """What speaks against deploying a release where another one is deployed."""
    wanted = overcloud.release
    there = observed.stack.instances if observed.stack else {}
    others = {
        name: one.release
        for name, one in there.items()
        if one.release != wanted and not all(services.get(it).is_debians for it in one.services)
    }
    if not others:
        return ()
    is_later = all(releases.is_later(wanted, release) for release in others.values())
    way = "upgrade" if is_later else "rollback"
    said = ", ".join(f"{name} has {release}" for name, release in others.items())
    message = f"{wanted} is not brought by deploying: {said}"
    return (document.finding(("release",), message, f"./altostratus overcloud {way} FILE"),)


def check_nodes(
    overcloud: Overcloud, observed: Observed, document: Document
) -> tuple[errors.Finding, ...]:
    """What speaks against deploying while nodes are down that instances are on."""
    stuck = outages.stuck(observed)
    return tuple(
        document.finding(
            ("instances", one.group or one.name),
            f"{one.name!r} is on the node {stuck[one.name].node}, which is down, last heard of at"
            f" {stuck[one.name].since}",
            outages.mend(stuck[one.name].node),
        )
        for one in overcloud.instances
        if one.name in stuck
    )


def check_stopped(
    changes: collections.abc.Iterable[Change], observed: Observed, document: Document
) -> tuple[errors.Finding, ...]:
    """What speaks against changes in the machines that would stop with their compute node."""
    return tuple(
        document.finding(
            ("instances", change.instance),
            f"{change.instance!r} would be rebuilt, and machines that run there would stop:"
            f" {', '.join(observed.carries(change.instance))}",
            "stop them, or have them moved where there is room: ./altostratus overcloud upgrade FILE",
        )
        for change in changes
        if change.action is Action.REBUILD and observed.carries(change.instance)
    )


def check_machine(
    overcloud: Overcloud, networks: tuple[MachineNetwork, ...], document: Document
) -> tuple[errors.Finding, ...]:
    """What this machine's own networks have against it."""
    return tuple(
        document.finding(
            ("networks", network.name, "cidr"),
            f"{network.cidr} collides with {there.cidr}, which this machine reaches through"
            f" {there.device}",
            "choose another; 'ip route' shows this machine's networks",
        )
        for network in overcloud.networks
        for there in networks
        # A route to everywhere overlaps everything and means nothing.
        if there.cidr.prefixlen > 0 and network.cidr.overlaps(there.cidr)
        # Its own route to machines, which the deployment itself made.
        if (there.cidr, there.device) != (network.cidr, MACHINE_BRIDGE)
    )


def check_shares(
    overcloud: Overcloud, shares: tuple[Share, ...], document: Document
) -> tuple[errors.Finding, ...]:
    """What speaks against it in the size of the machine that these are the shares of."""
    return tuple(
        document.finding(("instances",), message, hint)
        for message, hint in room.lacks_in_all(overcloud.instances, shares)
    )


def _undercloud_collisions(
    overcloud: Overcloud, observed: Observed, document: Document
) -> _Findings:
    own = {stack.network(overcloud.name, network.name) for network in overcloud.networks}
    for network in overcloud.networks:
        location: Location = ("networks", network.name)
        for there in observed.networks:
            if there.name == stack.network(overcloud.name, network.name):
                if there.owner != overcloud.name:
                    message = f"the undercloud has a network {there.name!r} that is not this one"
                    yield document.finding(location, message, "choose another name")
                elif there.vlan != network.vlan or {*there.cidrs} - {network.cidr}:
                    cidrs = ", ".join(map(str, there.cidrs))
                    yield document.finding(
                        location,
                        f"it is deployed with VLAN {there.vlan} and {cidrs}: a network cannot be"
                        " changed",
                        "add one under another name, or delete the overcloud first",
                    )
            elif there.name not in own:
                yield from _overlaps(network, there, document)


def _overlaps(network: Network, there: NeutronNetwork, document: Document) -> _Findings:
    if there.vlan == network.vlan:
        message = f"VLAN {there.vlan} is taken by the undercloud's network {there.name!r}"
        yield document.finding(("networks", network.name, "vlan"), message, "choose another")
    for cidr in there.cidrs:
        if there.owner is None and cidr.overlaps(network.cidr):
            message = f"{network.cidr} overlaps {cidr} of the undercloud's network {there.name!r}"
            yield document.finding(("networks", network.name, "cidr"), message, "choose another")


def _changed_instances(overcloud: Overcloud, observed: Observed, document: Document) -> _Findings:
    for instance in overcloud.instances:
        deployed = observed.deployed(instance.name)
        if deployed is not None:
            yield from _changed(instance, deployed, document)


def _changed(instance: Instance, deployed: Deployed, document: Document) -> _Findings:
    location: Location = ("instances", instance.name)
    again = "delete the overcloud first, or put back what it was"
    if deployed.hypervisor != instance.hypervisor:
        yield document.finding(
            (*location, "hypervisor"),
            f"{instance.name!r} runs on {deployed.hypervisor}: for {instance.hypervisor} Heat would"
            " replace its server, which would start without its state; moving is not built yet",
            again,
        )
    elif deployed.flavor != stack.flavor(instance):
        yield document.finding(
            location,
            f"{instance.name!r} has the flavor {deployed.flavor} and cannot get"
            f" {stack.flavor(instance)}: resizing is not built yet",
            again,
        )
    if deployed.zone != instance.zone:
        yield document.finding(
            (*location, "zone"),
            f"{instance.name!r} was deployed {_in_zone(deployed.zone)} and cannot be"
            f" {_in_zone(instance.zone)}: Heat would replace its server, which would start without"
            " its state",
            again,
        )
    if set(deployed.addresses) != set(instance.networks):
        networks = ", ".join(deployed.addresses)
        message = f"{instance.name!r} is on {networks}: its networks cannot be changed yet"
        yield document.finding((*location, "networks"), message, again)
    if deployed.state_gib > instance.state_gib:
        yield document.finding(
            (*location, "state"),
            f"the state disk of {instance.name!r} has {deployed.state_gib} GiB and cannot"
            f" shrink to {instance.state_gib}",
            f"leave it at {deployed.state_gib}",
        )


def _in_zone(zone: str | None) -> str:
    return f"in the zone {zone!r}" if zone else "without a zone"


def _zones(overcloud: Overcloud, observed: Observed, document: Document) -> _Findings:
    """Whether there is each zone, and in it room for the instances that are to be there alone."""
    known = sorted({one.zone for one in observed.providers if one.zone})
    wanted: dict[tuple[str, Hypervisor], list[Instance]] = {}
    for instance in overcloud.instances:
        if instance.zone in known:
            wanted.setdefault((instance.zone, instance.hypervisor), []).append(instance)
        elif instance.zone:
            message, hint = errors.unknown("zone", instance.zone, known)
            yield document.finding(("instances", instance.name, "zone"), message, hint)
    for (zone, hypervisor), instances in wanted.items():
        there = [one for one in observed.providers if one.zone == zone]
        location: Location = ("instances", instances[0].name, "zone")
        providers = [one for one in there if one.hypervisor == hypervisor]
        if not providers:
            has = ", ".join(sorted({one.hypervisor for one in there}))
            message = f"the zone {zone!r} has no hypervisor {hypervisor}"
            yield document.finding(location, message, f"it has: {has}")
            continue
        for message, hint in room.lacks(hypervisor, instances, providers):
            yield document.finding(location, f"in the zone {zone!r}: {message}", hint)


def _capacity(overcloud: Overcloud, observed: Observed, document: Document) -> _Findings:
    wanted: dict[Hypervisor, list[Instance]] = {}
    for instance in overcloud.instances:
        wanted.setdefault(instance.hypervisor, []).append(instance)
    for hypervisor, instances in wanted.items():
        providers = [found for found in observed.providers if found.hypervisor == hypervisor]
        if not providers:
            there = ", ".join(sorted({str(found.hypervisor) for found in observed.providers}))
            has = f"it has: {there or 'none'}"
            message, hint = f"the undercloud has no hypervisor {hypervisor}", has
            if not hypervisors.entry(hypervisor).has_share:
                message = f"the undercloud offers no machine for {hypervisor}"
                hint = f"./altostratus node import FILE, then node provide NAME...; {has}"
            yield document.finding(("instances", instances[0].name), message, hint)
            continue
        yield from _idle(hypervisor, instances, providers, observed, document)
        for message, hint in room.lacks(hypervisor, instances, providers):
            yield document.finding(("instances",), message, hint)


def _idle(
    hypervisor: Hypervisor,
    instances: list[Instance],
    providers: list[Provider],
    observed: Observed,
    document: Document,
) -> _Findings:
    """New instances need a compute process that takes them; those that run do without."""
    new = [one.name for one in instances if observed.server_of(one.name) is None]
    if new and all(one.trouble for one in providers):
        troubles = "; ".join(f"{one.name}: {one.trouble}" for one in providers)
        yield document.finding(
            ("instances", new[0]),
            f"the hypervisor {hypervisor} takes no instances ({troubles})",
            room.repair(providers[0]),
        )
