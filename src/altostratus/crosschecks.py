"""What no single value of a deployment file shows: how its parts go together."""

import collections.abc
import ipaddress
from typing import Any, Literal

from altostratus import errors, hypervisors, services
from altostratus.model import CONTROL, INTERNAL
from altostratus.yamlfile import Document, Location

DEFAULT_HYPERVISOR = "docker"
DEFAULT_NETWORKS = {INTERNAL: {"vlan": 101, "cidr": "172.16.1.0/24"}}
_EXAMPLE = "{vlan: 103, cidr: 172.16.3.0/24}"
_FIRST_HOST = 10
_ELSEWHERE = "choose another hypervisor for it"


def check(document: Document, hypervisor: str | None) -> list[errors.Finding]:
    """What no single value shows; reads what is well formed and passes over the rest.

    ``hypervisor`` comes before the file's default.
    """
    data = document.data if isinstance(document.data, dict) else {}
    networks = _mappings(data.get("networks", DEFAULT_NETWORKS))
    instances = _mappings(data.get("instances"))
    return [
        *_vlans(document, networks),
        *_cidrs(document, networks, instances),
        *_repeated_services(document, instances),
        *_repeated_instances(document, instances),
        *_spare_hypervisors(document, instances),
        *_missing_services(document, instances),
        *_instance_networks(document, networks, instances),
        *_bridged_networks(document, networks, instances),
        *_privileges(document, instances, hypervisor or data.get("default_hypervisor")),
    ]


_Findings = collections.abc.Iterator[errors.Finding]
_Mappings = dict[str, dict[str, Any]]


def _mappings(data: Any) -> _Mappings:
    if not isinstance(data, dict):
        return {}
    return {name: entry for name, entry in data.items() if isinstance(entry, dict)}


def _words(entry: dict[str, Any], key: Literal["services", "networks"]) -> list[str]:
    given = entry.get(key)
    return [word for word in given if isinstance(word, str)] if isinstance(given, list) else []


def _vlans(document: Document, networks: _Mappings) -> _Findings:
    first: dict[int, str] = {}
    for name, entry in networks.items():
        vlan = entry.get("vlan")
        if isinstance(vlan, int) and first.setdefault(vlan, name) != name:
            message = f"VLAN {vlan} is taken by the network {first[vlan]!r}"
            yield document.finding(("networks", name, "vlan"), message, "choose another")


def _cidrs(document: Document, networks: _Mappings, instances: _Mappings) -> _Findings:
    before: dict[str, ipaddress.IPv4Network] = {}
    for name, entry in networks.items():
        location = ("networks", name, "cidr")
        try:
            cidr = ipaddress.IPv4Network(entry.get("cidr", ""))
        except (ValueError, TypeError):
            continue
        for other, others in before.items():
            if cidr.overlaps(others):
                message = f"{cidr} overlaps {others} of the network {other!r}"
                yield document.finding(location, message, "choose another")
        before[name] = cidr
        count = sum(
            len(members(one, entry))
            for one, entry in instances.items()
            if name in _networks_of(entry, networks, instances)
        )
        if count and cidr.num_addresses - _FIRST_HOST - 1 < count:
            message = f"{cidr} is too small for the {count} instances on it"
            yield document.finding(location, message, "choose a larger one")


def _networks_of(
    entry: dict[str, Any], networks: _Mappings, instances: _Mappings
) -> collections.abc.Collection[str]:
    if entry.get("networks") is not None:
        return _words(entry, "networks")
    cloud = {service for one in instances.values() for service in _words(one, "services")}
    known = tuple(name for name in _words(entry, "services") if name in services.names())
    return services.networks(known, cloud, networks)


def _repeated_services(document: Document, instances: _Mappings) -> _Findings:
    first: dict[str, str] = {}
    for name, entry in instances.items():
        for index, service in enumerate(_words(entry, "services")):
            if service in first and not _is_repeatable(service):
                message = f"the service {service!r} is in the instance {first[service]!r} already"
                yield document.finding(("instances", name, "services", index), message)
            first.setdefault(service, name)


def _repeated_instances(document: Document, instances: _Mappings) -> _Findings:
    for name, entry in instances.items():
        if "count" not in entry:
            continue
        for index, service in enumerate(_words(entry, "services")):
            if service in services.names() and not _is_repeatable(service):
                message = f"{service} is in one instance, and {name!r} is several"
                hint = "leave 'count' out, or give it an instance of its own"
                yield document.finding(("instances", name, "services", index), message, hint)
        for one in set(members(name, entry)) & instances.keys():
            message = f"it is one of those of {name!r} already"
            yield document.finding(("instances", one), message, "name it otherwise")


