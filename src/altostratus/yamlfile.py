"""YAML as plain data that remembers the line of every key, for findings that name their place."""

import dataclasses
from typing import Any

import yaml

from altostratus import errors

Location = tuple[str | int, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Document:
    """A file's text and plain data, and the line (from 1) of the value at each location in it."""

    file: str
    text: str
    data: Any
    lines: dict[Location, int]
    findings: tuple[errors.Finding, ...]

    def place(self, location: Location) -> errors.Place:
        """Where a location is: its own line, or that of the nearest thing around it."""
        around = location
        while around and around not in self.lines:
            around = around[:-1]
        return errors.Place(self.file, self.lines.get(around, 1), dotted(location))

    def finding(self, location: Location, message: str, hint: str | None = None) -> errors.Finding:
        """A finding at a location."""
        return errors.Finding(self.place(location), message, hint)


def dotted(location: Location) -> str:
    """The location as people write it: ``instances.identity.services[0]``."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def parse(text: str, file: str) -> Document:
    """Read a document; what is wrong with it as YAML is among its findings."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        place = errors.Place(file, mark.line + 1 if mark else 1)
        problem = ", ".join(part for part in (exc.context, exc.problem) if part)
        return Document(file, text, None, {}, (errors.Finding(place, f"not YAML: {problem}"),))
    except yaml.YAMLError as exc:
        finding = errors.Finding(errors.Place(file, 1), f"not YAML: {exc}")
        return Document(file, text, None, {}, (finding,))
    reader = _Reader(file)
    data = reader.read(root, ()) if root else None
    return Document(file, text, data, reader.lines, tuple(reader.findings))


class _Reader:
    """Turns nodes into plain data, noting lines and keys that are given twice."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: dict[Location, int] = {}
        self.findings: list[errors.Finding] = []
        self._scalars = yaml.SafeLoader("")

    def read(self, node: yaml.Node, location: Location) -> Any:
        """The plain data of a node and all below it."""
        self.lines.setdefault(location, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, location)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*location, i)) for i, item in enumerate(node.value)]
        try:
            return self._scalars.construct_object(node, deep=True)
        except (yaml.YAMLError, ValueError) as exc:
            self._note(node, location, f"not understood: {exc}")
            return None

    def _mapping(self, node: yaml.MappingNode, location: Location) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            here = (*location, key)
            if key in data:
                first = self.lines[here]
                self._note(key_node, here, f"the key {key!r} is here again (first: line {first})")
                continue
            self.lines[here] = key_node.start_mark.line + 1
            data[key] = self.read(value_node, here)
        return data

    def _note(self, node: yaml.Node, location: Location, message: str) -> None:
        place = errors.Place(self.file, node.start_mark.line + 1, dotted(location))
        self.findings.append(errors.Finding(place, message))
