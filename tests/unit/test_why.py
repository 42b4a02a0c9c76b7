"""Why an instance is where it is: facts in, the text that people read out; kept in golden files.

A case is a folder of tests/explained: ``facts.json`` replaces fields of the facts below, and those
of compute processes by name (null: it is not there). ``ALTOSTRATUS_GOLDEN=write`` writes anew.
"""

import json
import os
import pathlib
from typing import Any

import pydantic
import pytest

from altostratus import hypervisors, scheduling, why
from altostratus.model import Hypervisor, Instance
from altostratus.observed import Provider
from altostratus.scheduling import Aggregate, Facts, Process

_FOLDER = pathlib.Path(__file__).parents[1] / "explained"
_FACTS = pydantic.TypeAdapter(Facts)
_EXPLANATION = pydantic.TypeAdapter(why.Explanation)
_LXC = hypervisors.entry("lxc")
_TYPES = {name: hypervisors.entry(name).hypervisor_type for name in hypervisors.default()}


@pytest.mark.parametrize("case", sorted(path.name for path in _FOLDER.iterdir()))
def test_case(case: str) -> None:
    folder = _FOLDER / case
    facts = changed(json.loads((folder / "facts.json").read_text()))
    text = why.to_text(why.explain(facts, "overcloud.yaml"))
    if os.environ.get("ALTOSTRATUS_GOLDEN") == "write":
        (folder / "why.txt").write_text(text)
    assert text == (folder / "why.txt").read_text()


def test_programs_are_told_the_same() -> None:
    found = why.explain(changed({}), "overcloud.yaml")
    assert _EXPLANATION.validate_json(why.to_json(found)) == found


def changed(changes: dict[str, Any]) -> Facts:
    """The facts with these changes."""
    facts = _FACTS.dump_python(_placed(), mode="json")
    processes = {one["provider"]["name"]: one for one in facts["processes"]}
    for name, change in changes.pop("processes", {}).items():
        if change is None:
            del processes[name]
            continue
        # One that is not there yet is like the LXC one.
        like = processes.get(name, processes["undercloud-lxc"])
        provider = like["provider"] | {"name": name} | change.pop("provider", {})
        processes[name] = like | change | {"provider": provider}
    for key, value in changes.items():
        facts[key] = facts[key] | value if isinstance(facts[key], dict) and value else value
    return _FACTS.validate_python(facts | {"processes": list(processes.values())})


def _placed() -> Facts:
    """A database on LXC, in an undercloud of one node with all hypervisors."""
    return Facts(
        overcloud="demo",
        instance=Instance("database", ("mariadb",), Hypervisor("lxc"), ("control",), 1024, 1, 2, 4),
        demand=scheduling.demand(
            *(1024, 1, 2),
            _LXC.flavor_properties,
            _LXC.image_properties,
            "altostratus-mariadb-lxc",
        ),
        processes=tuple(map(_process, hypervisors.default())),
        aggregates=tuple(
            Aggregate(f"id-of-{name}", f"hypervisor-{name}", frozenset([_trait(name)]))
            for name in hypervisors.default()
        ),
        candidates=frozenset(["undercloud-lxc"]),
        server=scheduling.Server("id-of-database", "demo-database", "ACTIVE", "undercloud-lxc"),
        record=scheduling.Record(silence="has no refusal of this server in its journal"),
        is_deployed=True,
    )


def _process(name: str) -> Process:
    # The database itself is among what is used of LXC.
    used = (1024, 2) if name == "lxc" else (0, 0)
    return Process(
        provider=Provider(f"undercloud-{name}", Hypervisor(name), 6144, 20, *used),
        node="undercloud",
        hypervisor_type=_TYPES[name],
        traits=frozenset([_trait(name), "COMPUTE_NODE", "OWNER_NOVA"]),
        aggregates=frozenset([f"id-of-{name}"]),
    )


def _trait(name: str) -> str:
    return hypervisors.entry(name).trait
