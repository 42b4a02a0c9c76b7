"""Which instances of a node that is down are made anew elsewhere, and what of their state comes along.

Pure: what is observed in, moves, findings and a plan out.
"""

import collections.abc
import dataclasses

from altostratus import changes, check, errors, outages, room, services, spread, stack
from altostratus.changes import Action, Change
from altostratus.model import Instance, Overcloud
from altostratus.observed import Observed, Provider
from altostratus.plan import Kind, Plan, Step
from altostratus.yamlfile import Document

# What needs all of an overcloud.
_WHOLE = (Kind.REGISTER_CATALOG, Kind.AWAIT_SERVICES, Kind.VERIFY)


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """What an operator wants: the node, ``only`` these instances of it if any are named, and those
    that may lose what they keep, ``accepted``. ``at_hand`` are the instances whose state disk can be
    had from the node though it is down, ``brought`` those that have one on another node."""

    node: str
    only: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()
    at_hand: frozenset[str] = frozenset()
    brought: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True, slots=True)
class Move:
    """An instance that comes from a node to a zone; ``has_server`` says that there is one to delete,
    ``has_state`` that its state disk comes along."""

    instance: str
    node: str
    zone: str
    has_server: bool
    has_state: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Resolved:
    """The overcloud with the zones that its instances come to, the moves, what will be there when
    their servers are deleted, and the instances that are ``left`` on nodes that are down."""

    overcloud: Overcloud
    moves: tuple[Move, ...]
    observed: Observed
    left: tuple[str, ...]


def resolve(overcloud: Overcloud, observed: Observed, asked: Asked, document: Document) -> Resolved:
    """What moves where.

    Raises :class:`errors.Error` if the node is not down, or others are asked for than are on it, and
    :class:`errors.FindingsError` with everything that speaks against the moves.
    """
    _refuse_unless_down(observed, asked.node)
    moving = _moving(overcloud, observed, asked)
    placed = spread.place(overcloud, observed, moving)
    with_state = _with_state(observed, asked, moving)
    moves = tuple(
        Move(name, asked.node, zone, observed.server_of(name) is not None, name in with_state)
        for name in moving
        if (zone := placed.instance(name).zone) and zone != asked.node
    )
    seen = _without_servers(observed, moves)
    left = spread.left(placed, observed, moving)
    findings = (
        *_check([placed.instance(name) for name in moving], asked, with_state, left, document),
        *_without_image(observed, moving, document),
        *check.check(placed, seen, document),
        *check.check_release(placed, seen, document),
    )
    if findings:
        raise errors.FindingsError(findings)
    return Resolved(placed, moves, seen, tuple(outages.stuck(seen)))


def _refuse_unless_down(observed: Observed, node: str) -> None:
    of_node = outages.processes(observed).get(node)
    if of_node is None:
        raise errors.Error(*errors.unknown("node", node, outages.processes(observed)))
    if node not in [one.node for one in outages.find(observed)]:
        up = [one.name for one in of_node if one.silent_since is None]
        raise errors.Error(
            f"the node {node} is not down: Nova hears of {', '.join(up)}",
            hint="it notices within a minute or so when a node dies: ./altostratus undercloud status",
        )
    for server in outages.servers_on(observed, node):
        if server.is_alive:
            raise errors.Error(
                f"{server.instance} answers: its node {node} runs, and only its compute processes are"
                " silent",
                hint=f"./altostratus undercloud shell --node {node} systemctl restart"
                " 'nova-compute@*'",
            )


def _moving(overcloud: Overcloud, observed: Observed, asked: Asked) -> tuple[str, ...]:
    """The instances that are to move: those on the node, and those that were cut off on the way."""
    here = {one.instance for one in outages.servers_on(observed, asked.node)}
    found = [
        one.name
        for one in overcloud.instances
        if one.name in here or _was_cut_off(observed, asked, one.name)
    ]
    for name in (*asked.only, *asked.accepted):
        if name not in found:
            said = ", ".join(found) or f"none of {overcloud.name}"
            raise errors.Error(f"{name!r} is not on the node {asked.node}", hint=f"on it: {said}")
    return tuple(name for name in found if not asked.only or name in asked.only)


def _was_cut_off(observed: Observed, asked: Asked, name: str) -> bool:
    """Whether the server of an instance of the node was deleted, and no other one was made."""
    deployed = observed.deployed(name)
    if deployed is None or observed.server_of(name) is not None:
        return False
    return deployed.zone == asked.node or name in asked.at_hand | asked.brought


def _with_state(observed: Observed, asked: Asked, moving: tuple[str, ...]) -> frozenset[str]:
    """Those whose state disk comes along: one whose server is gone may have had it brought."""
    cut_off = {name for name in moving if observed.server_of(name) is None}
    return asked.at_hand | (asked.brought & cut_off)


def _check(
    moving: list[Instance],
    asked: Asked,
    with_state: frozenset[str],
    left: tuple[Provider, ...],
    document: Document,
) -> collections.abc.Iterator[errors.Finding]:
    """What speaks against the moves, with what compute processes have left."""
    for one in moving:
        found = list(_without_zone(one, asked, left))
        if one.name not in with_state and one.name not in asked.accepted:
            found += _without_state(one, asked)
        for key, message, hint in found:
            yield document.finding(("instances", one.group or one.name, *key), message, hint)


