"""Nodes that are down, as far as the undercloud knows: none of their compute processes is heard of.

Pure. The undercloud's own node is no such: where it is down, nobody answers.
"""

import dataclasses

from altostratus import hypervisors
from altostratus.model import UNDERCLOUD
from altostratus.observed import Observed, Provider, Server


@dataclasses.dataclass(frozen=True, slots=True)
class Outage:
    """A node that is down: when it was last heard of, and the instances on it that do not answer."""

    node: str
    since: str
    instances: tuple[str, ...] = ()


def processes(observed: Observed) -> dict[str, list[Provider]]:
    """The compute processes of each node."""
    found: dict[str, list[Provider]] = {}
    for one in observed.providers:
        if hypervisors.entry(one.hypervisor).has_share:
            found.setdefault(hypervisors.node_of(one.name, one.hypervisor), []).append(one)
    return found


def find(observed: Observed) -> tuple[Outage, ...]:
    """The nodes that are down."""
    return tuple(
        Outage(
            node,
            max(one.silent_since or "" for one in of_node),
            tuple(one.instance for one in servers_on(observed, node) if not one.is_alive),
        )
        for node, of_node in processes(observed).items()
        if node != UNDERCLOUD and all(one.silent_since for one in of_node)
    )


def servers_on(observed: Observed, node: str) -> tuple[Server, ...]:
    """The servers on a node."""
    hosts = {one.name for one in processes(observed).get(node, ())}
    return tuple(one for one in observed.servers if one.host in hosts)


def stuck(observed: Observed) -> dict[str, Outage]:
    """The outage that each instance is stuck in that does not answer for it."""
    return {name: one for one in find(observed) for name in one.instances}


def to_text(outage: Outage) -> str:
    """What is wrong, and what to do."""
    text = f"the node {outage.node} is down, last heard of at {outage.since}"
    if not outage.instances:
        return f"{text}; no instance is on it"
    return f"{text}; on it: {', '.join(outage.instances)}; {mend(outage.node)}"


def mend(node: str) -> str:
    """The two ways out of an outage with instances."""
    return (
        "bring it back: ./altostratus undercloud up; or have them elsewhere:"
        f" ./altostratus overcloud evacuate {node} FILE"
    )
