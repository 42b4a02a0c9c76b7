"""What an instance uses, in Nova's words: the answer to server diagnostics."""

from typing import Any

from nova.compute import power_state
from nova.objects import diagnostics
from nova.virt import configdrive as nova_configdrive
from oslo_utils import units

from nova_altostratus.engine import Container, Usage

# Nova knows no other word for a driver that is none of its own; its fake one says the same.
_DRIVER = "libvirt"


def of_container(instance: Any, found: Container, usage: Usage) -> diagnostics.Diagnostics:
    """Return what a Docker container uses; its processors are told as one."""
    told = diagnostics.Diagnostics(
        state=power_state.STATE_MAP[found.power_state],
        driver=_DRIVER,
        hypervisor="docker",
        hypervisor_os="linux",
        uptime=found.age_s,
        config_drive=nova_configdrive.required_by(instance),
    )
    told.memory_details = _memory(usage.memory_limit, usage.memory)
    told.add_cpu(id=0, time=usage.cpu_ns)
    for vif in instance.get_network_info():
        told.add_nic(mac_address=vif["address"])
    return told


def complete(told: diagnostics.Diagnostics, domain: Any) -> diagnostics.Diagnostics:
    """Return what Nova tells of libvirt's domain, with memory and processors put right.

    Nova 34 tells memory in GiB where MiB are due, and of a machine only what it was given; and
    nothing of a container's processors, which libvirt counts as one.
    """
    _state, maximum_kib, given_kib, _vcpus, cpu_ns = domain.info()
    # What a container was given is what it uses: libvirt reads it from its cgroup.
    is_container = told.hypervisor == "lxc"
    used_kib = given_kib if is_container else _used_kib(domain.memoryStats(), given_kib)
    told.memory_details = _memory(maximum_kib * units.Ki, used_kib * units.Ki)
    if not told.cpu_details:
        told.add_cpu(id=0, time=cpu_ns)
    return told


def _used_kib(stats: dict[str, int], given_kib: int) -> int:
    """Return what a machine uses of its memory; until it has booted and says so, what it takes of
    the node's.
    """
    if {"available", "usable"} <= stats.keys():
        return stats["available"] - stats["usable"]
    return stats.get("rss", given_kib)


def _memory(maximum: int | None, used: int | None) -> diagnostics.MemoryDiagnostics:
    if maximum is None or used is None:
        return diagnostics.MemoryDiagnostics(maximum=None, used=None)
    return diagnostics.MemoryDiagnostics(maximum=maximum // units.Mi, used=used // units.Mi)