def _spare_hypervisors(document: Document, instances: _Mappings) -> _Findings:
    for name, entry in instances.items():
        named, count = _hypervisors(entry, None), len(members(name, entry))
        if len(named) > max(count, 1):
            several = f"{count} instance{'s' if count != 1 else ''}"
            message = f"{len(named)} hypervisors are named for {several}"
            hint = "name one, or say how many instances there are with 'count'"
            yield document.finding(("instances", name, "hypervisor"), message, hint)


def _hypervisors(entry: dict[str, Any], default: Any) -> list[Any]:
    """The hypervisors of an entry: those of its instances in turn."""
    given = entry.get("hypervisor") or default
    return given if isinstance(given, list) else [given]


def members(name: str, entry: collections.abc.Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the instances that an entry stands for."""
    count = entry.get("count")
    if not isinstance(count, int):
        return (name,)
    return tuple(f"{name}-{number}" for number in range(count))


def _is_repeatable(service: str) -> bool:
    return service in services.names() and services.get(service).is_repeatable


def _missing_services(document: Document, instances: _Mappings) -> _Findings:
    there = {service for entry in instances.values() for service in _words(entry, "services")}
    for name, entry in instances.items():
        words = _words(entry, "services")
        for service in dict.fromkeys(words):
            index = words.index(service)
            needs = services.get(service).needs if service in services.names() else ()
            for needed in needs:
                if needed not in there:
                    yield document.finding(
                        ("instances", name, "services", index),
                        f"{service} needs the service {needed!r}, which no instance runs",
                        f"add it to the services of {name!r} or of an instance of its own",
                    )


def _instance_networks(document: Document, networks: _Mappings, instances: _Mappings) -> _Findings:
    if INTERNAL not in networks:
        message = f"there is no network {INTERNAL!r}, over which services talk to one another"
        yield document.finding(("networks",), message, f"add it: {DEFAULT_NETWORKS}")
    for name, entry in instances.items():
        chosen = _words(entry, "networks")
        location: Location = ("instances", name, "networks")
        for index, network in enumerate(chosen):
            if network != CONTROL and network not in networks:
                message, hint = errors.unknown("network", network, networks)
                yield document.finding((*location, index), message, hint)
            if network in chosen[:index]:
                yield document.finding((*location, index), f"{network!r} is named twice")
        if "networks" in entry and INTERNAL in networks and INTERNAL not in chosen:
            message = f"the instance {name!r} is not on {INTERNAL!r}"
            yield document.finding(location, message, "add it: its services need the others")


def _bridged_networks(document: Document, networks: _Mappings, instances: _Mappings) -> _Findings:
    for name, entry in instances.items():
        for index, service in enumerate(_words(entry, "services")):
            needed = services.get(service).bridged_network if service in services.names() else None
            if needed and needed not in _networks_of(entry, networks, instances):
                lacks = f"like networks: [{INTERNAL}, {needed}]"
                add = f"add it to the file's networks, like {needed}: {_EXAMPLE}"
                yield document.finding(
                    ("instances", name, "services", index),
                    f"{service} needs its instance on the network {needed!r}, for machines that"
                    " are reached from outside",
                    lacks if needed in networks else add,
                )


def _privileges(document: Document, instances: _Mappings, default: Any) -> _Findings:
    placed = [
        (name, entry, hypervisor)
        for name, entry in instances.items()
        for hypervisor in _hypervisors(entry, default or DEFAULT_HYPERVISOR)
    ]
    for name, entry, hypervisor in placed:
        if hypervisor not in hypervisors.names():
            continue
        way = hypervisors.entry(hypervisor).privileges
        asked = entry.get("privileged") is True
        if asked and way is hypervisors.Privileges.NEVER:
            message = f"an instance on {hypervisor} cannot be privileged"
            yield document.finding(("instances", name, "privileged"), message, _ELSEWHERE)
        for index, service in enumerate(_words(entry, "services")):
            if service not in services.names() or not services.get(service).needs_privileges:
                continue
            location: Location = ("instances", name, "services", index)
            if way is hypervisors.Privileges.NEVER:
                message = (
                    f"{service} cannot run on {hypervisor}: it makes network devices and mounts"
                    " that such an instance is not allowed"
                )
                yield document.finding(location, message, _ELSEWHERE)
            elif way is hypervisors.Privileges.ON_REQUEST and not asked:
                message = (
                    f"{service} makes network devices, mounts and machines, and an instance on"
                    f" {hypervisor} is not allowed that"
                )
                hint = f"for development: set 'privileged: true' in the instance {name!r}"
                yield document.finding(location, message, hint)
