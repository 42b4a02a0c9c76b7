"""What Nova's scheduler is asked for an instance, and all it goes by, as plain data.

Pure. The rules are those of Nova's request filters as the undercloud configures them, and for what
flavors and images of ours have: whoever asks Placement by them gets the scheduler's answer.
"""

import collections.abc
import dataclasses
import re

from altostratus.model import Instance
from altostratus.observed import Provider

_TRAIT = "trait:"
_RESOURCE = "resources:"
_REQUIRED = "required"
# Nova asks for both, whatever the instance: for providers of its own, and for none disabled.
_ROOT = "OWNER_NOVA,!COMPUTE_STATUS_DISABLED"
_LIMIT = "1000"

_FILTERED = re.compile(
    r"Filtering removed all hosts for the request with instance ID '(?P<id>.+?)'"
)
_FILTER = re.compile(r"'(?P<name>\w+): \(start: (?P<start>\d+), end: (?P<end>\d+)\)'")
NO_CANDIDATES = "Got no allocation candidates from the Placement API"


@dataclasses.dataclass(frozen=True, slots=True)
class Demand:
    """What the flavor and the image of an instance want; ``image`` is the name of one loaded."""

    resources: dict[str, int]
    traits: frozenset[str]
    hypervisor_type: str
    image: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Aggregate:
    """Compute processes that belong together; ``traits`` are what its instances must ask for,
    ``zone`` is the availability zone that it makes, if it makes one."""

    id: str
    name: str
    traits: frozenset[str] = frozenset()
    zone: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Process:
    """A compute process as Nova, Placement and Neutron know it.

    ``provider`` counts the use of all, ``hypervisor_type`` is Nova's word, ``aggregates`` are the
    ids that Placement has. ``network_trouble`` is why nothing on its node is wired, if so.
    """

    provider: Provider
    node: str
    hypervisor_type: str
    traits: frozenset[str]
    aggregates: frozenset[str]
    network_trouble: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Server:
    """The server of an instance: where it is, where starting it failed, and what Nova says.

    ``unbound`` are the ports that Neutron could not bind.
    """

    id: str
    name: str
    status: str
    host: str | None = None
    failed_on: str | None = None
    fault: str | None = None
    unbound: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Filter:
    """One of the scheduler's filters: how many compute processes it got, and how many it left."""

    name: str
    start: int
    end: int


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """What the scheduler wrote of an instance; ``silence`` is why there is nothing, if so."""

    filters: tuple[Filter, ...] = ()
    had_no_candidates: bool = False
    silence: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Facts:
    """All that bears on where an instance is.

    The ``instance`` has the size of its server where there is one. ``candidates`` are the
    compute processes that Placement offers for it now.
    """

    overcloud: str
    instance: Instance
    demand: Demand
    processes: tuple[Process, ...]
    aggregates: tuple[Aggregate, ...]
    candidates: frozenset[str]
    server: Server | None = None
    record: Record = Record()
    is_deployed: bool = False


Properties = collections.abc.Mapping[str, object]


def demand(
    memory_mib: int,
    vcpus: int,
    disk_gib: int,
    flavor_properties: Properties,
    image_properties: Properties,
    image: str | None = None,
) -> Demand:
    """What a flavor of this size and an image want of where an instance runs."""
    resources = {"MEMORY_MB": memory_mib, "VCPU": vcpus, "DISK_GB": disk_gib}
    for key, value in flavor_properties.items():
        if key.startswith(_RESOURCE):
            resources[key.removeprefix(_RESOURCE)] = int(str(value))
    return Demand(
        resources={name: amount for name, amount in sorted(resources.items()) if amount},
        traits=required_traits(flavor_properties) | required_traits(image_properties),
        hypervisor_type=str(image_properties.get("hypervisor_type") or ""),
        image=image,
    )


def required_traits(properties: Properties) -> frozenset[str]:
    """The traits that the properties of a flavor, an image or an aggregate require."""
    return frozenset(
        key.removeprefix(_TRAIT)
        for key, value in properties.items()
        if key.startswith(_TRAIT) and value == _REQUIRED
    )


def isolated(
    wanted: Demand, aggregates: collections.abc.Iterable[Aggregate]
) -> tuple[Aggregate, ...]:
    """The aggregates that are closed to it: it does not ask for all of their traits."""
    return tuple(one for one in aggregates if one.traits - wanted.traits)


def query(
    wanted: Demand,
    aggregates: collections.abc.Collection[Aggregate],
    zone: str | None = None,
) -> list[tuple[str, str]]:
    """What Nova asks Placement's allocation candidates for, in a zone if one is named."""
    resources = ",".join(f"{name}:{amount}" for name, amount in sorted(wanted.resources.items()))
    found = [("limit", _LIMIT), ("resources", resources), ("root_required", _ROOT)]
    if wanted.traits:
        found.append(("required", ",".join(sorted(wanted.traits))))
    closed = [one.id for one in isolated(wanted, aggregates)]
    if closed:
        found.append(("member_of", f"!in:{','.join(sorted(closed))}"))
    if zone:
        inside = sorted(one.id for one in aggregates if one.zone == zone)
        found.append(("member_of", f"in:{','.join(inside)}"))
    return sorted(found)


def record(
    lines: collections.abc.Iterable[str], server_id: str, requests: collections.abc.Collection[str]
) -> Record:
    """What the lines of the scheduler's journal say last of a server, or of requests for it."""
    found = Record(silence="has no refusal of this server in its journal")
    for line in lines:
        filtered = _FILTERED.search(line)
        if filtered and filtered["id"] == server_id:
            filters = _FILTER.finditer(line, filtered.end())
            found = Record(
                tuple(Filter(one["name"], int(one["start"]), int(one["end"])) for one in filters)
            )
        elif NO_CANDIDATES in line and any(request in line for request in requests):
            found = Record(had_no_candidates=True)
    return found
