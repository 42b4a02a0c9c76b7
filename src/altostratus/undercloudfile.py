"""An undercloud's file: which hypervisors it has, and the least that each gets of its node."""

import collections.abc
from typing import Any

from altostratus import errors, hypervisors, yamlfile
from altostratus.hypervisors import Need, Needs
from altostratus.model import UNDERCLOUD, Hypervisor
from altostratus.yamlfile import Document

_KEYS = ("undercloud", "hypervisors")
_SHARE = ("memory", "disk")
_LIKE = "like {docker: {}, baremetal: {}}"


def parse(text: str, file: str) -> Needs:
    """The hypervisors that an undercloud is to have, and what their instances need at least.

    Raises :class:`errors.FindingsError` with everything that is wrong.
    """
    document = yamlfile.parse(text, file)
    findings = [*document.findings, *_findings(document)]
    if findings:
        raise errors.FindingsError(tuple(findings))
    entries = document.data.get("hypervisors") or dict.fromkeys(hypervisors.default())
    order = [name for name in hypervisors.TABLE if name in entries]
    return {Hypervisor(name): _need(entries[name] or {}) for name in order}


def _need(entry: dict[str, Any]) -> Need:
    return Need(entry.get("memory", 0), entry.get("disk", 0))


def _findings(document: Document) -> collections.abc.Iterator[errors.Finding]:
    data = document.data
    if not isinstance(data, dict):
        if not document.findings:
            yield document.finding((), "the file is no mapping of keys", "see examples")
        return
    for key in data:
        if key not in _KEYS:
            yield document.finding((key,), *errors.unknown("key", key, _KEYS))
    if data.get("undercloud") != UNDERCLOUD:
        what = "the key 'undercloud' is missing"
        if "undercloud" in data:
            what = f"the undercloud of a machine cannot be called {data['undercloud']!r}"
        yield document.finding(("undercloud",), what, f"say 'undercloud: {UNDERCLOUD}'")
    entries = data.get("hypervisors", {})
    if not isinstance(entries, dict) or ("hypervisors" in data and not entries):
        yield document.finding(("hypervisors",), "no hypervisors are named", _LIKE)
        return
    for name, entry in entries.items():
        yield from _entry_findings(document, name, entry)


def _entry_findings(
    document: Document, name: str, entry: Any
) -> collections.abc.Iterator[errors.Finding]:
    here = ("hypervisors", name)
    if name not in hypervisors.TABLE:
        yield document.finding(here, *errors.unknown("hypervisor", name, hypervisors.TABLE))
        return
    if not isinstance(entry or {}, dict):
        yield document.finding(here, f"{entry!r} is not a mapping of keys to values", _LIKE)
        return
    for key, value in (entry or {}).items():
        if not hypervisors.entry(name).has_share:
            yield document.finding((*here, key), f"{name} has no share of the node", "leave it out")
        elif key not in _SHARE:
            yield document.finding((*here, key), *errors.unknown("key", key, _SHARE))
        elif type(value) is not int or value < 1:
            yield document.finding((*here, key), f"{value!r} is not a whole number above 0")
