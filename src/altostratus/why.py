"""Why an instance runs where it does, or nowhere: each compute process, and the shortest fix.

Pure: facts in, an explanation out.
"""

import collections.abc
import dataclasses
import json

from altostratus import hypervisors, obstacles, room, scheduling, table
from altostratus.obstacles import Aspect, Obstacle
from altostratus.scheduling import Demand, Facts, Process, Record, Server

_FINE = "ok"
_BINDING_FAILED = "Binding failed for port"
# What the filters of the undercloud look at, for those that left nothing.
_FILTERS = {
    "ComputeFilter": "which wants a compute process that is enabled and up",
    "ComputeCapabilitiesFilter": "which wants what the flavor asks of a compute process",
    "ImagePropertiesFilter": "which wants the hypervisor type of the image",
    "ServerGroupAntiAffinityFilter": "which keeps the servers of a group apart",
    "ServerGroupAffinityFilter": "which keeps the servers of a group together",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """A compute process: what it has of each aspect, in words, and what speaks against it."""

    process: str
    hypervisor: str
    node: str
    aspects: dict[str, str]
    obstacles: tuple[Obstacle, ...]
    verdict: str


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """What came of it, in words, and what to do, if there is something."""

    text: str
    fix: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Explanation:
    """Where an instance is and why, and what to do if that is nowhere.

    ``query`` is what Placement was asked, ``candidates`` what it offers now.
    """

    overcloud: str
    instance: str
    hypervisor: str
    host: str | None
    demand: str
    server: str
    query: str
    candidates: tuple[str, ...]
    scheduler: str
    rows: tuple[Row, ...]
    result: Result


def explain(facts: Facts, file: str) -> Explanation:
    """The explanation; ``file`` is the name of the deployment file, for commands."""
    own = facts.instance.hypervisor
    order = sorted(
        facts.processes, key=lambda one: (one.provider.hypervisor != own, one.provider.name)
    )
    rows = tuple(_row(facts, one, file) for one in order)
    query = scheduling.query(facts.demand, facts.aggregates, facts.instance.zone)
    return Explanation(
        overcloud=facts.overcloud,
        instance=facts.instance.name,
        hypervisor=str(own),
        host=facts.server.host if facts.server else None,
        demand=_demand(facts.demand),
        server=_server(facts.server),
        query="&".join(f"{key}={value}" for key, value in query),
        candidates=tuple(sorted(facts.candidates)),
        scheduler=_scheduler(facts.record),
        rows=rows,
        result=_result(facts, rows, file),
    )


def to_text(found: Explanation) -> str:
    """The explanation for people."""
    rows = [("PROCESS", "NODE", *(one.upper() for one in Aspect), "VERDICT")]
    rows += [
        (one.process, one.node, *(one.aspects[aspect] for aspect in Aspect), one.verdict)
        for one in found.rows
    ]
    lines = [
        f"Instance {found.instance} of the overcloud {found.overcloud}, on {found.hypervisor}",
        f"asks for   {found.demand}",
        f"server     {found.server}",
        f"placement  offers{_more(found)}: {', '.join(found.candidates) or 'nothing'}",
        f"           {found.query}",
        f"scheduler  {found.scheduler}",
        *table.lines(rows),
        found.result.text,
    ]
    if found.result.fix:
        lines.append(f"Shortest fix: {found.result.fix}")
    return "\n".join(lines) + "\n"


def to_json(found: Explanation) -> str:
    """The explanation for programs."""
    return json.dumps(dataclasses.asdict(found), indent=2) + "\n"


def _more(found: Explanation) -> str:
    return " for another like it" if found.host else ""


def _demand(wanted: Demand) -> str:
    parts = [f"{amount} {name}" for name, amount in wanted.resources.items()]
    if "VCPU" not in wanted.resources:
        parts.append("a share of the processors")
    parts += sorted(wanted.traits)
    if wanted.hypervisor_type:
        parts.append(f"image type {wanted.hypervisor_type}")
    return ", ".join(parts)


def _server(server: Server | None) -> str:
    if server is None:
        return "there is none"
    text = f"{server.name} ({server.id}) is {server.status}"
    return f"{text}: {server.fault}" if server.fault else text


def _scheduler(record: Record) -> str:
    if record.had_no_candidates:
        return "had no candidates from Placement, so that no filter was asked"
    if not record.filters:
        return record.silence or "wrote nothing"
    left = [f"{one.name} left {one.end} of {one.start}" for one in record.filters]
    last = record.filters[-1].name
    return ", ".join(left) + (f", {_FILTERS[last]}" if last in _FILTERS else "")


def _row(facts: Facts, process: Process, file: str) -> Row:
    found = obstacles.find(facts, process, file)
    aspects = {str(aspect): _FINE for aspect in Aspect}
    aspects |= {Aspect.IMAGE_TYPE: process.hypervisor_type or "-"}
    aspects |= {
        one.key: f"{one.wanted[0]} of {one.free[0]} free {one.unit.split()[0]}"
        for one in obstacles.amounts(facts, process)
    }
    is_offered = process.provider.name in facts.candidates
    aspects |= {Aspect.PLACEMENT: "offered" if is_offered else "-"}
    aspects |= {one.aspect: one.short for one in found}
    return Row(
        process=process.provider.name,
        hypervisor=str(process.provider.hypervisor),
        node=process.node,
        aspects={str(aspect): text for aspect, text in aspects.items()},
        obstacles=found,
        verdict=_verdict(obstacles.is_there(facts, process), found),
    )


def _verdict(is_there: bool, against: tuple[Obstacle, ...]) -> str:
    if is_there:
        return "is there"
    return "no" if against else "takes it"


def _result(facts: Facts, rows: collections.abc.Sequence[Row], file: str) -> Result:
    server = facts.server
    if server and server.status == "ERROR" and (server.failed_on or server.host):
        return _failed(facts, server)
    if server and server.host:
        return _placed(server.host, rows)
    own = [one for one in rows if one.hypervisor == facts.instance.hypervisor]
    if not own:
        there = ", ".join(sorted({one.hypervisor for one in rows})) or "none"
        text = f"No host: the undercloud has no hypervisor {facts.instance.hypervisor}"
        return Result(f"{text}; it has: {there}", "./altostratus undercloud up")
    takers = [one.process for one in own if not one.obstacles]
    if takers:
        return _could(server, takers, file)
    # The fewest obstacles, and the first compute process where they are as many.
    nearest = min(own, key=lambda one: len(one.obstacles))
    fixes = dict.fromkeys(one.fix for one in nearest.obstacles)
    against = _against(nearest)
    return Result(f"No host; nearest is {nearest.process}: {against}", "; then ".join(fixes))


def _failed(facts: Facts, server: Server) -> Result:
    host = str(server.failed_on or server.host)
    text = f"It was placed on {host} and failed there"
    node = hypervisors.node_of(host, facts.instance.hypervisor)
    if server.unbound or _BINDING_FAILED in (server.fault or ""):
        return Result(f"{text}: Neutron could not bind its ports", obstacles.mend_network(node))
    log = f"{room.shell(node)} journalctl -u nova-compute@{facts.instance.hypervisor} -n 50"
    return Result(f"{text}: {server.fault or 'Nova does not say why'}", log)


def _placed(host: str, rows: collections.abc.Sequence[Row]) -> Result:
    here = next((one for one in rows if one.process == host), None)
    if here is not None and here.obstacles:
        text = f"It runs on {host}, and would not be placed there now: {_against(here)}"
        return Result(text, here.obstacles[0].fix)
    others = [one.process for one in rows if one.process != host and not one.obstacles]
    if others:
        names = ", ".join(others)
        return Result(f"It runs on {host} because Nova preferred it; {names} would take it, too")
    return Result(f"It runs on {host} because no other compute process takes it")


def _could(server: Server | None, takers: collections.abc.Sequence[str], file: str) -> Result:
    names = " or ".join(takers)
    deploy = f"./altostratus overcloud deploy {file}"
    if server is None:
        return Result(f"It is not there yet, and would run on {names}", deploy)
    if server.status == "BUILD":
        return Result(f"Nova has not placed it yet; {names} would take it")
    return Result(f"No host when Nova looked for one; now {names} would take it", deploy)


def _against(row: Row) -> str:
    return "; ".join(one.text for one in row.obstacles)
