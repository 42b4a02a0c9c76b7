"""What servers use of memory and processors: Nova's diagnostics, which only administrators get."""

import collections.abc
import concurrent.futures
import dataclasses
import functools
import time

import keystoneauth1.exceptions
import openstack
import openstack.exceptions

from altostratus import log

# The first whose words are the same for all drivers.
_VERSION = "2.48"
# A nova-compute that is down lets Nova's API wait for a minute.
_ANSWER_S = 5
_AT_ONCE = 16
_NS = 10**9

Connection = openstack.connection.Connection


@dataclasses.dataclass(frozen=True, slots=True)
class Look:
    """What a server used at a moment, which is in seconds of a clock of this machine.

    ``cpu_s`` is the time of all its processors since it started.
    """

    moment_s: float
    memory_mib: int | None
    memory_limit_mib: int | None
    cpu_s: float


def read(
    undercloud: Connection, servers: collections.abc.Iterable[str]
) -> collections.abc.Mapping[str, Look]:
    """What servers use, by their ids; those that do not tell, such as stopped ones, are left out."""
    ids = list(servers)
    with concurrent.futures.ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        looks = pool.map(functools.partial(_look, undercloud), ids)
        return {name: look for name, look in zip(ids, looks, strict=True) if look}


def cpu_percent(before: Look | None, after: Look | None) -> float | None:
    """How much of one processor a server used between two looks; None if it started meanwhile."""
    if before is None or after is None or after.moment_s <= before.moment_s:
        return None
    used_s = after.cpu_s - before.cpu_s
    return round(100 * used_s / (after.moment_s - before.moment_s), 1) if used_s >= 0 else None


def _look(undercloud: Connection, server: str) -> Look | None:
    try:
        response = undercloud.compute.get(
            f"/servers/{server}/diagnostics",
            microversion=_VERSION,
            timeout=_ANSWER_S,
            connect_retries=0,
        )
        openstack.exceptions.raise_from_response(response)
    except (openstack.exceptions.SDKException, keystoneauth1.exceptions.ClientException) as exc:
        log.debug(f"the server {server} does not tell what it uses: {exc}")
        return None
    found = response.json()
    memory = found["memory_details"]
    cpu_ns = sum(one["time"] or 0 for one in found["cpu_details"])
    return Look(time.monotonic(), memory["used"], memory["maximum"], cpu_ns / _NS)