_Words = collections.abc.Iterator[tuple[tuple[str, ...], str, str]]


def _without_zone(one: Instance, asked: Asked, left: tuple[Provider, ...]) -> _Words:
    if one.zone == asked.node:
        message = f"{one.name!r} is to be in the zone {one.zone!r}, whose node is down"
        yield ("zone",), message, "name another zone, or leave it out: then one with room is taken"
    elif one.zone is None:
        message = f"no other node takes {one.name!r}: {_why_none(one, asked, left)}"
        yield (), message, f"./altostratus overcloud why {one.name} FILE shows what there is"


def _why_none(one: Instance, asked: Asked, left: tuple[Provider, ...]) -> str:
    others = [found for found in left if found.zone != asked.node]
    if one.hypervisor not in {found.hypervisor for found in others}:
        return f"none has {one.hypervisor}"
    lines, _ = room.why_no_host(one, others)
    return "; ".join(lines)


def _without_state(one: Instance, asked: Asked) -> _Words:
    kept = [services.get(name).keeps for name in one.services if services.get(name).keeps]
    if kept:
        message = (
            f"the state of {one.name!r} is on the node {asked.node} alone ({', '.join(kept)}): no copy"
            " of it is at hand, and elsewhere the instance would start without it"
        )
        hint = (
            "bring the node back: ./altostratus undercloud up; or give the state up:"
            f" --accept-loss {one.name}"
        )
        yield (), message, hint


def _without_image(
    observed: Observed, moving: tuple[str, ...], document: Document
) -> collections.abc.Iterator[errors.Finding]:
    for name in moving:
        deployed = observed.deployed(name)
        if deployed and deployed.image not in observed.images:
            yield document.finding(
                ("instances", name),
                f"the undercloud has no longer the image of {name!r}: {deployed.image[:12]}",
                "bring the node back: ./altostratus undercloud up",
            )


def _without_servers(observed: Observed, moves: tuple[Move, ...]) -> Observed:
    """What will be there when the servers are deleted: what a plan is to be made from."""
    if observed.stack is None:
        return observed
    zones = {one.instance: one.zone for one in moves}
    deployed = {
        name: dataclasses.replace(one, zone=zones.get(name, one.zone))
        for name, one in observed.stack.instances.items()
    }
    return dataclasses.replace(
        observed,
        stack=dataclasses.replace(observed.stack, instances=deployed),
        servers=tuple(one for one in observed.servers if one.instance not in zones),
    )


def plan(made: Plan, resolved: Resolved, node: str) -> Plan:
    """The plan that was made from what will be there, with the steps that make it so.

    What needs the whole overcloud is left out while others are on nodes that are down.
    """
    moves = resolved.moves
    if not moves:
        nothing = f"no instance of {made.overcloud.name} is on the node {node}"
        return dataclasses.replace(made, steps=(), changes=(), nothing_to_do=nothing)
    names = {one.instance for one in moves}
    others = [
        step
        for step in (*made.steps[:-1], *_awaited(made), *made.steps[-1:])
        if not (step.kind is Kind.FORGET_SERVER and step.instance in names)
        and not (resolved.left and step.kind in _WHOLE)
    ]
    at = next(place for place, step in enumerate(others) if step.kind is Kind.UPDATE_STACK)
    own = sorted(
        (step for move in moves for step in _steps(made.overcloud.name, move)),
        key=lambda step: list(Kind).index(step.kind),
    )
    kept = (change for change in made.changes if change.instance not in names)
    found = (*map(_change, moves), *kept)
    update = dataclasses.replace(others[at], reason=f"changed: {changes.in_words(found)}")
    return dataclasses.replace(
        made, steps=(*others[:at], *own, update, *others[at + 1 :]), changes=found
    )


def _awaited(made: Plan) -> collections.abc.Iterator[Step]:
    """What comes before the overcloud is verified: others have lost their connections, too."""
    has_users = made.overcloud.instance_of("keystone") is not None
    if has_users and all(step.kind is not Kind.AWAIT_SERVICES for step in made.steps):
        yield Step(Kind.AWAIT_SERVICES, made.overcloud.name, "until they answer again")


def _steps(overcloud: str, move: Move) -> collections.abc.Iterator[Step]:
    server, name = f"{overcloud}-{move.instance}", move.instance
    disk = stack.state_disk(overcloud, name)
    if move.has_server and not move.has_state:
        reason = f"it is not at hand, and goes when {move.node} comes back"
        yield Step(Kind.RELEASE_STATE, disk, reason, name)
    if move.has_server:
        yield Step(Kind.DELETE_SERVER, server, f"its node {move.node} is down", name)
    yield Step(Kind.FORGET_SERVER, server, f"Heat makes another in the zone {move.zone}", name)
    if move.has_state:
        reason = f"from the node {move.node} to {move.zone}"
        yield Step(Kind.BRING_STATE, disk, reason, name, node=move.node)


def _change(move: Move) -> Change:
    state = "with its state" if move.has_state else "with a new state disk"
    return Change(
        move.instance,
        Action.EVACUATE,
        f"is on {move.node}, which is down",
        f"it is down now; then in the zone {move.zone}, {state}, its ports and addresses",
    )
