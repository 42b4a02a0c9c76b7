"""The further nodes of an undercloud: what they are called, where they are, and their shares.

Pure. They are on the undercloud's own machine for now: what a node gets, the undercloud gives.
"""

import collections.abc
import dataclasses
import ipaddress
import re

from altostratus import errors, hypervisors
from altostratus.hypervisors import FLOOR, Need, Needs
from altostratus.model import UNDERCLOUD, ControlNetwork, Hypervisor, Node, Share, Undercloud

_NAME = re.compile(r"[a-z](-?[a-z0-9])*")
_LONGEST = 40
# Other hosts, and the zones that Nova has by itself.
_TAKEN = (UNDERCLOUD, "testbed", "nova", "internal")


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """What an operator wants of a node; None where nothing is said.

    ``parts`` are of single hypervisors, 0 where nothing is said; the others are of all together.
    """

    hypervisors: tuple[Hypervisor, ...] | None = None
    memory_mib: int | None = None
    disk_gib: int | None = None
    parts: Needs = dataclasses.field(default_factory=dict)


def refuse_name(name: str) -> None:
    """Raise :class:`errors.Error` where a node cannot be called so."""
    hint = "take a host name: small letters, digits and hyphens, such as 'second'"
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        raise errors.Error(f"a node cannot be called {name!r}", hint=hint)
    if name in _TAKEN:
        raise errors.Error(f"a node cannot be called {name!r}: something else is", hint=hint)


def find(there: Undercloud, name: str) -> Node | None:
    """The node of this name, if there is one."""
    return next((one for one in there.nodes if one.name == name), None)


def known(there: Undercloud, name: str) -> Node:
    """The node of this name. Raises :class:`errors.Error` if there is none."""
    found = find(there, name)
    if found is None:
        names = tuple(one.name for one in there.nodes)
        if not names:
            raise errors.Error(
                "the undercloud has no further nodes",
                hint=f"./altostratus undercloud add-node {name}",
            )
        raise errors.Error(*errors.unknown("node", name, names))
    return found


def hosts(node: Node) -> tuple[str, ...]:
    """The compute hosts of a node."""
    return tuple(hypervisors.compute_host(node.name, one.hypervisor) for one in node.shares)


def refuse_changes(node: Node, asked: Asked) -> None:
    """Raise :class:`errors.Error` where something else is asked for than a node that is there has."""
    has = tuple(one.hypervisor for one in node.shares)
    size = _size(node)
    compared: list[tuple[str, int | str, int | str]] = [
        ("hypervisors", _listed(has), _listed(asked.hypervisors or has)),
        ("MiB of memory", size.memory_mib, asked.memory_mib or size.memory_mib),
        ("GiB of disk", size.disk_gib, asked.disk_gib or size.disk_gib),
    ]
    for one in node.shares:
        part = asked.parts.get(one.hypervisor, Need())
        compared += [
            (f"MiB for {one.hypervisor}", one.memory_mib, part.memory_mib or one.memory_mib),
            (f"GiB for {one.hypervisor}", one.disk_gib, part.disk_gib or one.disk_gib),
        ]
    differs = [f"{what} {was}, not {wanted}" for what, was, wanted in compared if was != wanted]
    if differs:
        raise errors.Error(
            f"the node {node.name} is there with {', and '.join(differs)}",
            hint=f"./altostratus undercloud remove-node {node.name}, and add it again",
        )


def with_all(
    there: Undercloud,
    asked: collections.abc.Mapping[str, Asked],
    kept: Needs,
    vcpus: int,
) -> Undercloud:
    """An undercloud with all nodes that are asked for; others that it has stay.

    Raises :class:`errors.Error` where it has one otherwise, or too little for one that it has not.
    """
    for name, one in asked.items():
        found = find(there, name)
        if found is None:
            there = added(there, name, one, kept, vcpus)
        else:
            refuse_changes(found, one)
    return there


def added(there: Undercloud, name: str, asked: Asked, kept: Needs, vcpus: int) -> Undercloud:
    """An undercloud with one node more; ``kept`` is what its own shares keep at least.

    Raises :class:`errors.Error` where it has too little to give.
    """
    chosen = asked.hypervisors or hypervisors.default()
    node = Node(name, _address(there), _shares(name, chosen, asked, vcpus))
    left = _take(there.shares, kept, _size(node))
    return dataclasses.replace(there, shares=left, nodes=(*there.nodes, node))


