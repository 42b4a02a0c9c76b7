"""The overcloud as one Heat stack: a top template made as data, and what goes with it."""

import base64
import collections.abc
import dataclasses
import json
from typing import Any

from altostratus import hypervisors, metadata, seal, services, stackports
from altostratus.model import CONTROL, ControlNetwork, Image, Instance, Overcloud

CLASS = "OS::Altostratus::Instance"
OUTPUT = "altostratus"
OUTPUT_HISTORY = "history"
OUTPUT_SECRETS = "secrets"
OUTPUT_SERVERS = "servers"
STATE_DISK = "altostratus:state_disk"
STATE_GIB = "altostratus:state_gib"
ROOT_GIB = "altostratus:root_gib"
STATE_RELEASE = "altostratus:state_release"
HYPERVISOR = "altostratus:hypervisor"
INSTANCE = "altostratus:instance"
OVERCLOUD = "altostratus:overcloud"

_VERSION = "wallaby"
# Heat waits for a second after it has begun with a resource that depends on no other, or at a delete
# with one that no other depends on (Stack._converge_create_or_update): only these do not.
_ORIGIN = "stack_origin"
_END = "stack_end"
# Heat wants no parameter to have a resource's name: no instance's name has an underscore.
_SECRETS = "cloud_secrets"
_IMAGE_IDS = "image_ids"
_KEY_NAME = "key_name"

Tree = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Inputs:
    """All that a stack is made from. ``images`` are by instance, ``templates`` the provider
    templates by file name, ``authority`` is what instances trust the undercloud by, ``undercloud``
    its address."""

    overcloud: Overcloud
    addresses: metadata.Addresses
    images: collections.abc.Mapping[str, Image]
    secrets: metadata.Secrets
    templates: collections.abc.Mapping[str, str]
    authority: str = ""
    undercloud: str = str(ControlNetwork().address)


