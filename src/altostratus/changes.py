"""What a plan does to each instance, and for how long the instance is down for it.

Pure, like the plan. What Heat does is in the templates in ``heat/``: another image is a rebuild in
place; a server that never ran is replaced; all others are kept from being replaced.
"""

import collections.abc
import dataclasses
import enum
from typing import Any

from altostratus import hypervisors, outages, stack
from altostratus.model import Hypervisor, Overcloud
from altostratus.observed import Deployed, Observed, Server


class Action(enum.StrEnum):
    """What happens to an instance."""

    CREATE = "create"
    RECREATE = "recreate"
    EVACUATE = "evacuate"
    REPLACE = "replace"
    REBUILD = "rebuild"
    CONFIGURE = "configure"
    GROW = "grow"
    START = "start"
    RESTART = "restart"
    REMOVE = "remove"


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """What happens to an instance, why, and what its users see of it; ``down_s`` is how long it is
    expected to be down for, in seconds, where that was measured."""

    instance: str
    action: Action
    reason: str
    effect: str
    down_s: int | None = None


_Changes = collections.abc.Iterator[Change]

_DIFFERENCES = {
    "image": "the image (the server is rebuilt)",
    "state_gib": "the state disk's size",
    "digest": "the configuration",
}
_NOTHING = "nothing is down"
_IS_DOWN = "it is down now"
_KEEPS = "its state disk, ports and addresses are kept"
_RESTARTS = "services restart where needed; certificates are reloaded"


def of_servers(
    overcloud: Overcloud, observed: Observed, differences: collections.abc.Iterable[Change]
) -> _Changes:
    """How servers are brought back that were stopped or killed from outside, or half rebuilt.

    ``differences`` are what Heat changes after that.
    """
    # Of these, Nova could only note what it is asked.
    stuck = outages.stuck(observed)
    rebuilt = {one.instance for one in differences if one.action is Action.REBUILD}
    for instance in overcloud.instances:
        server = observed.server_of(instance.name)
        if server is None or instance.name in stuck:
            continue
        if server.status == "SHUTOFF":
            reason = "it is SHUTOFF, stopped or killed from outside"
            yield Change(instance.name, Action.START, reason, _IS_DOWN)
        elif server.is_broken:
            # By Nova, before Heat is asked: Heat would replace it.
            reason = "it is ERROR: its rebuild failed, or was cut off"
            yield _rebuild(instance.name, reason, instance.hypervisor)
        elif _has_another_image(server, observed):
            # Heat has noted the right one: to it nothing differs.
            reason = "it has another image than it was deployed with"
            yield _rebuild(instance.name, reason, instance.hypervisor)
        elif not server.is_alive and observed.stack and observed.stack.is_complete:
            # In a stack that failed it may never have been well: Heat replaces it then.
            reason = f"it is {server.status} and does not answer"
            yield Change(instance.name, Action.RESTART, reason, _IS_DOWN)
        elif server.drift and instance.name not in rebuilt:
            # The software of a root that goes would take a database that was put back for the root
            # that comes, and migrate it.
            yield Change(instance.name, Action.CONFIGURE, "; ".join(server.drift), _RESTARTS)


def is_configuration(observed: Observed, wanted: stack.Request) -> bool:
    """Whether Heat configures some instance with something else than it was configured with."""
    if observed.stack is None or not observed.stack.is_complete:
        return True
    described = wanted.template["outputs"][stack.OUTPUT]["value"]["instances"]
    before = {name: one.digest for name, one in observed.stack.instances.items()}
    return any(before.get(name) != one["digest"] for name, one in described.items())


def of_stack(observed: Observed, wanted: stack.Request) -> _Changes:
    """What differs between what Heat was told last and what is wanted, and what Heat does then."""
    described = wanted.template["outputs"][stack.OUTPUT]["value"]["instances"]
    before = observed.stack.instances if observed.stack else {}
    for name in sorted(described.keys() | before.keys()):
        server = observed.server_of(name)
        if name not in described:
            effect = "it is gone; its state disk stays on the node"
            yield Change(name, Action.REMOVE, "is no longer wanted", effect)
        elif name not in before:
            zone = described[name].get("zone")
            where = f", in the zone {zone}" if zone else ""
            yield Change(name, Action.CREATE, f"is new{where}", _NOTHING)
        elif server is None and observed.stack and not observed.stack.is_complete:
            yield Change(name, Action.CREATE, "has no server", "it was never up")
        elif server is None and observed.stack:
            yield Change(name, Action.RECREATE, "has lost its server", f"{_IS_DOWN}; {_KEEPS}")
        elif server and is_replaced(server):
            yield Change(name, Action.REPLACE, "is ERROR and never ran", "it was never up")
        else:
            yield from _differences(name, before[name], described[name])


def _has_another_image(server: Server, observed: Observed) -> bool:
    deployed = observed.deployed(server.instance)
    is_settled = observed.stack is not None and observed.stack.is_complete
    return bool(is_settled and deployed and server.image and server.image != deployed.image)


def is_replaced(server: Server) -> bool:
    """Whether Heat may make another server in its place: it never ran, so it holds no state."""
    return server.status == "ERROR" and not server.has_run


def downtime(hypervisor: Hypervisor) -> str:
    """For how long an instance is expected to be down while it is rebuilt in place, in words."""
    down_s = hypervisors.entry(hypervisor).rebuild_s
    if down_s is None:
        return f"down while it starts anew, for how long was not measured on {hypervisor}"
    return f"down for about {down_s} s on {hypervisor}"


def in_words(found: collections.abc.Iterable[Change]) -> str:
    """The changes of a stack in one line."""
    whole = (Action.CREATE, Action.RECREATE, Action.EVACUATE, Action.REPLACE, Action.REMOVE)
    return "; ".join(
        f"{one.instance} {one.reason}" if one.action in whole else f"{one.reason} of {one.instance}"
        for one in found
    )


def _differences(name: str, before: Deployed, after: dict[str, Any]) -> _Changes:
    keys = [key for key in _DIFFERENCES if getattr(before, key) != after[key]]
    reason = ", ".join(_DIFFERENCES[key] for key in keys)
    if "image" in keys:
        yield _rebuild(name, reason, before.hypervisor)
    elif "digest" in keys:
        yield Change(name, Action.CONFIGURE, reason, _RESTARTS)
    elif keys:
        effect = f"{_NOTHING}: it grows with the next start, on docker with the next rebuild"
        yield Change(name, Action.GROW, reason, effect)


def _rebuild(name: str, reason: str, hypervisor: Hypervisor) -> Change:
    down_s = hypervisors.entry(hypervisor).rebuild_s
    return Change(name, Action.REBUILD, reason, downtime(hypervisor), down_s)
