"""The part of an undercloud's file that is about its site: networks, names, servers of others."""

import collections.abc
import dataclasses
import ipaddress
import re
from typing import Annotated, Any

import pydantic

from altostratus import errors, fields
from altostratus.model import (
    CONTROL,
    MANAGEMENT_NIC,
    OWN_CIDRS,
    ControlNetwork,
    Site,
    control_network,
)
from altostratus.yamlfile import Document

# Before the pool are the undercloud, its DHCP port and its nodes; it begins with the 20th.
_MOST_BITS = 27
_LABEL = r"(?!-)[a-z0-9-]{1,63}(?<!-)"
# The last one has a letter: what has none is a mistaken address.
_HOST = re.compile(rf"(?=.{{1,253}}$)({_LABEL}\.)*(?=[0-9-]*[a-z]){_LABEL}")
_NIC = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")
_POOL = ("networks", CONTROL, "pool")


def _check_host(given: str) -> str:
    if not _HOST.fullmatch(given):
        try:
            ipaddress.IPv4Address(given)
        except ValueError as exc:
            raise fields.fail(
                f"{given!r} is neither a host name nor an IPv4 address",
                "like cloud.example.org or 192.0.2.10, in small letters",
            ) from exc
    return given


def _check_nic(given: str) -> str:
    if not _NIC.fullmatch(given):
        raise fields.fail(f"{given!r} cannot be the name of a NIC", "as 'ip link' shows it")
    if given == MANAGEMENT_NIC:
        raise fields.fail(
            f"{given} is the undercloud's way out, and cannot be its control network's, too",
            "name another NIC",
        )
    return given


_Host = Annotated[str, pydantic.AfterValidator(_check_host)]


class _Pool(fields.Strict):
    start: fields.Address
    end: fields.Address


class _Control(fields.Strict):
    cidr: fields.Cidr | None = None
    address: fields.Address | None = None
    dhcp: fields.Address | None = None
    pool: _Pool | None = None


class Networks(fields.Strict):
    """The networks that an undercloud has by itself."""

    control: _Control = pydantic.Field(default_factory=_Control)


class _Mapping(fields.Strict):
    nic: Annotated[str, pydantic.AfterValidator(_check_nic)]


class Mappings(fields.Strict):
    """Where the undercloud's physical networks go on outside of it."""

    control: _Mapping | None = None


class Tls(fields.Strict):
    """What the undercloud's certificate is for besides its own address."""

    names: list[_Host] = pydantic.Field(default_factory=list)


class Entries(fields.Strict):
    """The keys of a file that are about its site."""

    networks: Networks = pydantic.Field(default_factory=Networks)
    bridge_mappings: Mappings = pydantic.Field(default_factory=Mappings)
    tls: Tls = pydantic.Field(default_factory=Tls)
    dns: list[fields.Address] = pydantic.Field(default_factory=list)
    ntp: list[_Host] = pydantic.Field(default_factory=list)


def site(entries: Entries) -> Site:
    """What entries without a finding say."""
    mapping = entries.bridge_mappings.control
    return Site(
        control=_control(entries.networks.control),
        dns=tuple(dict.fromkeys(entries.dns)),
        ntp=tuple(dict.fromkeys(entries.ntp)),
        tls_names=tuple(dict.fromkeys(entries.tls.names)),
        nic=mapping.nic if mapping else None,
    )


def findings(document: Document) -> collections.abc.Iterator[errors.Finding]:
    """What no single value shows; reads what is well formed and passes over the rest."""
    data = document.data if isinstance(document.data, dict) else {}
    networks = data.get("networks")
    given = networks.get(CONTROL, {}) if isinstance(networks, dict) else {}
    try:
        entry = _Control.model_validate(given)
    except pydantic.ValidationError:
        return
    cidr = _cidr(entry)
    here = ("networks", CONTROL, "cidr")
    if cidr.prefixlen > _MOST_BITS:
        message = f"{cidr} has too few addresses for the undercloud, its nodes and instances"
        yield document.finding(here, message, f"a prefix of {_MOST_BITS} bits at most")
        return
    for taken in map(ipaddress.IPv4Network, OWN_CIDRS):
        if cidr.overlaps(taken):
            message = f"{cidr} overlaps {taken}, which the undercloud has on this machine"
            yield document.finding(here, message, "choose another")
    yield from _misplaced(document, _control(entry))


def _misplaced(
    document: Document, control: ControlNetwork
) -> collections.abc.Iterator[errors.Finding]:
    """The addresses on the control network that cannot be where they are."""
    here = ("networks", CONTROL)
    first, last = control.cidr[1], control.cidr[-2]
    given: list[tuple[tuple[str, ...], ipaddress.IPv4Address]] = [
        ((*here, "address"), control.address),
        ((*here, "dhcp"), control.dhcp_address),
        ((*_POOL, "start"), control.pool_start),
        ((*_POOL, "end"), control.pool_end),
    ]
    for location, address in given:
        if not first <= address <= last:
            message = f"{address} is no address for a host in {control.cidr}"
            yield document.finding(location, message, f"from {first} to {last}")
    if control.pool_start > control.pool_end:
        message = f"the pool begins with {control.pool_start}, behind its end {control.pool_end}"
        yield document.finding(_POOL, message, "exchange them")
    for location, address in given[:2]:
        if control.pool_start <= address <= control.pool_end:
            message = f"{address} is in the pool, from which instances have their addresses"
            yield document.finding(location, message, "choose one before the pool")
    if control.address == control.dhcp_address:
        message = f"{control.address} is the undercloud's own address, too"
        yield document.finding((*here, "dhcp"), message, "choose another")


def _cidr(entry: _Control) -> ipaddress.IPv4Network:
    return ipaddress.IPv4Network(entry.cidr) if entry.cidr else ControlNetwork().cidr


def _control(entry: _Control) -> ControlNetwork:
    said = {
        "address": entry.address,
        "dhcp_address": entry.dhcp,
        "pool_start": entry.pool.start if entry.pool else None,
        "pool_end": entry.pool.end if entry.pool else None,
    }
    addresses: dict[str, Any] = {
        key: ipaddress.IPv4Address(value) for key, value in said.items() if value
    }
    return dataclasses.replace(control_network(_cidr(entry)), **addresses)
