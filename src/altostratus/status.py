"""What an overcloud is at: its instances, how long they took, and where its endpoints are."""

import dataclasses
import datetime
from typing import Any

import openstack

from altostratus import (
    certificates,
    cloud,
    credentials,
    heat,
    observed,
    services,
    stack,
    survey,
    table,
)
from altostratus.certificates import Certificate
from altostratus.model import CONTROL, Overcloud
from altostratus.observed import Observed

_MISSING = "-"
_MEND = "mend it: ./altostratus overcloud deploy"


@dataclasses.dataclass(frozen=True, slots=True)
class InstanceStatus:
    """An instance; times are seconds from the request for its server.

    ``image`` is the digest of its image, ``drift`` what is not as it was configured, in words.
    """

    name: str
    services: tuple[str, ...]
    hypervisor: str
    state: str
    addresses: dict[str, str]
    active_s: float | None
    configured_s: float | None
    image: str
    drift: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Status:
    """An overcloud as it is."""

    overcloud: str
    stack: str
    instances: tuple[InstanceStatus, ...]
    endpoints: dict[str, str]
    credentials: str
    certificates: tuple[Certificate, ...] = ()


def read(overcloud: Overcloud) -> Status:
    """Look at an overcloud."""
    undercloud = cloud.connect("undercloud")
    seen = survey.read(undercloud, overcloud).observed
    servers = {
        server.metadata[stack.INSTANCE]: server
        for server in undercloud.compute.servers()
        if (server.metadata or {}).get(stack.OVERCLOUD) == overcloud.name
    }
    configured = _configured(undercloud)
    deployed = seen.stack.instances if seen.stack else {}
    return Status(
        overcloud=overcloud.name,
        stack=seen.stack.status if seen.stack else "not deployed",
        instances=tuple(
            InstanceStatus(
                name=name,
                services=one.services,
                hypervisor=str(one.hypervisor),
                state=_state(seen, name),
                addresses=one.addresses,
                active_s=_seconds(servers.get(name), "launched_at"),
                configured_s=_configured_s(servers.get(name), configured),
                image=one.image,
                drift=server.drift if (server := seen.server_of(name)) else (),
            )
            for name, one in deployed.items()
        ),
        endpoints=_endpoints(seen),
        credentials=f"{credentials.path()} (cloud: overcloud)" if seen.credentials else _MISSING,
        certificates=seen.certificates,
    )


def to_text(status: Status) -> str:
    """The status for people."""
    rows: list[tuple[str, ...]] = [
        ("INSTANCE", "SERVICES", "HYPERVISOR", "STATE", "ADDRESS", "ACTIVE", "CONFIGURED")
    ]
    rows += [
        (
            one.name,
            "+".join(one.services),
            one.hypervisor,
            one.state,
            one.addresses.get(CONTROL, _MISSING),
            _shown(one.active_s),
            _shown(one.configured_s),
        )
        for one in status.instances
    ]
    lines = [f"Overcloud {status.overcloud}: {status.stack}"]
    if status.instances:
        lines += table.lines(rows)
    lines += [f"{name:12} {url}" for name, url in sorted(status.endpoints.items())]
    lines.append(f"credentials  {status.credentials}")
    lines += certificate_lines(status.certificates)
    lines += warnings(status.certificates)
    lines += [
        f"warning: {one.name}: {text}; {_MEND}" for one in status.instances for text in one.drift
    ]
    return "\n".join(lines) + "\n"


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


def _state(seen: Observed, name: str) -> str:
    server = seen.server_of(name)
    if server is None:
        return "missing"
    if server.status == "ACTIVE" and not server.answers:
        return "does not answer"
    return server.status


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


def _seconds(server: Any, field: str) -> float | None:
    return _since(server, getattr(server, field)) if server is not None else None


def _configured_s(server: Any, configured: dict[str, str]) -> float | None:
    return _since(server, configured.get(server.id)) if server is not None else None


def _since(server: Any, moment: str | None) -> float | None:
    """Seconds from a server's request to a moment; None if it came before, or never."""
    if server is None or not moment:
        return None
    seconds = (_time(moment) - _time(server.created_at)).total_seconds()
    return seconds if seconds >= 0 else None


def _time(text: str) -> datetime.datetime:
    found = datetime.datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=datetime.UTC)


def _shown(seconds: float | None) -> str:
    return _MISSING if seconds is None else f"{seconds:.0f} s"
