"""What an overcloud is at: its instances, how long they took, and where its endpoints are."""

import collections.abc
import concurrent.futures
import dataclasses
import datetime
import functools
from typing import Any

import openstack

from altostratus import (
    administrator,
    certificates,
    cloud,
    credentials,
    glance,
    heat,
    hypervisors,
    observed,
    outages,
    services,
    stack,
    survey,
    table,
    usage,
)
from altostratus.certificates import Certificate
from altostratus.model import CONTROL, Overcloud
from altostratus.observed import Deployed, Observed, Server
from altostratus.outages import Outage

_MISSING = "-"
_UNKNOWN = "unknown"
_WANTED = "ACTIVE"
_GONE = "gone"
_MEND = "mend it: ./altostratus overcloud deploy"


@dataclasses.dataclass(frozen=True, slots=True)
class InstanceStatus:
    """An instance; times are seconds from the request for its server.

    ``wanted`` is the state that the deployment file wants. ``configured_at`` is when it last said
    that it is configured, in UTC. ``image`` is the digest of its image, ``drift`` what is not as it
    was configured, in words. ``cpu_percent`` is of one processor. ``node`` is the one that it is on,
    if it has not a machine to itself.
    """

    name: str
    services: tuple[str, ...]
    hypervisor: str
    wanted: str
    state: str
    addresses: dict[str, str]
    active_s: float | None = None
    configured_s: float | None = None
    configured_at: str | None = None
    memory_mib: int | None = None
    memory_limit_mib: int | None = None
    cpu_percent: float | None = None
    image: str | None = None
    drift: tuple[str, ...] = ()
    node: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class ServiceStatus:
    """A service: the version of its software, as far as its image has it noted; where its users
    reach it, and whether it answers there, if it has users."""

    name: str
    instance: str
    version: str | None
    url: str | None
    answers: bool | None