@dataclasses.dataclass(frozen=True, slots=True)
class Ids:
    """The undercloud's ids of images, by digest, and of networks, by their names in the overcloud.

    Nothing is made from them: a plan knows none.
    """

    images: collections.abc.Mapping[str, str]
    networks: collections.abc.Mapping[str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """What Heat is asked for; ``digest`` is over the plain inputs and the same for the same."""

    template: Tree
    environment: Tree
    files: dict[str, str]
    parameters: Tree
    digest: str


def render(
    inputs: Inputs,
    ids: Ids | None = None,
    irreplaceable: collections.abc.Collection[str] = (),
    history: str = "",
) -> Request:
    """The request for a stack.

    ``irreplaceable`` are the instances whose server Heat must not replace: those that run and hold
    state. ``history`` is kept with the stack, and is nothing that it is made from. Without ``ids`` it
    can be compared, and not be asked for.
    """
    overcloud = inputs.overcloud
    instances = {found.name: _describe(inputs, found) for found in overcloud.instances}
    template = _template(inputs, instances)
    files = {
        name: inputs.templates[name]
        for name in sorted({_entry(found).template for found in overcloud.instances})
    }
    digests = {image.digest for image in inputs.images.values()}
    digest = metadata.digest([template, files, _environment(overcloud, ()), dict(inputs.secrets)])
    template["outputs"][OUTPUT] = {"value": {"digest": digest, "instances": instances}}
    template["outputs"][OUTPUT_HISTORY] = {"value": history}
    return Request(
        template=template,
        environment=_environment(overcloud, irreplaceable),
        files=files,
        parameters={
            # As text: Heat encrypts hidden parameters, and can encrypt nothing else.
            _SECRETS: json.dumps(dict(inputs.secrets)),
            _IMAGE_IDS: {digest: ids.images[digest] if ids else "" for digest in digests},
            stackports.NETWORK_IDS: {
                name: ids.networks[name] if ids else "" for name in _networks(overcloud)
            },
            _KEY_NAME: keypair(overcloud.name),
        },
        digest=digest,
    )


def _template(inputs: Inputs, instances: collections.abc.Mapping[str, Tree]) -> Tree:
    """The top template; ``instances`` are the descriptions of all."""
    resources: Tree = {
        _ORIGIN: {"type": "OS::Heat::None"},
        _END: {"type": "OS::Heat::None", "depends_on": [deployment(name) for name in instances]},
    }
    for instance in inputs.overcloud.instances:
        resources |= _instance(inputs, instance, instances[instance.name]["digest"])
    return {
        "heat_template_version": _VERSION,
        "description": f"The overcloud {inputs.overcloud.name}",
        "parameters": {
            _SECRETS: {"type": "json", "hidden": True},
            _IMAGE_IDS: {"type": "json", "description": "Glance's id of each image, by digest"},
            # Of names Heat's engine remembers whose they were, also when there is another network.
            stackports.NETWORK_IDS: {
                "type": "json",
                "description": "Neutron's id of each network, by name",
            },
            _KEY_NAME: {"type": "string"},
        },
        "resources": resources,
        "outputs": {
            OUTPUT_SECRETS: {"value": {"get_param": _SECRETS}},
            OUTPUT_SERVERS: {"value": {name: {"get_attr": [name, "server"]} for name in instances}},
        },
    }


def flavor(instance: Instance) -> str:
    """The name of the flavor of an instance's shape."""
    shape = f"{instance.memory_mib}-{instance.vcpus}-{instance.disk_gib}"
    if not _entry(instance).has_share:
        shape += f"-{instance.state_gib}"
    suffix = "-privileged" if instance.privileged else ""
    return f"altostratus-{instance.hypervisor}-{shape}{suffix}"


def keypair(overcloud: str) -> str:
    """The name of an overcloud's key pair."""
    return f"altostratus-{overcloud}"


def state_disk(overcloud: str, instance: str) -> str:
    """The name of an instance's state disk, on whatever node it is."""
    return f"{overcloud}.{instance}"


def network(overcloud: str, name: str) -> str:
    """The name that a network of an overcloud has in the undercloud."""
    return name if name == CONTROL else f"{overcloud}-{name}"


def _networks(overcloud: Overcloud) -> list[str]:
    return sorted({name for instance in overcloud.instances for name in instance.networks})


def deployment(instance: str) -> str:
    """The name of the resource that is complete when an instance is configured."""
    return f"{instance}_deployment"


def _entry(instance: Instance) -> hypervisors.Entry:
    return hypervisors.entry(instance.hypervisor)


def _describe(inputs: Inputs, instance: Instance) -> Tree:
    """What a later run needs to know of an instance: the fields of ``observed.Deployed``."""
    tree = _metadata(inputs, instance)
    return {
        "hypervisor": str(instance.hypervisor),
        "services": list(instance.services),
        "addresses": dict(inputs.addresses[instance.name]),
        "flavor": flavor(instance),
        "state_gib": instance.state_gib,
        "image": inputs.images[instance.name].digest,
        "release": inputs.images[instance.name].release,
        "digest": tree["altostratus"]["digest"],
        **_zone(instance),
    }


def _environment(overcloud: Overcloud, irreplaceable: collections.abc.Collection[str]) -> Tree:
    resources: Tree = {}
    for instance in overcloud.instances:
        entry = _entry(instance)
        resources[instance.name] = {CLASS: entry.template}
        if instance.name in irreplaceable:
            resources[instance.name][entry.server] = {"restricted_actions": "replace"}
    return {"resource_registry": {"resources": resources}}


def _instance(inputs: Inputs, instance: Instance, digest: str) -> Tree:
    """The resources of one instance: its ports, its server, its configuration."""
    resources: Tree = {}
    for name in instance.networks:
        resources |= stackports.render(inputs.overcloud, instance, name, inputs.addresses, _ORIGIN)
    resources[instance.name] = {
        "type": CLASS,
        "properties": {
            "name": f"{inputs.overcloud.name}-{instance.name}",
            "image": {"get_param": [_IMAGE_IDS, inputs.images[instance.name].digest]},
            "flavor": flavor(instance),
            "ports": [
                {"get_resource": stackports.resource(instance, name)}
                for name in _untagged(instance)
            ],
            "key_name": {"get_param": _KEY_NAME},
            "authority": base64.b64encode(inputs.authority.encode()).decode(),
            "seal_key": {"get_param": [_SECRETS, metadata.seal_key(instance.name)]},
            "metadata": _server_metadata(inputs.overcloud, instance),
            **_zone(instance),
        },
    }
    return resources | _configuration(inputs, instance, digest)


def _zone(instance: Instance) -> Tree:
    return {"zone": instance.zone} if instance.zone else {}


def _untagged(instance: Instance) -> tuple[str, ...]:
    """The networks that a server has a NIC for; the ports of others only keep their addresses."""
    return instance.networks if _entry(instance).has_share else instance.networks[:1]


def _server_metadata(overcloud: Overcloud, instance: Instance) -> Tree:
    found = {
        OVERCLOUD: overcloud.name,
        INSTANCE: instance.name,
        HYPERVISOR: str(instance.hypervisor),
        STATE_DISK: state_disk(overcloud.name, instance.name),
        STATE_GIB: str(instance.state_gib),
    }
    if not _entry(instance).has_share:
        # The one disk of a machine: what is behind the root is the state's.
        found[ROOT_GIB] = str(instance.disk_gib)
    return found


def _metadata(inputs: Inputs, instance: Instance) -> Tree:
    return metadata.instance(
        inputs.overcloud, instance, inputs.addresses, inputs.secrets, inputs.undercloud
    )


def _configuration(inputs: Inputs, instance: Instance, digest: str) -> Tree:
    tree = _metadata(inputs, instance)
    clear, secret = metadata.split(tree)
    key = inputs.secrets[metadata.seal_key(instance.name)]
    config = f"{instance.name}_config"
    resource: Tree = {
        "type": "OS::Heat::StructuredDeployment",
        "properties": {
            "name": instance.name,
            "config": {"get_resource": config},
            "server": {"get_attr": [instance.name, "server"]},
            "signal_transport": "HEAT_SIGNAL",
            # A rebuilt server keeps its id: only a changed input configures it again.
            "input_values": {
                "config_digest": digest,
                "image_digest": inputs.images[instance.name].digest,
            },
        },
    }
    before = _configured_before(inputs.overcloud, instance)
    if before:
        resource["depends_on"] = [deployment(name) for name in before]
    return {
        config: {
            "type": "OS::Heat::StructuredConfig",
            "depends_on": [_ORIGIN],
            "properties": {
                "group": "os-apply-config",
                "config": clear | {"sealed": seal.seal(secret, key)},
            },
        },
        deployment(instance.name): resource,
    }


def _configured_before(overcloud: Overcloud, instance: Instance) -> list[str]:
    """The instances that are complete before this one is configured: those with what it needs.

    Instances that need one another are configured at the same time, and wait inside: for the
    database, for Keystone.
    """
    return [
        other.name
        for other in overcloud.instances
        if _needs(instance) & set(other.services)
        and order(other) < order(instance)
        and instance.name not in _needed(overcloud, other)
    ]


def _needs(instance: Instance) -> set[str]:
    return {name for service in instance.services for name in services.get(service).needs}


def _needed(overcloud: Overcloud, instance: Instance) -> set[str]:
    """The instances that one needs, and those that they need."""
    found: set[str] = set()
    left = [instance]
    while left:
        needs = _needs(left.pop())
        new = [
            other
            for other in overcloud.instances
            if needs & set(other.services) and other.name not in found
        ]
        found |= {other.name for other in new}
        left += new
    return found


def order(instance: Instance) -> tuple[int, str]:
    """What instances are sorted by: those that others need come first."""
    return min(services.get(name).order for name in instance.services), instance.name
