"""Bare-metal machines as what instances can be given to: what Placement offers, with what Ironic knows.

Placement and Nova have no memory and no disk of a machine, and call it by its id.
"""

import collections.abc
from typing import Any

from altostratus import cloud, hypervisors, metalnode
from altostratus.observed import Provider
from altostratus.placement import ResourceProvider

_USABLE = ("available", "active")


def read(
    found: collections.abc.Iterable[ResourceProvider],
    processes: collections.abc.Mapping[str, Any],
    own_servers: collections.abc.Collection[str] = (),
) -> dict[str, Provider]:
    """Those of these providers that are machines, by their ids; what servers of ours use is not
    others'.

    ``processes`` are Nova's compute processes by their hosts.
    """
    offered = {one.id for one in found if is_machine(one)}
    if not offered:
        return {}
    nodes = cloud.connect_system("undercloud").baremetal.nodes(details=True)
    return described((node for node in nodes if node.id in offered), processes, own_servers)


def described(
    nodes: collections.abc.Iterable[Any],
    processes: collections.abc.Mapping[str, Any],
    own_servers: collections.abc.Collection[str] = (),
) -> dict[str, Provider]:
    """Ironic's nodes in the order of their names, by their ids."""
    suffix = f"-{hypervisors.process(hypervisors.BAREMETAL)}"
    down = all(one.state != "up" for host, one in processes.items() if host.endswith(suffix))
    return {
        node.id: _provider(node, own_servers, process_is_down=down)
        for node in sorted(nodes, key=lambda node: node.name or node.id)
    }


def is_machine(found: ResourceProvider) -> bool:
    """Whether a resource provider is a machine of Ironic's."""
    return hypervisors.entry(hypervisors.BAREMETAL).trait in found.traits


def _provider(
    node: Any, own_servers: collections.abc.Collection[str], *, process_is_down: bool
) -> Provider:
    properties = node.properties or {}
    memory, disk = (int(properties.get(key) or 0) for key in ("memory_mb", "local_gb"))
    is_others = bool(node.instance_id) and node.instance_id not in own_servers
    trouble = _trouble(node)
    if process_is_down:
        trouble = f"the compute process {hypervisors.process(hypervisors.BAREMETAL)} is down"
    return Provider(
        name=node.name or node.id,
        hypervisor=hypervisors.BAREMETAL,
        memory_mib=memory,
        disk_gib=disk,
        others_memory_mib=memory if is_others else 0,
        others_disk_gib=disk if is_others else 0,
        trouble=trouble,
    )


def _trouble(node: Any) -> str | None:
    """Why a machine takes no instance, or None if it does or has one."""
    if node.is_maintenance:
        said = metalnode.cause(node.maintenance_reason or "no reason is given")
        return f"it is in maintenance: {said}"
    if not node.instance_id and node.provision_state not in _USABLE:
        return f"it is {node.provision_state}"
    return None