@dataclasses.dataclass(frozen=True, slots=True)
class Status:
    """An overcloud as it is."""

    overcloud: str
    stack: str
    instances: tuple[InstanceStatus, ...]
    services: tuple[ServiceStatus, ...]
    endpoints: dict[str, str]
    credentials: str
    certificates: tuple[Certificate, ...] = ()
    outages: tuple[Outage, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Facts:
    """What a status shows beside what planning looks at.

    ``servers`` are Nova's by instance, ``configured`` moments by server, ``versions`` those of
    services by image, ``before`` and ``after`` two looks at what servers use, ``answers`` by URL.
    """

    servers: collections.abc.Mapping[str, Any]
    configured: collections.abc.Mapping[str, str]
    versions: collections.abc.Mapping[str, collections.abc.Mapping[str, str]]
    before: collections.abc.Mapping[str, usage.Look]
    after: collections.abc.Mapping[str, usage.Look]
    answers: collections.abc.Mapping[str, bool]


def read(overcloud: Overcloud) -> Status:
    """Look at an overcloud."""
    undercloud = cloud.connect("undercloud")
    servers = {
        server.metadata[stack.INSTANCE]: server
        for server in undercloud.compute.servers()
        if (server.metadata or {}).get(stack.OVERCLOUD) == overcloud.name
    }
    # What they use of processors is seen between two looks: the others take their time.
    before = usage.read(undercloud, [server.id for server in servers.values()])
    found = survey.read(undercloud, overcloud)
    facts = Facts(
        servers=servers,
        configured=_configured(undercloud),
        versions=glance.versions(undercloud),
        answers=_answers(found),
        before=before,
        after=usage.read(undercloud, before),
    )
    return describe(overcloud, found.observed, facts)


def describe(overcloud: Overcloud, seen: Observed, facts: Facts) -> Status:
    """The status of what was seen."""
    deployed = seen.stack.instances if seen.stack else {}
    return Status(
        overcloud=overcloud.name,
        stack=seen.stack.status if seen.stack else "not deployed",
        instances=tuple(_instances(overcloud, seen, facts)) if seen.stack else (),
        services=tuple(
            _service(seen, facts, name, service)
            for name, one in deployed.items()
            for service in one.services
        ),
        endpoints=_endpoints(seen),
        credentials=f"{credentials.path()} (cloud: overcloud)" if seen.credentials else _MISSING,
        certificates=seen.certificates,
        outages=outages.find(seen),
    )


def to_text(status: Status) -> str:
    """The status for people."""
    lines = [f"Overcloud {status.overcloud}: {status.stack}"]
    if status.instances:
        lines += table.lines([_INSTANCE_HEADING, *map(_instance_row, status.instances)])
    if status.services:
        lines += table.lines([_SERVICE_HEADING, *map(_service_row, status.services)])
    lines.append(f"credentials  {status.credentials}")
    lines += certificate_lines(status.certificates)
    lines += warnings(status.certificates)
    lines += [f"warning: {outages.to_text(one)}" for one in status.outages]
    lines += [
        f"warning: {one.name}: {text}; {_MEND}" for one in status.instances for text in one.drift
    ]
    return "\n".join(lines) + "\n"


_INSTANCE_HEADING = (
    "INSTANCE",
    "SERVICES",
    "HYPERVISOR",
    "NODE",
    "STATE",
    "ADDRESS",
    "MEMORY",
    "CPU",
    "ACTIVE",
    "CONFIGURED",
    "LAST CONFIGURED",
)


def _instance_row(one: InstanceStatus) -> tuple[str, ...]:
    memory = f"{one.memory_mib} of {one.memory_limit_mib} MiB"
    return (
        one.name,
        "+".join(one.services),
        one.hypervisor,
        one.node or _MISSING,
        one.state if one.state == one.wanted else f"{one.state}, wanted {one.wanted}",
        one.addresses.get(CONTROL, _MISSING),
        _MISSING if one.memory_mib is None else memory,
        _MISSING if one.cpu_percent is None else f"{one.cpu_percent:.0f} %",
        _shown(one.active_s),
        _shown(one.configured_s),
        one.configured_at or _MISSING,
    )


_SERVICE_HEADING = ("SERVICE", "INSTANCE", "VERSION", "API", "URL")


def _service_row(one: ServiceStatus) -> tuple[str, ...]:
    said = {None: _MISSING, True: "answers", False: "does not answer"}
    return one.name, one.instance, one.version or _UNKNOWN, said[one.answers], one.url or _MISSING


def certificate_lines(found: tuple[Certificate, ...]) -> list[str]:
    """The certificates of a cloud: the authority's, and of the others the one that ends first."""
    authority, others = found[:1], found[1:]
    first = min(others, key=lambda one: one.until, default=None)
    lines = [f"authority    until {one.until:%Y-%m-%d}" for one in authority]
    if first:
        lines.append(
            f"certificates {len(others)}, the first until {first.until:%Y-%m-%d} ({first.name})"
        )
    return lines


def warnings(
    found: tuple[Certificate, ...], renewal: str = "./altostratus overcloud renew"
) -> list[str]:
    """What is not wrong yet, and the command that keeps it so."""
    now = datetime.datetime.now(datetime.UTC)
    return [f"warning: {text}; renew it: {renewal}" for text in certificates.ending(found, now)]


def _state(server: Server | None) -> str:
    if server is None:
        return "missing"
    if server.status == _WANTED and not server.answers:
        return "does not answer"
    return server.status


def _instances(
    overcloud: Overcloud, seen: Observed, facts: Facts
) -> collections.abc.Iterator[InstanceStatus]:
    """Those that are deployed, and those that the file wants besides."""
    deployed = seen.stack.instances if seen.stack else {}
    wanted = {one.name: one for one in overcloud.instances}
    for name, one in deployed.items():
        state = _WANTED if name in wanted else _GONE
        yield _instance(name, one, state, seen, facts)
    for name, new in wanted.items():
        if name not in deployed:
            yield InstanceStatus(name, new.services, new.hypervisor, _WANTED, "missing", {})


def _instance(
    name: str, one: Deployed, wanted: str, seen: Observed, facts: Facts
) -> InstanceStatus:
    server, observed_server = facts.servers.get(name), seen.server_of(name)
    identity = server.id if server is not None else ""
    before, after = facts.before.get(identity), facts.after.get(identity)
    configured = facts.configured.get(identity)
    return InstanceStatus(
        name=name,
        services=one.services,
        hypervisor=str(one.hypervisor),
        wanted=wanted,
        state=_state(observed_server),
        addresses=one.addresses,
        active_s=_since(server, server.launched_at) if server is not None else None,
        configured_s=_since(server, configured),
        configured_at=_utc(configured),
        memory_mib=after.memory_mib if after else None,
        memory_limit_mib=after.memory_limit_mib if after else None,
        cpu_percent=usage.cpu_percent(before, after),
        image=one.image,
        drift=observed_server.drift if observed_server else (),
        node=_node(one, observed_server),
    )


def _node(one: Deployed, server: Server | None) -> str | None:
    if server is None or not server.host or not hypervisors.entry(one.hypervisor).has_share:
        return None
    return hypervisors.node_of(server.host, one.hypervisor)


def _service(seen: Observed, facts: Facts, instance: str, name: str) -> ServiceStatus:
    server = facts.servers.get(instance)
    image = (server.image or {}).get("id", "") if server is not None else ""
    url = _urls(seen).get(name)
    return ServiceStatus(
        name=name,
        instance=instance,
        version=facts.versions.get(image, {}).get(name),
        url=url,
        answers=facts.answers.get(url) if url else None,
    )


def _urls(seen: Observed) -> dict[str, str]:
    """Where users are to reach services, whether Keystone tells them or not."""
    return observed.public_urls(seen.stack.instances) if seen.stack else {}


def _answers(found: survey.Survey) -> dict[str, bool]:
    """Whether the services' APIs answer, by their URLs."""
    urls = _urls(found.observed)
    if "keystone" not in urls or not found.secrets:
        return {}
    with (
        administrator.connected(urls["keystone"], found.secrets) as overcloud,
        concurrent.futures.ThreadPoolExecutor(max_workers=len(urls)) as pool,
    ):
        answers = pool.map(functools.partial(cloud.serves, overcloud), urls.values())
        return dict(zip(urls.values(), answers, strict=True))


def _endpoints(seen: Observed) -> dict[str, str]:
    if seen.endpoints is None or seen.stack is None:
        return {}
    urls = observed.public_urls(seen.stack.instances)
    # Those without a user of their own are not in Keystone's catalogue, or not by us.
    own = {name: url for name, url in urls.items() if services.get(name).user is None}
    return dict(seen.endpoints) | own


def _configured(undercloud: openstack.connection.Connection) -> dict[str, str]:
    """When each server's instance said that it is configured, by the server's id."""
    return {
        one["server_id"]: one["updated_time"]
        for one in heat.software_deployments(undercloud)
        if one["status"] == "COMPLETE" and one["updated_time"]
    }


def _since(server: Any, moment: str | None) -> float | None:
    """Seconds from a server's request to a moment; None if it came before, or never."""
    if server is None or not moment:
        return None
    seconds = (_time(moment) - _time(server.created_at)).total_seconds()
    return seconds if seconds >= 0 else None


def _utc(moment: str | None) -> str | None:
    return f"{_time(moment).astimezone(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}" if moment else None


def _time(text: str) -> datetime.datetime:
    found = datetime.datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=datetime.UTC)


def _shown(seconds: float | None) -> str:
    return _MISSING if seconds is None else f"{seconds:.0f} s"
