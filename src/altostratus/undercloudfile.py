"""An undercloud's file to what is asked for, or all that is wrong with it."""

import collections.abc
import dataclasses
from typing import Annotated, Any

import pydantic
import pydantic_core

from altostratus import errors, fields, hypervisors, nodes, sitefile, yamlfile
from altostratus.hypervisors import FLOOR, Need, Needs
from altostratus.model import UNDERCLOUD, Hypervisor, Site
from altostratus.yamlfile import Document

_LIKE = "like {docker: {}, lxc: {memory: 4096, disk: 12}}"


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """What an undercloud is to be: its hypervisors with the least that each gets of its own node,
    the further nodes that it is to have besides those that it has, and its site."""

    hypervisors: Needs
    nodes: collections.abc.Mapping[str, nodes.Asked]
    site: Site


def parse(text: str, file: str) -> Asked:
    """What an undercloud's file asks for.

    Raises :class:`errors.FindingsError` with everything that is wrong.
    """
    document = yamlfile.parse(text, file)
    parsed, findings = fields.validated(document, _File, _translate)
    findings += [*_shares_of_whole_machines(document), *sitefile.findings(document)]
    if findings or parsed is None:
        raise errors.FindingsError(tuple(findings))
    return Asked(
        hypervisors=_needs(parsed.hypervisors),
        nodes={name: _node(entry or _NodeEntry()) for name, entry in parsed.nodes.items()},
        site=sitefile.site(parsed),
    )


def _check_name(name: str) -> str:
    if name != UNDERCLOUD:
        raise fields.fail(
            f"the undercloud of a machine cannot be called {name!r}", f"say '{UNDERCLOUD}'"
        )
    return name


def _check_hypervisor(name: str) -> str:
    if name not in hypervisors.TABLE:
        raise fields.fail(*errors.unknown("hypervisor", name, hypervisors.TABLE))
    return name


def _check_of_node(name: str) -> str:
    if name not in hypervisors.default():
        raise fields.fail(*errors.unknown("hypervisor of a node", name, hypervisors.default()))
    return name


def _check_node(name: str) -> str:
    try:
        nodes.refuse_name(name)
    except errors.Error as exc:
        raise fields.fail(exc.message, exc.hint) from exc
    return name


def _usual() -> dict[str, Any]:
    return {str(name): None for name in hypervisors.default()}


_Positive = Annotated[int, pydantic.Field(strict=True, ge=1)]
_Name = Annotated[str, pydantic.AfterValidator(_check_hypervisor)]
_NameOfNode = Annotated[str, pydantic.AfterValidator(_check_of_node)]
_NodeName = Annotated[str, pydantic.AfterValidator(_check_node)]


class _Least(fields.Strict):
    memory: _Positive | None = None
    disk: _Positive | None = None


class _Part(fields.Strict):
    memory: Annotated[int, pydantic.Field(strict=True, ge=FLOOR.memory_mib)] | None = None
    disk: Annotated[int, pydantic.Field(strict=True, ge=FLOOR.disk_gib)] | None = None


class _NodeEntry(fields.Strict):
    hypervisors: Annotated[dict[_NameOfNode, _Part | None], pydantic.Field(min_length=1)] = (
        pydantic.Field(default_factory=_usual)
    )


class _File(sitefile.Entries):
    undercloud: Annotated[str, pydantic.AfterValidator(_check_name)]
    hypervisors: Annotated[dict[_Name, _Least | None], pydantic.Field(min_length=1)] = (
        pydantic.Field(default_factory=_usual)
    )
    nodes: dict[_NodeName, _NodeEntry | None] = pydantic.Field(default_factory=dict)


def _translate(document: Document, error: pydantic_core.ErrorDetails) -> errors.Finding:
    """A finding in our words from pydantic's."""
    location = error["loc"]
    if location == () and error["input"] is None:
        return document.finding((), "the file is empty", "see examples/undercloud")
    if error["type"] == "too_short":
        return document.finding(location, "no hypervisors are named", _LIKE)
    return fields.finding(document, error, _File)


def _shares_of_whole_machines(document: Document) -> collections.abc.Iterator[errors.Finding]:
    """What is said of the share of a hypervisor that has none."""
    entries = document.data.get("hypervisors") if isinstance(document.data, dict) else None
    for name, entry in entries.items() if isinstance(entries, dict) else ():
        if name not in hypervisors.TABLE or hypervisors.entry(name).has_share:
            continue
        for key in entry if isinstance(entry, dict) else ():
            message = f"{name} has no share of the node"
            yield document.finding(("hypervisors", name, key), message, "leave it out")


def _needs(entries: collections.abc.Mapping[str, Any]) -> dict[Hypervisor, Need]:
    order = [name for name in hypervisors.TABLE if name in entries]
    return {
        Hypervisor(name): Need(entry.memory or 0, entry.disk or 0) if entry else Need()
        for name in order
        for entry in [entries[name]]
    }


def _node(entry: _NodeEntry) -> nodes.Asked:
    parts = _needs(entry.hypervisors)
    return nodes.Asked(tuple(parts), parts=parts)
