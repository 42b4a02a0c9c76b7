"""Whether hypervisors have room for instances and take them: the arithmetic, in words.

Pure. What it says stands in findings before anything starts, and beside Nova's own words where it
found no host.
"""

import collections.abc
import dataclasses

from altostratus import hypervisors
from altostratus.model import UNDERCLOUD, Hypervisor, Instance, Share
from altostratus.observed import Provider

_MACHINES = "./altostratus node list shows all machines; 'node provide' makes more of them free"
_SMALLER = "give it less 'memory', 'disk' or 'state', or import a larger machine"
_LESS = "give some of them less {}, or another hypervisor"

_REFUSED = (
    "it has room and takes instances: the scheduler's filters refused it, or others had its room"
)

# What is wrong, and what to do about it.
Lacks = collections.abc.Iterator[tuple[str, str]]


def lacks(
    hypervisor: Hypervisor,
    instances: collections.abc.Sequence[Instance],
    providers: collections.abc.Sequence[Provider],
) -> Lacks:
    """What one hypervisor has too little of for all the instances that are to run on it."""
    if not hypervisors.entry(hypervisor).has_share:
        yield from _lacks_machines(hypervisor, instances, providers)
        return
    for amount in amounts(instances, providers):
        if sum(amount.wanted) > sum(amount.free):
            used = sum(amount.total) - sum(amount.free)
            message = (
                f"too little room on {hypervisor}: {_sum(instances, amount)} needed, and"
                f" {sum(amount.free)} are free: {sum(amount.total)}, less {used} used by others"
            )
            yield message, _LESS.format(amount.key)
            continue
        for instance, size in zip(instances, amount.wanted, strict=True):
            # Where several nodes share the hypervisor, each instance is on one of them.
            if size > max(amount.free):
                message = (
                    f"too little room on each node for {hypervisor}: {instance.name} needs {size}"
                    f" {amount.unit}, and none has more free than {max(amount.free)}"
                )
                yield message, _LESS.format(amount.key)


def _lacks_machines(
    hypervisor: Hypervisor,
    instances: collections.abc.Sequence[Instance],
    providers: collections.abc.Sequence[Provider],
) -> Lacks:
    """Each instance has a machine to itself, which must be large enough for it."""
    free = [one for one in providers if one.trouble is None and one.others_memory_mib == 0]
    has = "; ".join(map(_machine, providers))
    if len(instances) > len(free):
        names = ", ".join(one.name for one in instances)
        message = (
            f"too few machines for {hypervisor}: {len(instances)} are needed ({names}),"
            f" free: {len(free)} ({has})"
        )
        yield message, _MACHINES
        return
    unfit = [one for one in instances if not any(_fits(one, machine) for machine in free)]
    for one in unfit:
        yield f"no free machine is large enough: {_needs(one)} ({has})", _SMALLER
    if not unfit and not _can_all_be_placed(instances, free):
        needs = "; ".join(map(_needs, instances))
        yield f"the free machines are not large enough for all: {needs} ({has})", _SMALLER


def _machine(one: Provider) -> str:
    size = f"{one.name}: {one.memory_mib} MiB of memory, {one.disk_gib} GiB of disk"
    if one.trouble is not None:
        return f"{one.name}: {one.trouble}"
    return f"{one.name}: another instance is on it" if one.others_memory_mib else size


def _needs(instance: Instance) -> str:
    disk = hypervisors.disk_gib(instance)
    return f"{instance.name} needs {instance.memory_mib} MiB of memory and {disk} GiB of disk"


def _fits(instance: Instance, machine: Provider) -> bool:
    has_memory = instance.memory_mib <= machine.memory_mib
    return has_memory and hypervisors.disk_gib(instance) <= machine.disk_gib


def _can_all_be_placed(
    instances: collections.abc.Sequence[Instance], machines: collections.abc.Sequence[Provider]
) -> bool:
    """Whether there is a machine for each at the same time: one moves on where another must in."""
    on: dict[str, Instance] = {}

    def place(instance: Instance, tried: set[str]) -> bool:
        for machine in machines:
            if machine.name in tried or not _fits(instance, machine):
                continue
            tried.add(machine.name)
            if machine.name not in on or place(on[machine.name], tried):
                on[machine.name] = instance
                return True
        return False

    return all(place(one, set()) for one in instances)


