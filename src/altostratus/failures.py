"""Why Heat could not carry out a stack: down to the failed resource, and into the instance."""

from typing import Any

import openstack
import openstack.exceptions

from altostratus import check, cloud, errors, heat, keypair, log, plan, stack, survey
from altostratus.model import CONTROL

_LAST_LINES = 20
_NO_HOST = "No valid host was found"
_DEPLOYMENT_TYPES = ("OS::Heat::StructuredDeployment", "OS::Heat::SoftwareDeployment")

Connection = openstack.connection.Connection


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
    parts = [_describe(undercloud, made, one) for one in causes]
    instance = _instance(made, causes[0])
    return errors.StackFailed(
        f"the stack {name} failed:\n" + "\n".join(parts), hint=_hint(made, instance)
    )


def _is_outer(resource: dict[str, Any]) -> bool:
    return str(resource["resource_type"]) == stack.CLASS


def _instance(made: plan.Plan, resource: dict[str, Any]) -> str | None:
    """The instance that a resource belongs to: by its own name, or its stack's."""
    own, parent = resource["resource_name"], resource.get("parent_resource", "")
    for instance in made.overcloud.instances:
        if parent == instance.name or own.startswith(f"{instance.name}_"):
            return instance.name
    return None


def _describe(undercloud: Connection, made: plan.Plan, resource: dict[str, Any]) -> str:
    instance = _instance(made, resource)
    about = f"instance {instance}: " if instance else ""
    text = f"  {about}{resource['resource_type']} {resource['resource_name']}:"
    said = _deployment_said(undercloud, resource)
    if said:
        lines = said.strip().splitlines()
        return _indented(text, lines[:1] + lines[1:][-_LAST_LINES:])
    reason = f"{text} {resource['resource_status_reason']}"
    if _NO_HOST in reason and instance:
        return _indented(reason, _room(undercloud, made, instance))
    return reason


def _indented(text: str, lines: list[str]) -> str:
    return "\n".join([text, *(f"    {line}" for line in lines)])


def _room(undercloud: Connection, made: plan.Plan, name: str) -> list[str]:
    """Nova says no more than that there is no host: what the instance wants, and what there is."""
    (instance,) = (one for one in made.overcloud.instances if one.name == name)
    found = survey.read(undercloud, made.overcloud)
    return check.explain_room(instance, found.observed.providers)


def _deployment_said(undercloud: Connection, resource: dict[str, Any]) -> str:
    """What the instance itself reported, if the resource is its configuration."""
    identity = resource.get("physical_resource_id")
    if resource["resource_type"] not in _DEPLOYMENT_TYPES or not identity:
        return ""
    path = f"/software_deployments/{identity}"
    response = cloud.or_none(lambda: undercloud.orchestration.get(path))
    if response is None or response.status_code != 200:
        log.debug(f"no software deployment {identity}")
        return ""
    values = response.json()["software_deployment"].get("output_values") or {}
    return str(values.get("deploy_stderr") or "")


def _hint(made: plan.Plan, instance: str | None) -> str:
    name = made.overcloud.name
    if instance is None:
        return f"openstack --os-cloud undercloud stack failures list {name}"
    address = made.addresses[instance][CONTROL]
    return f"ssh -i {keypair.path(name)} root@{address} journalctl -u os-collect-config"
