"""Whether hypervisors have room for instances and take them: the arithmetic, in words.

Pure. What it says stands in findings before anything starts, and beside Nova's own words where it
found no host.
"""

import collections.abc
import dataclasses

from altostratus.model import Hypervisor, Instance, Share
from altostratus.observed import Provider

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


def lacks_in_all(
    instances: collections.abc.Sequence[Instance], shares: collections.abc.Sequence[Share]
) -> Lacks:
    """What a machine has too little of that divides itself among hypervisors as it is needed."""
    has = {one.hypervisor for one in shares}
    for name in dict.fromkeys(one.hypervisor for one in instances):
        if name not in has:
            there = ", ".join(sorted(has))
            yield f"this machine has no room for {name} beside {there}", "use a larger machine"
    providers = [Provider("", one.hypervisor, one.memory_mib, one.disk_gib) for one in shares]
    for amount in amounts(instances, providers):
        if sum(amount.wanted) > sum(amount.free):
            message = (
                f"too little room on this machine: {_sum(instances, amount)} needed, and it has"
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
    """The command that has a compute process take instances again."""
    if provider.is_disabled:
        return (
            "openstack --os-cloud undercloud compute service set --enable"
            f" {provider.name} nova-compute"
        )
    return f"./altostratus undercloud shell journalctl -u nova-compute@{provider.hypervisor} -n 50"


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
            [one.disk_gib for one in instances],
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
