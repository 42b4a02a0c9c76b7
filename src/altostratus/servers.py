"""Brings servers back: those that were stopped, do not answer, are half rebuilt or have drifted.

Each is one step of a plan.
"""

from typing import Any

from altostratus import (
    cloud,
    drift,
    heat,
    hypervisors,
    log,
    observed,
    placement,
    plan,
    scheduling,
    survey,
)
from altostratus.deployment import Deployment
from altostratus.model import CONTROL

_SERVER_S = 180
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
    """Rebuild a server whose rebuild failed, with the image that Nova has noted.

    Where Heat wants another one, a later step is for that.
    """
    undercloud, server = deployment.undercloud, _server(deployment, step)
    found = undercloud.compute.get_server(server.id)
    undercloud.compute.rebuild_server(found, found.image["id"], preserve_ephemeral=True)
    _wait_alive(deployment, step, server, shown)
    flavor: Any = found.flavor
    size = (flavor.ram, flavor.vcpus, flavor.disk)
    wanted = scheduling.demand(*size, flavor.extra_specs or {}, {})
    placement.restore_allocation(undercloud, found, wanted.resources)


def configure(deployment: Deployment, step: plan.Step, shown: log.Step) -> None:
    """Have a server configure itself again that is not as it was configured."""
    server, made = _server(deployment, step), deployment.plan
    drift.mend(made.overcloud.name, server.id, made.addresses[server.instance][CONTROL])


def forget(deployment: Deployment, step: plan.Step, shown: log.Step) -> None:
    """Have Heat make another server where one was deleted; its state disk and ports are there."""
    heat.forget_server(deployment.undercloud, deployment.plan.overcloud.name, step.instance or "")


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
        return (found if found.status == "ACTIVE" else None), f"it is {found.status}"

    wanted = deployment.plan.overcloud.instance(server.instance)
    is_shared = hypervisors.entry(wanted.hypervisor).has_share
    timeout_s = _SERVER_S if is_shared else _MACHINE_S
    cloud.wait(f"starting {step.subject}", running, timeout_s, hint=hint, step=shown)
    address = deployment.plan.addresses[server.instance][CONTROL]

    def answering() -> tuple[Any, str]:
        return survey.answers(address, timeout_s=1) or None, f"{address} does not answer"

    timeout_s = _ANSWER_S if is_shared else _MACHINE_S
    cloud.wait(f"booting {step.subject}", answering, timeout_s, hint=hint, step=shown)
