"""Brings servers back: those that were stopped, do not answer, are half rebuilt or have drifted.

Each is one step of a plan.
"""

import collections.abc
from typing import Any

from altostratus import (
    cloud,
    drift,
    errors,
    heat,
    hypervisors,
    log,
    observed,
    placement,
    plan,
    scheduling,
    statedisks,
    survey,
)
from altostratus.deployment import Deployment
from altostratus.model import CONTROL

_SERVER_S = 180
_TASK_S = 60
_ANSWER_S = 120
# To write an image to a machine's disk it boots twice, which takes longer than all else.
_MACHINE_S = 1800


def start(deployment: Deployment, step: plan.Step, shown: log.Step) -> None:
    """Start a server that was stopped, and wait until it answers."""
    server = _server(deployment, step)
    deployment.undercloud.compute.start_server(server.id)
    _wait_alive(deployment, step, server, shown)


def restart(deployment: Deployment, step: plan.Step, shown: log.Step) -> None:
    """Reboot a server that does not answer, and wait until it does."""
    server = _server(deployment, step)
    deployment.undercloud.compute.reboot_server(server.id, "HARD")
    _wait_alive(deployment, step, server, shown)


def rebuild(deployment: Deployment, step: plan.Step, shown: log.Step) -> None:
    """Rebuild a server, whose rebuild failed or that has another image, with the one planned.

    Where Heat has noted another one, it does so once more.
    """
    undercloud, server = deployment.undercloud, _server(deployment, step)
    image = survey.glance_images(undercloud)[deployment.plan.images[server.instance].digest]
    _end_task(deployment, server, shown)
    found = undercloud.compute.get_server(server.id)
    # Without it Nova finds the traits of another image nowhere.
    placement.restore_allocation(undercloud, found, _taken(found))
    undercloud.compute.rebuild_server(found, image, preserve_ephemeral=True)
    _wait_alive(deployment, step, server, shown)


def _taken(found: Any) -> collections.abc.Mapping[str, int]:
    """What a server takes of its node, in Placement's words."""
    flavor = found.flavor
    size = (flavor.ram, flavor.vcpus, flavor.disk)
    return scheduling.demand(*size, flavor.extra_specs or {}, {}).resources


def _end_task(deployment: Deployment, server: observed.Server, shown: log.Step) -> None:
    """Wait until Nova is at nothing with a server, and have it forget what does not end.

    A nova-compute that takes up a rebuild which its predecessor, killed, had been asked for, fails
    and notes that it rebuilds: from then on Nova refuses everything.
    """
    compute = deployment.undercloud.compute

    def idle() -> tuple[bool | None, str]:
        task = compute.get_server(server.id).task_state
        return (task is None) or None, f"Nova is at {task}"

    try:
        cloud.wait("the task of Nova's", idle, _within_s(deployment, server, _TASK_S), step=shown)
    except errors.Error as exc:
        log.info(f"{server.instance}: {exc.message}; it is made to forget that")
        compute.reset_server_state(server.id, "error")


def configure(deployment: Deployment, step: plan.Step, shown: log.Step) -> None:
    """Have a server configure itself again that is not as it was configured."""
    server, made = _server(deployment, step), deployment.plan
    drift.mend(made.overcloud.name, server.id, made.addresses[server.instance][CONTROL])


def forget(deployment: Deployment, step: plan.Step, shown: log.Step) -> None:
    """Have Heat make another server where one was deleted; its state disk and ports are there."""
    heat.forget_server(deployment.undercloud, deployment.plan.overcloud.name, step.instance or "")


def release_state(deployment: Deployment, step: plan.Step, shown: log.Step) -> None:
    """Have what is left of a server's state go with it."""
    server = deployment.undercloud.compute.get_server(_server(deployment, step).id)
    statedisks.release_one(deployment.undercloud, server)


def delete(deployment: Deployment, step: plan.Step, shown: log.Step) -> None:
    """Delete a server whose node is down: Nova frees its ports and its share by itself, and the node
    removes what is left of it when it comes back."""
    compute, server = deployment.undercloud.compute, _server(deployment, step)
    compute.delete_server(server.id, ignore_missing=True)

    def gone() -> tuple[bool | None, str]:
        found = cloud.or_none(lambda: compute.get_server(server.id))
        return (True, "") if found is None else (None, f"it is {found.task_state or found.status}")

    hint = "./altostratus undercloud status says whether its node has come back"
    cloud.wait(f"deleting {step.subject}", gone, _TASK_S, hint=hint, step=shown)


def _server(deployment: Deployment, step: plan.Step) -> observed.Server:
    found = deployment.observed.server_of(step.instance or "")
    assert found is not None, "the plan starts only what it saw"
    return found


def _wait_alive(
    deployment: Deployment, step: plan.Step, server: observed.Server, shown: log.Step
) -> None:
    """Until the server runs and its services answer."""
    compute = deployment.undercloud.compute
    hint = f"openstack --os-cloud undercloud server show {server.id}"

    def running() -> tuple[Any, str]:
        found = compute.get_server(server.id)
        if found.status == "ERROR" and found.task_state is None:
            said = (found.fault or {}).get("message") or "Nova does not say why"
            raise errors.Error(f"{step.subject} does not start: {said}", hint)
        return (found if found.status == "ACTIVE" else None), f"it is {found.status}"

    timeout_s = _within_s(deployment, server, _SERVER_S)
    cloud.wait(f"starting {step.subject}", running, timeout_s, hint=hint, step=shown)
    address = deployment.plan.addresses[server.instance][CONTROL]

    def answering() -> tuple[Any, str]:
        return survey.answers(address, timeout_s=1) or None, f"{address} does not answer"

    timeout_s = _within_s(deployment, server, _ANSWER_S)
    cloud.wait(f"booting {step.subject}", answering, timeout_s, hint=hint, step=shown)


def _within_s(deployment: Deployment, server: observed.Server, seconds: int) -> int:
    """How long a server may take for what takes ``seconds`` where it is no whole machine."""
    wanted = deployment.plan.overcloud.instance(server.instance)
    return seconds if hypervisors.entry(wanted.hypervisor).has_share else _MACHINE_S
