"""A deployment file to a model, or all that is wrong with it."""

import ipaddress
import re
from typing import Annotated, Any

import pydantic
import pydantic_core

from altostratus import crosschecks, errors, fields, hypervisors, releases, services, yamlfile
from altostratus.model import (
    CONTROL,
    UNDERCLOUD,
    Hypervisor,
    Instance,
    Network,
    Overcloud,
)
from altostratus.yamlfile import Document

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
    parsed, findings = fields.validated(document, _File, _translate)
    findings += crosschecks.check(document, hypervisor)
    if hypervisor is not None and hypervisor not in hypervisors.names():
        findings.append(
            document.finding((), *errors.unknown("hypervisor", hypervisor, hypervisors.names()))
        )
    if findings or parsed is None:
        raise errors.FindingsError(tuple(findings))
    return _model(parsed, hypervisor)


def _check_service(name: str) -> str:
    if name not in services.names():
        message, hint = errors.unknown("service", name, services.names())
        if name in services.all_names():
            message = f"the service {name!r} cannot be deployed in an overcloud yet"
        raise fields.fail(message, hint)
    return name


def _check_hypervisor(name: str) -> str:
    if name not in hypervisors.names():
        raise fields.fail(*errors.unknown("hypervisor", name, hypervisors.names()))
    return name


def _check_hypervisors(given: Any) -> tuple[str, ...]:
    """One word or a list of them, for instances that are alike in turn."""
    names = given if isinstance(given, list) else [given]
    for name in names:
        if not isinstance(name, str):
            raise fields.fail(f"{name!r} should be a valid string")
        _check_hypervisor(name)
    if not names:
        raise fields.fail("no hypervisor is named", "name one at least, or leave the key out")
    return tuple(names)


def _check_label(name: str) -> str:
    if name == UNDERCLOUD:
        raise fields.fail("the name 'undercloud' is taken", "name it otherwise")
    if not _LABEL.fullmatch(name):
        raise fields.fail(
            f"{name!r} cannot be a name",
            "a letter, then letters, digits and '-', at most 32, all lower case: it becomes"
            " part of host names",
        )
    return name


def _check_zone(name: str) -> str:
    if not _ZONE.fullmatch(name):
        raise fields.fail(
            f"{name!r} cannot be a zone", "say the name of a node, such as 'undercloud'"
        )
    return name


def _check_network_name(name: str) -> str:
    if name == CONTROL:
        raise fields.fail(
            "the network 'control' is the undercloud's; every instance is on it", "leave it out"
        )
    if not _NETWORK_NAME.fullmatch(name):
        raise fields.fail(
            f"{name!r} cannot be a network's name",
            "a letter, then letters, digits, '-' and '_', at most 32, all lower case",
        )
    return name


def _check_release(name: str) -> str:
    if name not in releases.ALL:
        raise fields.fail(*errors.unknown("release", name, releases.ALL))
    return name


_Label = Annotated[str, pydantic.AfterValidator(_check_label)]
_NetworkName = Annotated[str, pydantic.AfterValidator(_check_network_name)]
_HypervisorName = Annotated[str, pydantic.AfterValidator(_check_hypervisor)]
_HypervisorNames = Annotated[tuple[str, ...], pydantic.BeforeValidator(_check_hypervisors)]
_ServiceName = Annotated[str, pydantic.AfterValidator(_check_service)]
_Zone = Annotated[str, pydantic.AfterValidator(_check_zone)]
_Count = Annotated[int, pydantic.Field(strict=True, ge=1)]


# To YAML it is a number.
_Release = Annotated[str, pydantic.BeforeValidator(str), pydantic.AfterValidator(_check_release)]


class _NetworkEntry(fields.Strict):
    vlan: Annotated[int, pydantic.Field(strict=True, ge=1, le=4094)]
    cidr: fields.Cidr


class _InstanceEntry(fields.Strict):
    services: Annotated[list[_ServiceName], pydantic.Field(min_length=1)]
    hypervisor: _HypervisorNames | None = None
    count: Annotated[int, pydantic.Field(strict=True, ge=1, le=_MOST)] | None = None
    networks: list[_NetworkName] | None = None
    memory: Annotated[int, pydantic.Field(strict=True, ge=128)] | None = None
    vcpus: _Count | None = None
    disk: _Count | None = None
    state: Annotated[int, pydantic.Field(strict=True, ge=1, le=16384)] | None = None
    zone: _Zone | None = None
    privileged: Annotated[bool, pydantic.Field(strict=True)] = False


class _File(fields.Strict):
    overcloud: _Label
    release: _Release = releases.LATEST
    default_hypervisor: _HypervisorName = crosschecks.DEFAULT_HYPERVISOR
    networks: dict[_NetworkName, _NetworkEntry] = pydantic.Field(
        default_factory=lambda: {
            name: _NetworkEntry.model_validate(entry)
            for name, entry in crosschecks.DEFAULT_NETWORKS.items()
        }
    )
    ntp: list[fields.Address] = pydantic.Field(default_factory=list)
    instances: Annotated[dict[_Label, _InstanceEntry], pydantic.Field(min_length=1)]


def _translate(document: Document, error: pydantic_core.ErrorDetails) -> errors.Finding:
    """A finding in our words from pydantic's."""
    location = error["loc"]
    if error["type"] == "too_short":
        what = "services" if location[-1:] == ("services",) else "instances"
        whose = f"the instance {location[-2]!r}" if what == "services" else "the overcloud"
        return document.finding(location, f"{whose} has no {what}", "name one at least")
    if location == () and error["input"] is None:
        return document.finding((), "the file is empty", "see examples/quickstart.yaml")
    return fields.finding(document, error, _File)


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
                name,
                entry,
                names[number % len(names)],
                services.networks(_ordered(entry), cloud, parsed.networks),
                key if entry.count else None,
            )
            for key, entry in parsed.instances.items()
            for names in [entry.hypervisor or (default,)]
            for number, name in enumerate(
                crosschecks.members(key, entry.model_dump(exclude_none=True))
            )
        ),
        ntp=tuple(parsed.ntp),
        release=parsed.release,
    )


def _ordered(entry: _InstanceEntry) -> tuple[str, ...]:
    return tuple(service for service in services.names() if service in entry.services)


def _instance(
    name: str,
    entry: _InstanceEntry,
    hypervisor: str,
    networks: tuple[str, ...],
    group: str | None,
) -> Instance:
    named = _ordered(entry)
    runs = [services.get(service) for service in named]
    on_request = hypervisors.entry(hypervisor).privileges is hypervisors.Privileges.ON_REQUEST
    return Instance(
        name=name,
        services=named,
        hypervisor=Hypervisor(hypervisor),
        networks=(CONTROL, *(entry.networks or networks)),
        memory_mib=entry.memory or sum(service.memory_mib for service in runs),
        vcpus=entry.vcpus or 1,
        disk_gib=entry.disk or max(service.disk_gib for service in runs) + len(runs) - 1,
        state_gib=entry.state or sum(service.state_gib for service in runs),
        privileged=entry.privileged and on_request,
        zone=entry.zone,
        group=group,
    )
