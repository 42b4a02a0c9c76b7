"""Which machines leave a compute node before it changes, and where there is room for them.

Pure. Nova has the last word on where each goes; what is foreseen here is told beforehand, and keeps a
node as it is whose machines have no other place.
"""

import collections.abc
import dataclasses

# What Nova says of a machine that is on its way already.
MIGRATING = "MIGRATING"
# Others it refuses to move.
_MOVABLE = ("ACTIVE", "PAUSED", MIGRATING)
_UNDERWAY = "where Nova finds room"
_ALONE = "there is no other compute node"


@dataclasses.dataclass(frozen=True, slots=True)
class Size:
    """What a machine takes of a compute node, or what a node has left of it."""

    memory_mib: int = 0
    disk_gib: int = 0
    vcpus: int = 0

    def __sub__(self, other: "Size") -> "Size":
        return Size(
            self.memory_mib - other.memory_mib,
            self.disk_gib - other.disk_gib,
            self.vcpus - other.vcpus,
        )

    def __add__(self, other: "Size") -> "Size":
        return self - (Size() - other)

    def __str__(self) -> str:
        return f"{self.memory_mib} MiB, {self.disk_gib} GiB, vcpus: {self.vcpus}"

    def holds(self, other: "Size") -> bool:
        """Whether there is room for that in this."""
        left = self - other
        return min(left.memory_mib, left.disk_gib, left.vcpus) >= 0


@dataclasses.dataclass(frozen=True, slots=True)
class Machine:
    """A machine that runs; ``status`` is Nova's word, ``apart`` are those of its networks that it
    would lose on another node, ``target`` is the node that it is on its way to."""

    id: str
    name: str
    status: str = "ACTIVE"
    size: Size = Size()
    apart: tuple[str, ...] = ()
    target: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Node:
    """A compute node with the machines that run on it, and what is ``free`` of it.

    ``is_up`` says whether its compute process is heard of, ``closed`` why it takes no machines if
    somebody wanted that, ``is_able`` whether its image lets machines move.
    """

    name: str
    free: Size
    machines: tuple[Machine, ...] = ()
    is_up: bool = True
    closed: str | None = None
    is_able: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class Leaving:
    """What becomes of a node's machines before it changes: where they go, or why they cannot."""

    places: tuple[tuple[Machine, str], ...] = ()
    stuck: tuple[tuple[Machine, str], ...] = ()


Nodes = collections.abc.Mapping[str, Node]
# By instance.
Departures = collections.abc.Mapping[str, Leaving]


def find(nodes: Nodes, name: str) -> Leaving:
    """Where the machines of a node can go now, the largest first; Nova prefers the roomiest node."""
    others = [other for other in nodes.values() if other.name != name]
    free = {other.name: other.free for other in others if _trouble(other) is None}
    nowhere = _nowhere(nodes[name], others)
    places: list[tuple[Machine, str]] = []
    stuck: list[tuple[Machine, str]] = []
    for machine in sorted(nodes[name].machines, key=lambda one: (-one.size.memory_mib, one.name)):
        if machine.status == MIGRATING:
            places.append((machine, machine.target or _UNDERWAY))
            continue
        hindrance = nowhere or _hindrance(machine)
        fitting = [other for other in free if free[other].holds(machine.size)]
        if hindrance or not fitting:
            lacking = f"no other compute node has room for {machine.size}"
            stuck.append((machine, hindrance or lacking))
            continue
        target = max(fitting, key=lambda other: free[other].memory_mib)
        free[target] -= machine.size
        places.append((machine, target))
    return Leaving(tuple(places), tuple(stuck))


def foresee(
    nodes: Nodes,
    changing: collections.abc.Iterable[str],
    stopping: collections.abc.Container[str] = (),
) -> dict[str, Leaving]:
    """What becomes of machines while instances change in this order, as far as can be told.

    A node that has changed takes the machines of the next one. Those in ``stopping`` change though
    some of their machines cannot go.
    """
    now: dict[str, Node] = dict(nodes)
    found: dict[str, Leaving] = {}
    for name in changing:
        if name not in now or not now[name].machines:
            continue
        found[name] = find(now, name)
        if not found[name].stuck or name in stopping:
            now = _after(now, name, found[name])
    return found


def unknown(names: collections.abc.Iterable[str]) -> Leaving:
    """What becomes of machines of which no more than their names is known: they stay."""
    return Leaving(
        stuck=tuple((Machine("", name), "Nova says no more of them now") for name in names)
    )


def staying(
    found: Departures, stopping: collections.abc.Container[str] = ()
) -> collections.abc.Set[str]:
    """The instances that do not change because machines on them have no other place."""
    return {name for name, one in found.items() if one.stuck and name not in stopping}


def to_text(name: str, leaving: Leaving, *, may_stop: bool) -> str:
    """What becomes of a node's machines, in lines for people."""
    stuck = ", ".join(machine.name for machine, _ in leaving.stuck)
    if leaving.stuck and not may_stop:
        there = ", ".join(machine.name for machine, _ in (*leaving.stuck, *leaving.places))
        return (
            f"{name} stays as it is: machines run there ({there}), and {_reasons(leaving)}; to have"
            f" them stop while it changes: --stop-machines {name}\n"
        )
    lines = ""
    if leaving.places:
        told = ", ".join(f"{machine.name} to {target}" for machine, target in leaving.places)
        lines = f"{name} changes when its machines have moved away: {told}\n"
    if leaving.stuck:
        lines += f"{name} stops machines while it changes ({stuck}): {_reasons(leaving)}\n"
    return lines


def _reasons(leaving: Leaving) -> str:
    """Why machines cannot go, each reason once; whose it is, where it is not everybody's."""
    whose: dict[str, list[str]] = {}
    for machine, reason in leaving.stuck:
        whose.setdefault(reason, []).append(machine.name)
    if len(whose) == 1 and not leaving.places:
        return next(iter(whose))
    return "; ".join(f"of {', '.join(names)}: {reason}" for reason, names in whose.items())


def _nowhere(node: Node, others: list[Node]) -> str | None:
    """Why no machine can leave a node, whatever it is."""
    if not node.is_up:
        return "its compute process is not heard of"
    if not others:
        return _ALONE
    if not node.is_able:
        return "its image is from before machines could move"
    troubles = {other.name: _trouble(other) for other in others}
    if all(troubles.values()):
        said = "; ".join(f"{name}: {trouble}" for name, trouble in troubles.items())
        return f"no other compute node takes them ({said})"
    return None


def _trouble(node: Node) -> str | None:
    """Why a node takes no machines, or None if it does."""
    if not node.is_up:
        return "its compute process is not heard of"
    if node.closed is not None:
        return f"it is disabled: {node.closed or 'no reason is given'}"
    return None if node.is_able else "its image is from before machines could move"


def _hindrance(machine: Machine) -> str | None:
    if machine.status not in _MOVABLE:
        return f"Nova moves none that is {machine.status}"
    if machine.apart:
        return f"the network {', '.join(machine.apart)} does not reach other compute nodes"
    return None


def _after(nodes: Nodes, name: str, leaving: Leaving) -> dict[str, Node]:
    """The nodes when machines have gone to their places."""
    now = dict(nodes)
    for machine, target in leaving.places:
        left = tuple(one for one in now[name].machines if one != machine)
        free = now[name].free + machine.size
        now[name] = dataclasses.replace(now[name], machines=left, free=free)
        if target in now:
            there = now[target]
            now[target] = dataclasses.replace(
                there, machines=(*there.machines, machine), free=there.free - machine.size
            )
    return now
