"""A deployment file to a model, or all that is wrong with it."""

import ipaddress
import re
from typing import Annotated, Any

import pydantic
import pydantic_core

from altostratus import crosschecks, errors, hypervisors, releases, services, yamlfile
from altostratus.model import (
    CONTROL,
    UNDERCLOUD,
    Hypervisor,
    Instance,
    Network,
    Overcloud,
)
from altostratus.yamlfile import Document, Location

# This host, link-local, multicast, reserved.
_SPECIAL = tuple(
    map(ipaddress.IPv4Network, ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3"))
)
# Of instances that are alike.
_MOST = 64
_LABEL = re.compile(r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?")
_ZONE = re.compile(r"[a-z]([a-z0-9-]{0,62})")
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
    findings += crosschecks.check(document, hypervisor)
    if hypervisor is not None and hypervisor not in hypervisors.names():
        findings.append(
            document.finding((), *errors.unknown("hypervisor", hypervisor, hypervisors.names()))
        )
    if findings or parsed is None:
        raise errors.FindingsError(tuple(findings))
    return _model(parsed, hypervisor)


def _fail(message: str, hint: str | None = None) -> pydantic_core.PydanticCustomError:
    # A template's own braces would be filled in: the message goes in as a value.
    return pydantic_core.PydanticCustomError(
        "altostratus", "{message}", {"message": message, "hint": hint}
    )


def _check_service(name: str) -> str:
    if name not in services.names():
        message, hint = errors.unknown("service", name, services.names())
        if name in services.all_names():
            message = f"the service {name!r} cannot be deployed in an overcloud yet"
        raise _fail(message, hint)
    return name


def _check_hypervisor(name: str) -> str:
    if name not in hypervisors.names():
        raise _fail(*errors.unknown("hypervisor", name, hypervisors.names()))
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


def _check_zone(name: str) -> str:
    if not _ZONE.fullmatch(name):
        raise _fail(f"{name!r} cannot be a zone", "say the name of a node, such as 'undercloud'")
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


def _check_release(name: str) -> str:
    if name not in releases.ALL:
        raise _fail(*errors.unknown("release", name, releases.ALL))
    return name


_Label = Annotated[str, pydantic.AfterValidator(_check_label)]
_NetworkName = Annotated[str, pydantic.AfterValidator(_check_network_name)]
_HypervisorName = Annotated[str, pydantic.AfterValidator(_check_hypervisor)]
_ServiceName = Annotated[str, pydantic.AfterValidator(_check_service)]
_Zone = Annotated[str, pydantic.AfterValidator(_check_zone)]
_Count = Annotated[int, pydantic.Field(strict=True, ge=1)]


# To YAML it is a number.
_Release = Annotated[str, pydantic.BeforeValidator(str), pydantic.AfterValidator(_check_release)]


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class _NetworkEntry(_Strict):
    vlan: Annotated[int, pydantic.Field(strict=True, ge=1, le=4094)]
    cidr: Annotated[str, pydantic.AfterValidator(_check_cidr)]


class _InstanceEntry(_Strict):
    services: Annotated[list[_ServiceName], pydantic.Field(min_length=1)]
    hypervisor: _HypervisorName | None = None
    count: Annotated[int, pydantic.Field(strict=True, ge=1, le=_MOST)] | None = None
    networks: list[_NetworkName] | None = None
    memory: Annotated[int, pydantic.Field(strict=True, ge=128)] | None = None
    vcpus: _Count | None = None
    disk: _Count | None = None
    state: Annotated[int, pydantic.Field(strict=True, ge=1, le=16384)] | None = None
    zone: _Zone | None = None
    privileged: Annotated[bool, pydantic.Field(strict=True)] = False


class _File(_Strict):
    overcloud: _Label
    release: _Release = releases.LATEST
    default_hypervisor: _HypervisorName = crosschecks.DEFAULT_HYPERVISOR
    networks: dict[_NetworkName, _NetworkEntry] = pydantic.Field(
        default_factory=lambda: {
            name: _NetworkEntry.model_validate(entry)
            for name, entry in crosschecks.DEFAULT_NETWORKS.items()
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
        return document.finding(location, *errors.unknown("key", key, _keys_at(location)))
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


def _model(parsed: _File, hypervisor: str | None) -> Overcloud:
    default = hypervisor or parsed.default_hypervisor
    cloud = {service for entry in parsed.instances.values() for service in entry.services}
    return Overcloud(
        name=parsed.overcloud,
        networks=tuple(
            Network(name, entry.vlan, ipaddress.IPv4Network(entry.cidr))
            for name, entry in parsed.networks.items()
        ),
        instances=tuple(
            _instance(
                name, entry, default, services.networks(_ordered(entry), cloud, parsed.networks)
            )
            for key, entry in parsed.instances.items()
            for name in crosschecks.members(key, entry.model_dump(exclude_none=True))
        ),
        ntp=tuple(parsed.ntp),
        release=parsed.release,
    )


def _ordered(entry: _InstanceEntry) -> tuple[str, ...]:
    return tuple(service for service in services.names() if service in entry.services)


def _instance(
    name: str, entry: _InstanceEntry, default: str, networks: tuple[str, ...]
) -> Instance:
    named = _ordered(entry)
    runs = [services.get(service) for service in named]
    chosen = Hypervisor(entry.hypervisor or default)
    on_request = hypervisors.entry(chosen).privileges is hypervisors.Privileges.ON_REQUEST
    return Instance(
        name=name,
        services=named,
        hypervisor=chosen,
        networks=(CONTROL, *(entry.networks or networks)),
        memory_mib=entry.memory or sum(service.memory_mib for service in runs),
        vcpus=entry.vcpus or 1,
        disk_gib=entry.disk or max(service.disk_gib for service in runs) + len(runs) - 1,
        state_gib=entry.state or sum(service.state_gib for service in runs),
        privileged=entry.privileged and on_request,
        zone=entry.zone,
    )
