"""Heat: asks for stacks, waits for them, and says what they wait for."""

import itertools
from typing import Any

import openstack
import openstack.exceptions

from altostratus import cloud, errors, log, stack

TAG = "altostratus"
_SERVER = "OS::Nova::Server"
_STACK_S = 2400
_DELETE_S = 600
_LOOKS = 5
_GONE = "DELETE_COMPLETE"
_HINT = "openstack --os-cloud undercloud stack failures list {}"

Connection = openstack.connection.Connection


def find(undercloud: Connection, name: str) -> Any:
    """The stack of this name without its outputs, or None."""
    return undercloud.orchestration.find_stack(name, ignore_missing=True, resolve_outputs=False)


def apply(undercloud: Connection, name: str, request: stack.Request) -> None:
    """Ask Heat to create or update a stack; :func:`wait` waits until it has."""
    body = {
        "template": request.template,
        "environment": request.environment,
        "files": request.files,
        "parameters": request.parameters,
        "tags": TAG,
        "timeout_mins": _STACK_S // 60,
        "disable_rollback": True,
    }
    found = find(undercloud, name)
    heat = undercloud.orchestration
    if found is None:
        response = heat.post("/stacks", json={"stack_name": name, **body})
    else:
        response = heat.put(f"/stacks/{name}/{found.id}", json=body)
    openstack.exceptions.raise_from_response(response)


def wait(undercloud: Connection, name: str, step: log.Step) -> None:
    """Wait until Heat is done with a stack.

    Raises :class:`errors.StackFailed` if it could not do it.
    """
    _refuse_failure(name, *_wait(undercloud, name, step))


class Watch:
    """Looks at a stack time and again.

    To say what it works on takes of Heat what it could work with: that is asked at every fifth look.
    """

    def __init__(self, undercloud: Connection, name: str) -> None:
        self._undercloud, self._name = undercloud, name
        self._looks, self._busy = itertools.count(), ""

    def look(self) -> tuple[tuple[str, str] | None, str]:
        """Its status and the reason for that when Heat is done with it, and before what it is at."""
        found = find(self._undercloud, self._name)
        if found is None:
            return (_GONE, "it is gone"), ""
        if not found.status.endswith("_IN_PROGRESS"):
            return (found.status, found.status_reason or ""), ""
        if next(self._looks) % _LOOKS == 0:
            self._busy = _waits_for(self._undercloud, self._name)
        return None, self._busy

    def progress(self) -> str:
        """What Heat is at with it, in words.

        Raises :class:`errors.StackFailed` if it could not do it.
        """
        done, busy = self.look()
        if done is None:
            return busy
        status, reason = done
        if status == _GONE:
            raise errors.StackFailed(f"the stack {self._name} is gone")
        _refuse_failure(self._name, status, reason)
        return f"the stack is {status}"


def _refuse_failure(name: str, status: str, reason: str) -> None:
    if not status.endswith("_COMPLETE"):
        raise errors.StackFailed(f"the stack {name} is {status}: {reason}")


def delete(undercloud: Connection, found: Any, step: log.Step) -> None:
    """Delete a stack and wait until it is gone; asks twice before it gives up."""
    for last in (False, True):
        undercloud.orchestration.delete_stack(found.id, ignore_missing=True)
        state = cloud.wait(
            f"deleting the stack {found.name}",
            lambda: _gone(undercloud, found),
            _DELETE_S,
            step=step,
            hint=_HINT.format(found.name),
        )
        if state == "gone":
            return
        if last:
            raise errors.StackFailed(
                f"the stack {found.name} cannot be deleted: {state}",
                hint=_HINT.format(found.name),
            )


def wait_settled(undercloud: Connection, name: str) -> None:
    """Let Heat finish what an interrupted run asked it for; its outcome does not matter here."""
    found = find(undercloud, name)
    if found is None or not found.status.endswith("_IN_PROGRESS"):
        return
    with log.step(f"wait for what an earlier run began: {found.status} of the stack {name}") as at:
        _wait(undercloud, name, at)


def resources(undercloud: Connection, name: str, **query: Any) -> list[dict[str, Any]]:
    """The resources of a stack and of those inside it, as Heat's API shows them."""
    found = find(undercloud, name)
    if found is None:
        return []
    path = f"/stacks/{name}/{found.id}/resources"
    response = undercloud.orchestration.get(path, params={"nested_depth": 3, **query})
    openstack.exceptions.raise_from_response(response)
    return list(response.json()["resources"])


def forget_server(undercloud: Connection, name: str, instance: str) -> None:
    """Tell Heat that an instance's server is gone: its next update makes another one."""
    for one in resources(undercloud, name):
        if one.get("parent_resource") == instance and one["resource_type"] == _SERVER:
            place = next(link["href"] for link in one["links"] if link["rel"] == "self")
            body = {"mark_unhealthy": True, "resource_status_reason": "its server is gone"}
            response = undercloud.orchestration.patch(place, json=body)
            openstack.exceptions.raise_from_response(response)


def software_deployments(undercloud: Connection) -> list[dict[str, Any]]:
    """The configurations that were sent to instances, as Heat's API shows them."""
    response = undercloud.orchestration.get("/software_deployments")
    openstack.exceptions.raise_from_response(response)
    return list(response.json()["software_deployments"])


def _wait(undercloud: Connection, name: str, step: log.Step) -> tuple[str, str]:
    hint = f"openstack --os-cloud undercloud stack resource list --nested-depth 3 {name}"
    return cloud.wait(
        f"the stack {name}", Watch(undercloud, name).look, _STACK_S, step=step, hint=hint
    )


def _waits_for(undercloud: Connection, name: str) -> str:
    """What Heat works on, in words."""
    busy = [
        one["resource_name"]
        for one in resources(undercloud, name)
        if one["resource_status"].endswith("_IN_PROGRESS")
    ]
    return "Heat works on " + ", ".join(sorted(busy)) if busy else "Heat works"


def _gone(undercloud: Connection, found: Any) -> tuple[str | None, str]:
    # By its id: a stack that was deleted is found by it, and says so.
    now = cloud.or_none(lambda: undercloud.orchestration.get_stack(found.id, resolve_outputs=False))
    if now is None or now.status == _GONE:
        return "gone", ""
    if now.status == "DELETE_FAILED":
        return now.status_reason or now.status, ""
    return None, f"it is {now.status}"