def removed(there: Undercloud, name: str) -> Undercloud:
    """An undercloud without a node: it has again what it gave."""
    node = known(there, name)
    rest = tuple(one for one in there.nodes if one != node)
    shares = _give(there.shares, _size(node))
    return dataclasses.replace(there, shares=shares, nodes=rest)


def _size(node: Node) -> Need:
    return Need(
        sum(one.memory_mib for one in node.shares), sum(one.disk_gib for one in node.shares)
    )


def _shares(
    name: str, chosen: tuple[Hypervisor, ...], asked: Asked, vcpus: int
) -> tuple[Share, ...]:
    """What was asked for, of all together in even parts, or as much as is of use."""
    memory = asked.memory_mib or hypervisors.LEAST.memory_mib * len(chosen)
    disk = asked.disk_gib or hypervisors.LEAST.disk_gib * len(chosen)
    even = Need(memory // len(chosen), disk // len(chosen))
    parts = {
        one: Need(said.memory_mib or even.memory_mib, said.disk_gib or even.disk_gib)
        for one in chosen
        for said in [asked.parts.get(one, Need())]
    }
    least = FLOOR
    if even.memory_mib < least.memory_mib or even.disk_gib < least.disk_gib:
        raise errors.Error(
            f"{memory} MiB of memory and {disk} GiB of disk are too little for"
            f" {', '.join(chosen)} on {name}",
            hint=f"give each at least {least.memory_mib} MiB and {least.disk_gib} GiB, with --memory"
            " and --disk, or name fewer hypervisors",
        )
    cpus, ratio = hypervisors.processors(vcpus, len(chosen))
    order = sorted(chosen, key=list(hypervisors.TABLE).index)
    return tuple(
        Share(one, parts[one].memory_mib, parts[one].disk_gib, cpus, ratio) for one in order
    )


def _take(shares: tuple[Share, ...], kept: Needs, wanted: Need) -> tuple[Share, ...]:
    """What is left of shares that give what is wanted: each the same part of what is free of it."""
    least = hypervisors.most(dict.fromkeys((one.hypervisor for one in shares), FLOOR), kept)
    spare = [
        Need(
            max(0, one.memory_mib - least[one.hypervisor].memory_mib),
            max(0, one.disk_gib - least[one.hypervisor].disk_gib),
        )
        for one in shares
    ]
    memory = _parts(wanted.memory_mib, [one.memory_mib for one in spare], "MiB of memory")
    disk = _parts(wanted.disk_gib, [one.disk_gib for one in spare], "GiB of disk")
    return tuple(
        dataclasses.replace(
            share, memory_mib=share.memory_mib - less, disk_gib=share.disk_gib - less_disk
        )
        for share, less, less_disk in zip(shares, memory, disk, strict=True)
    )


def _parts(wanted: int, spare: list[int], unit: str) -> list[int]:
    """How much each gives, so that it is just what is wanted."""
    left, of = wanted, sum(spare)
    if left > of:
        raise errors.Error(
            f"the undercloud has too little for one more node on this machine: {wanted} {unit} are"
            f" wanted of its shares, and {of} are free",
            hint="ask for less, with --memory and --disk or in the undercloud's file, or delete what is"
            " deployed first",
        )
    parts = []
    for has in spare:
        # Rounded up: the last one has what is left.
        part = -(-left * has // of) if of else 0
        parts.append(part)
        left, of = left - part, of - has
    return parts


def _give(shares: tuple[Share, ...], more: Need) -> tuple[Share, ...]:
    """Shares that have more, in even parts."""
    count = len(shares)
    return tuple(
        dataclasses.replace(
            share,
            memory_mib=share.memory_mib + (more.memory_mib + place) // count,
            disk_gib=share.disk_gib + (more.disk_gib + place) // count,
        )
        for place, share in enumerate(shares)
    )


def _listed(names: tuple[Hypervisor, ...]) -> str:
    return " ".join(name for name in hypervisors.TABLE if name in names)


def _address(there: Undercloud) -> ipaddress.IPv4Address:
    """The first that no node has, of those before the instances'."""
    taken = {one.address for one in there.nodes}
    free = (one for one in _addresses(there.control) if one not in taken)
    found = next(free, None)
    if found is None:
        raise errors.Error(
            f"the control network has no address for one more node than {len(taken)}",
            hint="./altostratus undercloud remove-node removes one",
        )
    return found


def _addresses(control: ControlNetwork) -> list[ipaddress.IPv4Address]:
    first, end = int(control.dhcp_address) + 1, int(control.pool_start)
    found = map(ipaddress.IPv4Address, range(first, end))
    return [address for address in found if address != control.address]