def lacks_in_all(
    instances: collections.abc.Sequence[Instance], shares: collections.abc.Sequence[Share]
) -> Lacks:
    """What a machine has too little of that divides itself among hypervisors as it is needed."""
    here = [one for one in instances if hypervisors.entry(one.hypervisor).has_share]
    has = {one.hypervisor for one in shares}
    for name in dict.fromkeys(one.hypervisor for one in here):
        if name not in has:
            there = ", ".join(sorted(has))
            yield f"this machine has no room for {name} beside {there}", "use a larger machine"
    providers = [Provider("", one.hypervisor, one.memory_mib, one.disk_gib) for one in shares]
    for amount in amounts(here, providers):
        if sum(amount.wanted) > sum(amount.free):
            message = (
                f"too little room on this machine: {_sum(here, amount)} needed, and it has"
                f" {sum(amount.free)} for instances"
            )
            yield message, f"give some of them less {amount.key}, or use a larger machine"


def why_no_host(
    instance: Instance, providers: collections.abc.Sequence[Provider]
) -> tuple[list[str], str]:
    """Why Nova found no host for an instance, provider by provider, and what to do about it.

    ``providers`` count the whole use of each as that of others.
    """
    own = [one for one in providers if one.hypervisor == instance.hypervisor]
    if not own:
        there = ", ".join(sorted({str(one.hypervisor) for one in providers})) or "none"
        return (
            [f"the undercloud has no hypervisor {instance.hypervisor}; it has: {there}"],
            "./altostratus undercloud up",
        )
    lines, hints = [], []
    for provider in own:
        for line, hint in _refusals(instance, provider):
            lines.append(f"{provider.name}: {line}")
            hints.append(hint)
    return lines, hints[0]


def _refusals(instance: Instance, provider: Provider) -> Lacks:
    if instance.zone and provider.zone and provider.zone != instance.zone:
        message = f"it is in the zone {provider.zone}, not in {instance.zone}"
        yield message, f"name another zone for {instance.name}, or none"
        return
    if provider.trouble is not None:
        yield provider.trouble, repair(provider)
    too_little = False
    for amount in amounts((instance,), (provider,)):
        (needed,), (free,), (total,) = amount.wanted, amount.free, amount.total
        if needed > free:
            too_little = True
            yield (
                f"{instance.name} needs {needed} {amount.unit}, and {free} of {total} are free",
                f"give {instance.name} less {amount.key}, or another hypervisor",
            )
    if provider.trouble is None and not too_little:
        yield _REFUSED, f"./altostratus overcloud why {instance.name} FILE"


def repair(provider: Provider) -> str:
    """The command that has a compute process, or a machine, take instances again."""
    if not hypervisors.entry(provider.hypervisor).has_share:
        return f"./altostratus node provide {provider.name}"
    if provider.is_disabled:
        return (
            "openstack --os-cloud undercloud compute service set --enable"
            f" {provider.name} nova-compute"
        )
    node = hypervisors.node_of(provider.name, provider.hypervisor)
    return f"{shell(node)} journalctl -u nova-compute@{provider.hypervisor} -n 50"


def shell(node: str) -> str:
    """What a command begins with that is run on a node of the undercloud."""
    own = "./altostratus undercloud shell"
    return own if node == UNDERCLOUD else f"{own} --node {node}"


@dataclasses.dataclass(frozen=True, slots=True)
class Amount:
    """Memory or disk: what each instance wants, and what each provider has and has left."""

    key: str
    unit: str
    wanted: tuple[int, ...]
    total: tuple[int, ...]
    free: tuple[int, ...]


def amounts(
    instances: collections.abc.Sequence[Instance], providers: collections.abc.Sequence[Provider]
) -> tuple[Amount, ...]:
    """Memory and disk: what is wanted, and what there is of it."""
    return (
        _amount(
            "memory",
            "MiB of memory",
            [one.memory_mib for one in instances],
            [(one.memory_mib, one.others_memory_mib) for one in providers],
        ),
        _amount(
            "disk",
            "GiB of disk",
            [hypervisors.disk_gib(one) for one in instances],
            [(one.disk_gib, one.others_disk_gib) for one in providers],
        ),
    )


def _amount(
    key: str,
    unit: str,
    wanted: collections.abc.Iterable[int],
    shares: collections.abc.Sequence[tuple[int, int]],
) -> Amount:
    """``shares`` are what each provider has, and how much of it others use."""
    total = tuple(has for has, _ in shares)
    free = tuple(max(has - others, 0) for has, others in shares)
    return Amount(key, unit, tuple(wanted), total, free)


def _sum(instances: collections.abc.Sequence[Instance], amount: Amount) -> str:
    parts = [f"{one.name} {size}" for one, size in zip(instances, amount.wanted, strict=True)]
    total = f" = {sum(amount.wanted)}" if len(parts) > 1 else ""
    return f"{' + '.join(parts)}{total} {amount.unit} are"
