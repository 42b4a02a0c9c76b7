"""A deployment file to a model, or all that is wrong with it."""

import collections.abc
import difflib
import ipaddress
import re
from typing import Annotated, Any, Literal

import pydantic
import pydantic_core

from altostratus import errors, hypervisors, services, yamlfile
from altostratus.model import (
    CONTROL,
    INTERNAL,
    UNDERCLOUD,
    Hypervisor,
    Instance,
    Network,
    Overcloud,
)
from altostratus.yamlfile import Document, Location

_DEFAULT_NETWORKS = {INTERNAL: {"vlan": 101, "cidr": "172.16.1.0/24"}}
_FIRST_HOST = 10
# This host, link-local, multicast, reserved.
_SPECIAL = tuple(
    map(ipaddress.IPv4Network, ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3"))
)
_LABEL = re.compile(r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?")
_NETWORK_NAME = re.compile(r"[a-z]([a-z0-9_-]{0,30}[a-z0-9])?")


def parse(text: str, file: str, hypervisor: str | None = None) -> Overcloud:
    """The overcloud that a deployment file describes.

    ``hypervisor`` comes before the file's default, and after an instance's own word.
    Raises :class:`errors.FindingsError` with everything that is wrong.
    """
    document = yamlfile.parse(text, file)
    if document.data is None and document.findings:
        raise errors.FindingsError(document.findings)
    findings = list(document.findings)
    parsed: _File | None = None
    try:
        parsed = _File.model_validate(document.data)
    except pydantic.ValidationError as exc:
        findings += [_translate(document, error) for error in exc.errors(include_url=False)]
    findings += _cross_checks(document, hypervisor)
    if hypervisor is not None and hypervisor not in hypervisors.names():
        findings.append(
            document.finding((), *_unknown("hypervisor", hypervisor, hypervisors.names()))
        )
    if findings or parsed is None:
        raise errors.FindingsError(tuple(findings))
    return _model(parsed, hypervisor)


_DEFAULT = "default_hypervisor"
_ELSEWHERE = "choose another hypervisor for it"


def _unknown(what: str, given: str, known: collections.abc.Iterable[str]) -> tuple[str, str | None]:
    """The message and the hint about a word that is none of the known ones."""
    known = tuple(known)
    close = difflib.get_close_matches(given, known, n=1)
    meant = f"did you mean {close[0]!r}? " if close else ""
    return f"there is no {what} {given!r}", f"{meant}known: {', '.join(known)}"


def _fail(message: str, hint: str | None = None) -> pydantic_core.PydanticCustomError:
    # A template's own braces would be filled in: the message goes in as a value.
    return pydantic_core.PydanticCustomError(
        "altostratus", "{message}", {"message": message, "hint": hint}
    )


def _check_service(name: str) -> str:
    if name not in services.names():
        message, hint = _unknown("service", name, services.names())
        if name in services.all_names():
            message = f"the service {name!r} cannot be deployed in an overcloud yet"
        raise _fail(message, hint)
    return name


def _check_hypervisor(name: str) -> str:
    if name not in hypervisors.names():
        raise _fail(*_unknown("hypervisor", name, hypervisors.names()))
    return name


def _check_label(name: str) -> str:
    if name == UNDERCLOUD:
        raise _fail("the name 'undercloud' is taken", "name it otherwise")
    if not _LABEL.fullmatch(name):
        raise _fail(
            f"{name!r} cannot be a name",
            "a letter, then letters, digits and '-', at most 32, all lower case: it becomes"
            " part of host names",
        )
    return name


def _check_network_name(name: str) -> str:
    if name == CONTROL:
        raise _fail(
            "the network 'control' is the undercloud's; every instance is on it", "leave it out"
        )
    if not _NETWORK_NAME.fullmatch(name):
        raise _fail(
            f"{name!r} cannot be a network's name",
            "a letter, then letters, digits, '-' and '_', at most 32, all lower case",
        )
    return name


def _check_cidr(given: str) -> str:
    try:
        network = ipaddress.IPv4Network(given)
    except ValueError as exc:
        raise _fail(f"{given!r} is not an IPv4 network: {exc}", "like 172.16.1.0/24") from exc
    if not 8 <= network.prefixlen <= 28:
        raise _fail(f"{given} has a prefix of {network.prefixlen} bits", "between /8 and /28")
    if any(network.overlaps(special) for special in _SPECIAL):
        raise _fail(f"no instance can have an address in {given}", "like 172.16.1.0/24")
    return given


def _check_address(given: str) -> str:
    try:
        return str(ipaddress.IPv4Address(given))
    except ValueError as exc:
        raise _fail(f"{given!r} is not an IPv4 address", "like 172.16.1.1") from exc


_Label = Annotated[str, pydantic.AfterValidator(_check_label)]
_NetworkName = Annotated[str, pydantic.AfterValidator(_check_network_name)]
_HypervisorName = Annotated[str, pydantic.AfterValidator(_check_hypervisor)]
_ServiceName = Annotated[str, pydantic.AfterValidator(_check_service)]
_Count = Annotated[int, pydantic.Field(strict=True, ge=1)]


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class _NetworkEntry(_Strict):
    vlan: Annotated[int, pydantic.Field(strict=True, ge=1, le=4094)]
    cidr: Annotated[str, pydantic.AfterValidator(_check_cidr)]


class _InstanceEntry(_Strict):
    services: Annotated[list[_ServiceName], pydantic.Field(min_length=1)]
    hypervisor: _HypervisorName | None = None
    networks: list[_NetworkName] | None = None
    memory: Annotated[int, pydantic.Field(strict=True, ge=128)] | None = None
    vcpus: _Count | None = None
    disk: _Count | None = None
    state: Annotated[int, pydantic.Field(strict=True, ge=1, le=16384)] | None = None
    privileged: Annotated[bool, pydantic.Field(strict=True)] = False


class _File(_Strict):
    overcloud: _Label
    default_hypervisor: _HypervisorName = "docker"
    networks: dict[_NetworkName, _NetworkEntry] = pydantic.Field(
        default_factory=lambda: {
            name: _NetworkEntry.model_validate(entry) for name, entry in _DEFAULT_NETWORKS.items()
        }
    )
    ntp: list[Annotated[str, pydantic.AfterValidator(_check_address)]] = []
    instances: Annotated[dict[_Label, _InstanceEntry], pydantic.Field(min_length=1)]


def _translate(document: Document, error: pydantic_core.ErrorDetails) -> errors.Finding:
    """A finding in our words from pydantic's."""
    location = tuple(part for part in error["loc"] if part != "[key]")
    kind, given = error["type"], error["input"]
    context: dict[str, Any] = error.get("ctx", {})
    if kind == "altostratus":
        return document.finding(location, context["message"], context["hint"])
    if kind == "extra_forbidden":
        key = str(location[-1])
        return document.finding(location, *_unknown("key", key, _keys_at(location)))
    if kind == "missing":
        return document.finding(location, f"the key {location[-1]!r} is missing")
    if kind == "too_short":
        what = "services" if location[-1:] == ("services",) else "instances"
        whose = f"the instance {location[-2]!r}" if what == "services" else "the overcloud"
        return document.finding(location, f"{whose} has no {what}", "name one at least")
    if location == () and given is None:
        return document.finding((), "the file is empty", "see examples/quickstart.yaml")
    if kind in ("model_type", "dict_type"):
        return document.finding(location, f"{given!r} is not a mapping of keys to values")
    message = error["msg"].removeprefix("Input ").removeprefix("Value error, ")
    return document.finding(location, f"{given!r} {message}")


def _keys_at(location: Location) -> tuple[str, ...]:
    """The keys that can be where an unknown one is."""
    entry: type[pydantic.BaseModel] = _File
    if len(location) == 3:
        entry = _NetworkEntry if location[0] == "networks" else _InstanceEntry
    return tuple(entry.model_fields)


def _cross_checks(document: Document, hypervisor: str | None) -> list[errors.Finding]:
    """What no single value shows; reads what is well formed and passes over the rest."""
    data = document.data if isinstance(document.data, dict) else {}
    networks = _mappings(data.get("networks", _DEFAULT_NETWORKS))
    instances = _mappings(data.get("instances"))
    return [
        *_vlans(document, networks),
        *_cidrs(document, networks, instances),
        *_repeated_services(document, instances),
        *_missing_services(document, instances),
        *_instance_networks(document, networks, instances),
        *_bridged_networks(document, instances),
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
        count = sum(name in _networks_of(entry) for entry in instances.values())
        if count and cidr.num_addresses - _FIRST_HOST - 1 < count:
            message = f"{cidr} is too small for the {count} instances on it"
            yield document.finding(location, message, "choose a larger one")


def _networks_of(entry: dict[str, Any]) -> list[str]:
    return _words(entry, "networks") if "networks" in entry else [INTERNAL]


def _repeated_services(document: Document, instances: _Mappings) -> _Findings:
    first: dict[str, str] = {}
    for name, entry in instances.items():
        for index, service in enumerate(_words(entry, "services")):
            if service in first:
                message = f"the service {service!r} is in the instance {first[service]!r} already"
                yield document.finding(("instances", name, "services", index), message)
            first.setdefault(service, name)


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
        yield document.finding(("networks",), message, f"add it: {_DEFAULT_NETWORKS}")
    for name, entry in instances.items():
        chosen = _words(entry, "networks")
        location: Location = ("instances", name, "networks")
        for index, network in enumerate(chosen):
            if network != CONTROL and network not in networks:
                message, hint = _unknown("network", network, networks)
                yield document.finding((*location, index), message, hint)
            if network in chosen[:index]:
                yield document.finding((*location, index), f"{network!r} is named twice")
        if "networks" in entry and INTERNAL in networks and INTERNAL not in chosen:
            message = f"the instance {name!r} is not on {INTERNAL!r}"
            yield document.finding(location, message, "add it: its services need the others")


def _bridged_networks(document: Document, instances: _Mappings) -> _Findings:
    for name, entry in instances.items():
        for index, service in enumerate(_words(entry, "services")):
            needed = services.get(service).bridged_network if service in services.names() else None
            if needed and needed not in _networks_of(entry):
                yield document.finding(
                    ("instances", name, "services", index),
                    f"{service} needs its instance on the network {needed!r}, for machines that"
                    " are reached from outside",
                    f"like networks: [{INTERNAL}, {needed}]",
                )


def _privileges(document: Document, instances: _Mappings, default: Any) -> _Findings:
    for name, entry in instances.items():
        hypervisor = entry.get("hypervisor") or default or _File.model_fields[_DEFAULT].default
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


def _model(parsed: _File, hypervisor: str | None) -> Overcloud:
    default = hypervisor or parsed.default_hypervisor
    return Overcloud(
        name=parsed.overcloud,
        networks=tuple(
            Network(name, entry.vlan, ipaddress.IPv4Network(entry.cidr))
            for name, entry in parsed.networks.items()
        ),
        instances=tuple(
            _instance(name, entry, default) for name, entry in parsed.instances.items()
        ),
        ntp=tuple(parsed.ntp),
    )


def _instance(name: str, entry: _InstanceEntry, default: str) -> Instance:
    named = [service for service in services.names() if service in entry.services]
    runs = [services.get(service) for service in named]
    chosen = Hypervisor(entry.hypervisor or default)
    on_request = hypervisors.entry(chosen).privileges is hypervisors.Privileges.ON_REQUEST
    return Instance(
        name=name,
        services=tuple(named),
        hypervisor=chosen,
        networks=(CONTROL, *(entry.networks or (INTERNAL,))),
        memory_mib=entry.memory or sum(service.memory_mib for service in runs),
        vcpus=entry.vcpus or 1,
        disk_gib=entry.disk or max(service.disk_gib for service in runs) + len(runs) - 1,
        state_gib=entry.state or sum(service.state_gib for service in runs),
        privileged=entry.privileged and on_request,
    )
