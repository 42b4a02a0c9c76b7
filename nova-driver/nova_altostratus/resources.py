"""What a compute process reports of the node: its share, under its own name."""

from typing import Any

import os_resource_classes as orc

from nova_altostratus.conf import CONF


def node_name() -> str:
    """Return the node's name, which is unique though several processes run on one machine."""
    return CONF.host


def binding_host() -> str:
    """Return the host that ports are bound to: the layer 2 agent's."""
    return CONF.altostratus.network_host or CONF.host


def trait(hypervisor: str) -> str:
    """Return the trait by which images and flavors ask for a hypervisor."""
    return f"CUSTOM_HYPERVISOR_{hypervisor.upper()}"


def inventory() -> dict[str, dict[str, Any]]:
    """Return the share as placement's inventory."""
    share = CONF.altostratus
    totals = {orc.MEMORY_MB: share.memory_mb, orc.DISK_GB: share.disk_gb, orc.VCPU: share.vcpus}
    ratios = {orc.VCPU: share.vcpu_ratio}
    return {
        name: {
            "total": total,
            "min_unit": 1,
            "max_unit": total,
            "step_size": 1,
            "allocation_ratio": ratios.get(name, 1.0),
            "reserved": 0,
        }
        for name, total in totals.items()
    }


def share() -> dict[str, Any]:
    """Return the share in the words of get_available_resource."""
    return {
        "memory_mb": CONF.altostratus.memory_mb,
        "local_gb": CONF.altostratus.disk_gb,
        "vcpus": CONF.altostratus.vcpus,
        "hypervisor_hostname": node_name(),
    }


def report(provider_tree: Any, nodename: str, hypervisor: str) -> None:
    """Put the share and the hypervisor's trait on the node's resource provider."""
    provider_tree.update_inventory(nodename, inventory())
    provider_tree.add_traits(nodename, trait(hypervisor))
