"""Bare-metal machines made ready for instances: known, cleaned, and offered by Nova.

Each step begins with what the node is at, so that one that failed is gone on with by asking again.
"""

import collections.abc
import concurrent.futures
from typing import Any

import openstack

from altostratus import baremetal, cloud, errors, hypervisors, log, metalnode, placement

Connection = openstack.connection.Connection

_MANAGE_S = 180
_CLEAN_S = 2400
_POWER_S = 120
# Nova looks at Ironic's nodes once a minute.
_OFFERED_S = 300
_AT_ONCE = 8
_CLEAN_FAILED = "clean failed"
_UNMANAGED = ("enroll", _CLEAN_FAILED, "inspect failed")
# What Ironic calls its own reason for maintenance, which is over when the node is managed again.
_CLEAN_FAILURE = "clean failure"
_AGAIN = "./altostratus node provide "
_BY_HAND = "openstack --os-cloud undercloud baremetal node maintenance unset {}"


def provide(
    metal: Connection, undercloud: Connection, names: collections.abc.Sequence[str]
) -> list[errors.Error]:
    """Make these machines ready, several at the same time; what kept some from it, by their order.

    ``metal`` sees all nodes, ``undercloud`` is the project's: Placement's. Names that are none
    are told before anything is done.
    """
    for name in names:
        metalnode.find(metal.baremetal, name)

    def one(name: str) -> errors.Error | None:
        try:
            _provide(metal, undercloud, name)
        except errors.Error as exc:
            return exc
        return None

    with concurrent.futures.ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        return [found for found in pool.map(one, dict.fromkeys(names)) if found is not None]


def _provide(connection: Connection, undercloud: Connection, name: str) -> None:
    metal = connection.baremetal
    node = metalnode.find(metal, name)
    _refuse(node)
    if node.provision_state != "available":
        node = _manage(metal, node)
        node = _know(connection, node)
        node = _describe(metal, node)
        node = _clean(metal, node)
    _await_offer(undercloud, node)


def _refuse(node: Any) -> None:
    """What only the operator can decide."""
    if node.instance_id:
        raise metalnode.failure(
            node,
            "it cannot be made ready",
            f"the instance {node.instance_id} is on it",
            f"openstack --os-cloud undercloud server show {node.instance_id}",
        )
    if node.is_maintenance and node.fault != _CLEAN_FAILURE:
        said = node.maintenance_reason or "no reason is given"
        hint = _BY_HAND.format(node.name)
        raise metalnode.failure(node, "it is in maintenance", said, hint)


def _manage(metal: Any, node: Any) -> Any:
    if node.is_maintenance:
        metal.unset_node_maintenance(node)
    if node.provision_state == _CLEAN_FAILED:
        # The agent of the time before still runs, and Ironic takes nothing from it any more.
        metal.set_node_power_state(node, "power off", wait=True, timeout=_POWER_S)
    if node.provision_state in _UNMANAGED:
        with log.step(f"reach the BMC of {node.name}") as step:
            node = metalnode.change(metal, node, "manage", _MANAGE_S, step)
    if node.provision_state != "manageable":
        said = node.last_error or f"it is {node.provision_state}"
        raise metalnode.failure(node, "it cannot be managed", said)
    return node


def _know(connection: Connection, node: Any) -> Any:
    """Memory and disk, by which instances are given to nodes: from the BMC, else from itself."""
    metal = connection.baremetal
    for by_agent in (False, True):
        if not _unknown(node):
            return node
        baremetal.inspect(connection, node.name, by_agent=by_agent)
        node = metal.get_node(node.id)
    unknown = _unknown(node)
    if unknown:
        raise metalnode.failure(
            node,
            "the inspection did not find all",
            f"its {' and '.join(unknown)} is unknown",
            f"openstack --os-cloud undercloud baremetal node set --property"
            f" {unknown[0]}=NUMBER {node.name}",
        )
    return node


def _unknown(node: Any) -> list[str]:
    known = node.properties or {}
    return [key for key in ("memory_mb", "local_gb") if not known.get(key)]


def _describe(metal: Any, node: Any) -> Any:
    """What Nova and its scheduler go by: resource class, trait, and the size as capabilities."""
    trait = hypervisors.entry(hypervisors.BAREMETAL).trait
    if trait not in (node.traits or ()):
        metal.add_node_trait(node, trait)
    capabilities = with_size(node.properties)
    changes: dict[str, Any] = {}
    if capabilities != node.properties.get("capabilities"):
        changes["properties"] = {**node.properties, "capabilities": capabilities}
    if node.resource_class != hypervisors.RESOURCE_CLASS:
        changes["resource_class"] = hypervisors.RESOURCE_CLASS
    return metal.update_node(node, **changes) if changes else node


def with_size(properties: collections.abc.Mapping[str, Any]) -> str:
    """A node's capabilities, as Ironic writes them, with its size among them.

    Nova's scheduler sees no memory and no disk of a node, but its capabilities.
    """
    pairs = str(properties.get("capabilities") or "").split(",")
    known = dict(pair.split(":", 1) for pair in pairs if ":" in pair)
    size = hypervisors.node_capabilities(int(properties["memory_mb"]), int(properties["local_gb"]))
    return ",".join(f"{key}:{value}" for key, value in (known | size).items())


def _clean(metal: Any, node: Any) -> Any:
    """Have what earlier instances left removed, for which the machine boots."""
    with log.step(f"clean {node.name}") as step:
        node = metalnode.change(metal, node, "provide", _CLEAN_S, step)
    if node.provision_state != "available":
        said = node.last_error or "no reason is given"
        hint = (
            f"./altostratus undercloud shell journalctl -u ironic, and again: {_AGAIN}{node.name}"
        )
        raise metalnode.failure(node, "the cleaning failed", said, hint)
    return node


def _await_offer(undercloud: Connection, node: Any) -> None:
    resource = hypervisors.resource(hypervisors.BAREMETAL)

    def look() -> tuple[bool | None, str]:
        free = placement.free(undercloud, node.id, resource)
        if free is None:
            return None, f"Placement does not know it with {resource}"
        return (True if free else None), "Nova keeps it back"

    what = f"node {node.name} (BMC {metalnode.bmc(node)}): that Nova offers it"
    hint = "./altostratus undercloud shell journalctl -u nova-compute@ironic -n 50"
    with log.step(f"offer {node.name}") as step:
        cloud.wait(what, look, _OFFERED_S, hint=hint, step=step)
