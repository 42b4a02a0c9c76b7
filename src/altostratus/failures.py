"""Why Heat could not carry out a stack: down to the failed resource, and into the instance."""

import dataclasses
import re
from typing import Any

import openstack
import openstack.exceptions

from altostratus import cloud, errors, heat, hypervisors, keypair, log, plan, room, stack, survey
from altostratus.model import CONTROL, Instance
from altostratus.observed import Provider

_LAST_LINES = 20
_NO_HOST = "No valid host was found"
_DEPLOYMENT_TYPES = ("OS::Heat::StructuredDeployment", "OS::Heat::SoftwareDeployment")
_SERVER_TYPE = "OS::Nova::Server"
# What an instance reports begins with the script that failed: number and name.
_SCRIPT = re.compile(r"\S*?(?P<script>[a-z-]+\.d/\d+-(?P<name>\S+)) failed:")

Connection = openstack.connection.Connection


@dataclasses.dataclass(frozen=True, slots=True)
class Cause:
    """One thing that failed, in words, and the command to look further."""

    text: str
    hint: str


def explain(
    undercloud: Connection, made: plan.Plan, error: errors.StackFailed
) -> errors.StackFailed:
    """The failure with its innermost cause, the instance it is in, and where to look further."""
    name = made.overcloud.name
    failed = [
        one
        for one in heat.resources(undercloud, name)
        if one["resource_status"].endswith("_FAILED") and not _is_outer(one)
    ]
    # Heat cancels what was under way when something else failed: that is no cause.
    causes = [one for one in failed if "aborted" not in one["resource_status_reason"]] or failed
    if not causes:
        return error
    told = [_cause(undercloud, made, one) for one in causes]
    text = "\n".join(one.text for one in told)
    return errors.StackFailed(f"the stack {name} failed:\n{text}", hint=told[0].hint)


def _is_outer(resource: dict[str, Any]) -> bool:
    return str(resource["resource_type"]) == stack.CLASS


def _cause(undercloud: Connection, made: plan.Plan, resource: dict[str, Any]) -> Cause:
    instance = _instance(made, resource)
    if instance is not None and resource["resource_type"] in _DEPLOYMENT_TYPES:
        said = _deployment_said(undercloud, resource)
        if said:
            return configuration(made, instance, said)
    if instance is not None and resource["resource_type"] == _SERVER_TYPE:
        if _NO_HOST in resource["resource_status_reason"]:
            return no_host(instance, survey.providers(undercloud))
        return Cause(_reason(resource, instance), _compute_log(instance))
    hint = f"openstack --os-cloud undercloud stack failures list {made.overcloud.name}"
    return Cause(_reason(resource, instance), hint)


def _instance(made: plan.Plan, resource: dict[str, Any]) -> Instance | None:
    """The instance that a resource belongs to: by its own name, or its stack's."""
    own, parent = resource["resource_name"], resource.get("parent_resource", "")
    for instance in made.overcloud.instances:
        if parent == instance.name or own.startswith(f"{instance.name}_"):
            return instance
    return None


def _reason(resource: dict[str, Any], instance: Instance | None) -> str:
    about = f"instance {instance.name}: " if instance else ""
    what = f"{resource['resource_type']} {resource['resource_name']}"
    return f"  {about}{what}: {resource['resource_status_reason']}"


def _deployment_said(undercloud: Connection, resource: dict[str, Any]) -> str:
    """What the instance itself reported."""
    identity = resource.get("physical_resource_id")
    if not identity:
        return ""
    path = f"/software_deployments/{identity}"
    response = cloud.or_none(lambda: undercloud.orchestration.get(path))
    if response is None or response.status_code != 200:
        log.debug(f"no software deployment {identity}")
        return ""
    values = response.json()["software_deployment"].get("output_values") or {}
    return str(values.get("deploy_stderr") or "")


def configuration(made: plan.Plan, instance: Instance, said: str) -> Cause:
    """What an instance reported of its configuration: the service, and its last lines."""
    first, *lines = said.strip().splitlines()
    script = _SCRIPT.fullmatch(first)
    service = script["name"] if script and script["name"] in instance.services else None
    what = f"the service {service}" if service else "it"
    text = f"  instance {instance.name}: {what} could not be configured"
    text += f" ({script['script']} failed):" if script else f" ({first.removesuffix(':')}):"
    name, address = made.overcloud.name, made.addresses[instance.name][CONTROL]
    units = f" -u '{service}*'" if service else ""
    return Cause(
        "\n".join([text, *(f"    {line}" for line in lines[-_LAST_LINES:])]),
        f"ssh -i {keypair.path(name)} root@{address} journalctl -u os-collect-config{units}",
    )


def no_host(instance: Instance, providers: tuple[Provider, ...]) -> Cause:
    """Why Nova had no host for an instance; what it says itself names no reason."""
    lines, hint = room.why_no_host(instance, providers)
    text = f"  instance {instance.name}: Nova found no host for it ({_NO_HOST}):"
    return Cause("\n".join([text, *(f"    {line}" for line in lines)]), hint)


def _compute_log(instance: Instance) -> str:
    unit = f"nova-compute@{hypervisors.process(instance.hypervisor)}"
    return f"./altostratus undercloud shell journalctl -u {unit} -n 50"
