"""One operator at a time: who changes an overcloud holds a stack of that name in the undercloud.

Heat takes a stack's name once, so there is no moment at which two believe to have it. A holder
that was killed on this machine is known to be gone, and its hold is taken over.
"""

import collections.abc
import contextlib
import dataclasses
import datetime
import getpass
import os
import pathlib
import socket
from typing import Any

import openstack
import openstack.exceptions

from altostratus import cloud, errors, log

_CONFLICT = 409
_GONE_S = 60
_BOOT_ID = pathlib.Path("/proc/sys/kernel/random/boot_id")
# What this run holds.
_held: set[str] = set()

Connection = openstack.connection.Connection


@dataclasses.dataclass(frozen=True, slots=True)
class Holder:
    """A run of this program; ``since`` is in UTC, ``boot`` the id of its machine's boot."""

    user: str
    host: str
    pid: str
    boot: str
    since: str

    def __str__(self) -> str:
        return f"{self.user} on {self.host} (process {self.pid})"

    @property
    def operator(self) -> str:
        """Who runs it, without which run it is: ``user@host``."""
        return f"{self.user}@{self.host}"


@contextlib.contextmanager
def held(undercloud: Connection, overcloud: str) -> collections.abc.Iterator[None]:
    """Hold an overcloud while something is done with it; what holds it already, goes on holding it.

    Raises :class:`errors.Held` if somebody else does.
    """
    name = f"{overcloud}-lock"
    if name in _held:
        yield
        return
    identity = _take(undercloud, name, overcloud)
    _held.add(name)
    try:
        yield
    finally:
        _held.remove(name)
        undercloud.orchestration.delete_stack(identity, ignore_missing=True)


def myself() -> Holder:
    """This run."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    boot = _BOOT_ID.read_text().strip()
    return Holder(getpass.getuser(), socket.gethostname(), str(os.getpid()), boot, now)


def is_gone(holder: Holder, here: Holder) -> bool:
    """Whether a holder is known to have ended: it ran on this machine and does so no more."""
    if holder.host != here.host:
        return False
    return holder.boot != here.boot or not pathlib.Path("/proc", holder.pid).exists()


def _take(undercloud: Connection, name: str, overcloud: str) -> str:
    here = myself()

    def taken() -> tuple[str | None, str]:
        identity = _create(undercloud, name, here)
        found = None if identity else _find(undercloud, name)
        if found is not None:
            _refuse_unless_ended(found, overcloud, here)
            undercloud.orchestration.delete_stack(found.id, ignore_missing=True)
        return identity, "the run before has ended, and its hold goes"

    return cloud.wait(f"to hold the overcloud {overcloud}", taken, _GONE_S)


def _find(undercloud: Connection, name: str) -> Any:
    return undercloud.orchestration.find_stack(name, ignore_missing=True)


def _create(undercloud: Connection, name: str, holder: Holder) -> str | None:
    """Make the stack; returns None if there is one."""
    about = dataclasses.asdict(holder)
    template = {
        "heat_template_version": "wallaby",
        "description": f"{holder} changes the overcloud",
        "parameters": {key: {"type": "string"} for key in about},
        "resources": {"held": {"type": "OS::Heat::None"}},
    }
    body = {"stack_name": name, "template": template, "parameters": about}
    response = undercloud.orchestration.post("/stacks", json=body)
    if response.status_code == _CONFLICT:
        return None
    openstack.exceptions.raise_from_response(response)
    return str(response.json()["stack"]["id"])


def _refuse_unless_ended(found: Any, overcloud: str, here: Holder) -> None:
    known = found.parameters or {}
    holder = Holder(**{one.name: known.get(one.name, "?") for one in dataclasses.fields(Holder)})
    if not (found.status.startswith("DELETE") or is_gone(holder, here)):
        raise errors.Held(
            f"the overcloud {overcloud} is being changed by {holder} since {holder.since}",
            hint="wait for it; if it is known to have ended:"
            f" openstack --os-cloud undercloud stack delete {found.name}",
        )
    log.debug(f"taking over from {holder}, which ended")
