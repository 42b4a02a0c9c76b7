"""What speaks against an instance on a compute process, and the fix of each: the rules of placing.

Pure. Nova's request filters, Placement's arithmetic and the scheduler's filters, one by one.
"""

import collections.abc
import dataclasses
import enum

from altostratus import hypervisors, room, scheduling
from altostratus.model import Hypervisor
from altostratus.scheduling import Facts, Process

CLIENT = "openstack --os-cloud undercloud"


class Aspect(enum.StrEnum):
    """What can speak against a compute process: the columns of the table."""

    SERVICE = "service"
    IMAGE_TYPE = "image type"
    TRAITS = "traits"
    AGGREGATES = "aggregates"
    MEMORY = "memory"
    DISK = "disk"
    NETWORK = "network"
    PLACEMENT = "placement"


@dataclasses.dataclass(frozen=True, slots=True)
class Obstacle:
    """One thing that speaks against a compute process, and what to do about it.

    ``short`` says it in a cell of the table.
    """

    aspect: Aspect
    short: str
    text: str
    fix: str


Obstacles = collections.abc.Iterator[Obstacle]


def find(facts: Facts, process: Process, file: str) -> tuple[Obstacle, ...]:
    """What speaks against this process; ``file`` is the deployment file, for fixes in it."""
    found = (
        *_service(process),
        *_properties(facts, process, file),
        *_room(facts, process, file),
        *_network(facts, process),
    )
    return found or tuple(_not_offered(facts, process))


def is_there(facts: Facts, process: Process) -> bool:
    """Whether the instance is on this process."""
    return facts.server is not None and facts.server.host == process.provider.name


def amounts(facts: Facts, process: Process) -> tuple[room.Amount, ...]:
    """Memory and disk of a process, without what the instance itself uses there."""
    provider = process.provider
    if is_there(facts, process):
        provider = dataclasses.replace(
            provider,
            others_memory_mib=max(provider.others_memory_mib - facts.instance.memory_mib, 0),
            others_disk_gib=max(provider.others_disk_gib - facts.instance.disk_gib, 0),
        )
    return room.amounts((facts.instance,), (provider,))


def _service(process: Process) -> Obstacles:
    if process.provider.trouble:
        short = "disabled" if process.provider.is_disabled else "down"
        fix = room.repair(process.provider)
        yield Obstacle(Aspect.SERVICE, short, process.provider.trouble, fix)


def _properties(facts: Facts, process: Process, file: str) -> Obstacles:
    """What the image and the flavor ask for, and this process is not."""
    wanted, hypervisor = facts.demand, process.provider.hypervisor
    is_own = hypervisor == facts.instance.hypervisor
    move = _in_file(facts, f"hypervisor: {hypervisor}", file)
    if wanted.hypervisor_type and wanted.hypervisor_type != process.hypervisor_type:
        there = process.hypervisor_type or "unknown"
        fix = f"{CLIENT} image set --property hypervisor_type={there} {wanted.image}"
        text = f"{there}, not {wanted.hypervisor_type}"
        said = f"it runs images of {there}, not of {wanted.hypervisor_type}"
        yield Obstacle(Aspect.IMAGE_TYPE, text, said, fix if is_own and wanted.image else move)
    missing = wanted.traits - process.traits
    if missing:
        # It tells Placement of its traits when it starts.
        fix = f"{room.shell(process.node)} systemctl restart nova-compute@{hypervisor}"
        text = f"lacks {', '.join(sorted(missing))}"
        yield Obstacle(Aspect.TRAITS, text, f"it {text}", fix if is_own else move)
    zone = facts.instance.zone
    if zone and process.provider.zone and process.provider.zone != zone:
        text = f"it is in the zone {process.provider.zone}, not in {zone}"
        fix = _in_file(facts, f"zone: {process.provider.zone}", file)
        short = f"zone {process.provider.zone}"
        yield Obstacle(Aspect.AGGREGATES, short, text, fix if is_own else move)
    closed = [
        one.name
        for one in scheduling.isolated(wanted, facts.aggregates)
        if one.id in process.aggregates
    ]
    if closed:
        fix = f"{CLIENT} aggregate remove host {closed[0]} {process.provider.name}"
        text = f"it is in {', '.join(closed)}, which takes others only"
        short = f"closed: {', '.join(closed)}"
        yield Obstacle(Aspect.AGGREGATES, short, text, fix if is_own else move)


def _room(facts: Facts, process: Process, file: str) -> Obstacles:
    for amount in amounts(facts, process):
        (needed,), (free,), (total,) = amount.wanted, amount.free, amount.total
        if needed > free:
            short = f"needs {needed}, free {free} of {total}"
            text = f"{needed} {amount.unit} are needed, and {free} of {total} are free"
            fix = _more_room(facts, process, amount, file)
            yield Obstacle(Aspect(amount.key), short, text, fix)


def _more_room(facts: Facts, process: Process, amount: room.Amount, file: str) -> str:
    elsewhere = _elsewhere(facts, process)
    if elsewhere:
        return _in_file(facts, f"hypervisor: {elsewhere}", file)
    free = amount.free[0]
    # What has less than half of what it asks for would not run well.
    if free * 2 >= amount.wanted[0]:
        return _in_file(facts, f"{amount.key}: {free}", file)
    return f"{CLIENT} server list --all-projects --host {process.provider.name}, and delete some"


def _in_file(facts: Facts, change: str, file: str) -> str:
    said = f"write '{change}' for {facts.instance.name} in {file}"
    # What is deployed is neither moved nor resized.
    return f"./altostratus overcloud delete {file}, then {said}" if facts.is_deployed else said


def _elsewhere(facts: Facts, process: Process) -> Hypervisor | None:
    """Another hypervisor that works and has room for the instance."""
    for other in facts.processes:
        name = other.provider.hypervisor
        if name == process.provider.hypervisor or name not in hypervisors.names():
            continue
        never = hypervisors.entry(name).privileges is hypervisors.Privileges.NEVER
        has_room = all(one.wanted[0] <= one.free[0] for one in amounts(facts, other))
        works = not other.provider.trouble and not other.network_trouble
        if has_room and works and not (facts.instance.privileged and never):
            return name
    return None


def _network(facts: Facts, process: Process) -> Obstacles:
    if process.network_trouble:
        yield Obstacle(
            Aspect.NETWORK, "no agent", process.network_trouble, mend_network(process.node)
        )
    elif facts.server and facts.server.unbound and is_there(facts, process):
        text = f"Neutron could not bind {', '.join(facts.server.unbound)}"
        yield Obstacle(Aspect.NETWORK, "not bound", text, mend_network(process.node))


def mend_network(node: str) -> str:
    """The command that starts the agent anew that wires what is on a node."""
    return f"{room.shell(node)} systemctl restart neutron-openvswitch-agent"


def _not_offered(facts: Facts, process: Process) -> Obstacles:
    """Where nothing else explains it, Placement still has the last word."""
    if process.provider.name not in facts.candidates and not is_there(facts, process):
        fix = f"{CLIENT} resource provider list --name {process.provider.name}"
        yield Obstacle(Aspect.PLACEMENT, "not offered", "Placement does not offer it", fix)
