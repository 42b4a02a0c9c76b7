"""The file of bare-metal machines: how their BMCs are reached, and where the passwords are."""

import collections.abc
import dataclasses
import re
from typing import Any

from altostratus import errors, yamlfile
from altostratus.yamlfile import Document

_KEYS = ("bmc", "user", "password_file", "password_env", "verify", "macs")
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")
_MAC = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}")
# Where it is, whether with a user or not, and the path behind that.
_BMC = re.compile(r"(https?://(\S+@)?[^/@\s]+)(/\S*)?")
_LIKE = "like https://192.0.2.10 or https://192.0.2.10:8000/redfish/v1/Systems/1"


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """A machine as its file describes it.

    ``system`` is its path at a BMC that has several. The password is in a file or in a variable of
    the environment. ``verify`` says that the BMC's certificate must be trusted. ``macs`` are of NICs
    that inspection does not find.
    """

    name: str
    bmc: str
    system: str
    user: str
    password_file: str = ""
    password_env: str = ""
    verify: bool = True
    macs: tuple[str, ...] = ()


def parse(text: str, file: str) -> tuple[Wanted, ...]:
    """The machines that a file names.

    Raises :class:`errors.FindingsError` with everything that is wrong with it, and
    :class:`errors.Error` if two are one machine.
    """
    document = yamlfile.parse(text, file)
    findings = [*document.findings, *_findings(document)]
    if findings:
        raise errors.FindingsError(tuple(findings))
    wanted = tuple(_wanted(name, entry) for name, entry in document.data["nodes"].items())
    _refuse_twice(document, wanted)
    return wanted


def _wanted(name: str, entry: dict[str, Any]) -> Wanted:
    url = _BMC.fullmatch(entry["bmc"])
    assert url is not None
    return Wanted(
        name=name,
        bmc=url[1],
        system=(url[3] or "").rstrip("/"),
        user=entry["user"],
        password_file=entry.get("password_file", ""),
        password_env=entry.get("password_env", ""),
        verify=entry.get("verify", True),
        macs=tuple(mac.lower() for mac in entry.get("macs", ())),
    )


def _refuse_twice(document: Document, wanted: tuple[Wanted, ...]) -> None:
    seen: dict[str, str] = {}
    for one in wanted:
        macs = (f"the MAC address {mac}" for mac in one.macs)
        for what in (f"the BMC {one.bmc}{one.system}", *macs):
            if what in seen:
                place = document.place(("nodes", one.name))
                raise errors.Error(f"{place}: {what} is that of the node {seen[what]}, too")
            seen[what] = one.name


def _findings(document: Document) -> collections.abc.Iterator[errors.Finding]:
    data = document.data
    nodes = data.get("nodes") if isinstance(data, dict) else None
    if not isinstance(nodes, dict) or not nodes:
        if not document.findings:
            yield document.finding((), "the file names no nodes", "begin with 'nodes:'")
        return
    for key in data:
        if key != "nodes":
            yield document.finding((key,), *errors.unknown("key", key, ("nodes",)))
    for name, entry in nodes.items():
        here = ("nodes", name)
        if not _NAME.fullmatch(name):
            hint = "lower-case letters, digits, '-' and '.', at most 63"
            yield document.finding(here, f"{name!r} cannot be a node's name", hint)
        if not isinstance(entry, dict):
            yield document.finding(here, "it has no BMC", "say 'bmc' and 'user'")
            continue
        yield from _entry_findings(document, name, entry)


def _entry_findings(
    document: Document, name: str, entry: dict[str, Any]
) -> collections.abc.Iterator[errors.Finding]:
    here = ("nodes", name)
    for key in entry:
        if key not in _KEYS:
            yield document.finding((*here, key), *errors.unknown("key", key, _KEYS))
    url = _BMC.fullmatch(str(entry.get("bmc", "")))
    if url is None:
        yield document.finding((*here, "bmc"), f"{entry.get('bmc')!r} is no BMC's URL", _LIKE)
    elif url[2]:
        message = "the URL of a BMC holds no user"
        yield document.finding((*here, "bmc"), message, "say 'user' and 'password_file'")
    if not isinstance(entry.get("user"), str):
        yield document.finding((*here, "user"), "the key 'user' is missing")
    passwords = [key for key in ("password_file", "password_env") if entry.get(key)]
    if len(passwords) != 1:
        message = "a node has either 'password_file' or 'password_env'"
        yield document.finding(here, message, "passwords are not in this file")
    if not isinstance(entry.get("verify", True), bool):
        yield document.finding((*here, "verify"), f"{entry['verify']!r} is neither true nor false")
    macs = entry.get("macs", [])
    for mac in macs if isinstance(macs, list) else [macs]:
        if not _MAC.fullmatch(str(mac).lower()):
            yield document.finding((*here, "macs"), f"{mac!r} is no MAC address")
