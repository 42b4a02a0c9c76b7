"""What has to be done to bring an overcloud about: plain data, made by a pure function.

The executor (``deploy``) carries out the steps in this order and chooses nothing.
"""

import collections.abc
import dataclasses
import enum
import json
from typing import Any

from altostratus import addresses, certificates, changes, metadata, stack, table
from altostratus.changes import Action, Change
from altostratus.model import Image, Instance, Overcloud
from altostratus.observed import Observed


class Kind(enum.StrEnum):
    """What a step does."""

    BUILD_IMAGE = "build image"
    LOAD_IMAGE = "load image"
    CREATE_KEYPAIR = "create key pair"
    CREATE_FLAVOR = "create flavor"
    CREATE_NETWORK = "create network"
    START_SERVER = "start server"
    RESTART_SERVER = "restart server"
    REBUILD_SERVER = "rebuild server"
    CONFIGURE_SERVER = "configure server"
    RELEASE_STATE = "release state"
    DELETE_SERVER = "delete server"
    FORGET_SERVER = "forget server"
    BRING_STATE = "bring state"
    CREATE_STACK = "create stack"
    UPDATE_STACK = "update stack"
    REGISTER_CATALOG = "register catalog"
    AWAIT_STACK = "await stack"
    WRITE_CREDENTIALS = "write credentials"
    AWAIT_SERVICES = "await services"
    VERIFY = "verify"


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """One thing to do. ``subject`` is its object's name, ``digest`` that of an image, ``node`` the one
    that something is brought from."""

    kind: Kind
    subject: str
    reason: str
    instance: str | None = None
    digest: str | None = None
    node: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """The steps, what they change in instances, and what was decided for all. Holds no secret."""

    overcloud: Overcloud
    steps: tuple[Step, ...]
    addresses: addresses.Assigned
    images: dict[str, Image]
    irreplaceable: tuple[str, ...]
    nothing_to_do: str | None = None
    changes: tuple[Change, ...] = ()

    def as_data(self) -> dict[str, Any]:
        """The plan as plain data: what ``--json`` shows and ``--out`` keeps."""
        return {
            "overcloud": self.overcloud.name,
            "nothing_to_do": self.nothing_to_do,
            "steps": [dataclasses.asdict(step) for step in self.steps],
            "changes": [dataclasses.asdict(change) for change in self.changes],
            "addresses": self.addresses,
            "images": {name: dataclasses.asdict(image) for name, image in self.images.items()},
        }


def make(
    overcloud: Overcloud,
    observed: Observed,
    images: collections.abc.Mapping[str, Image],
    secrets: metadata.Secrets,
    templates: collections.abc.Mapping[str, str],
) -> Plan:
    """Plan the way from what is observed to the overcloud.

    ``images`` are by instance; ``secrets`` those of the overcloud, which only enter digests.
    """
    assigned = addresses.assign(overcloud, observed)
    undercloud = str(observed.control.gateway)
    inputs = stack.Inputs(
        overcloud, assigned, images, secrets, templates, observed.authority, undercloud
    )
    wanted = stack.render(inputs)
    differences = tuple(changes.of_stack(observed, wanted))
    brought_back = tuple(changes.of_servers(overcloud, observed, differences))
    asked = list(_stack_steps(overcloud, observed, wanted, differences))
    is_configured = changes.is_configuration(observed, wanted)
    url = auth_url(overcloud, assigned)
    steps = [
        *_image_steps(images, observed),
        *_preparing_steps(overcloud, observed),
        *(_server_step(overcloud, change) for change in brought_back),
        *(_forget(overcloud, change) for change in differences if change.action is Action.RECREATE),
        *asked,
        *(_catalog_steps(inputs, observed, is_configured) if url else ()),
        *(_await(step) for step in asked),
        *(_credentials_steps(observed, url, secrets) if url else ()),
    ]
    if brought_back and url:
        steps.append(Step(Kind.AWAIT_SERVICES, overcloud.name, "until they answer again"))
    if steps:
        steps.append(Step(Kind.VERIFY, overcloud.name, "something changes"))
    return Plan(
        overcloud=overcloud,
        steps=tuple(steps),
        addresses=assigned,
        images=dict(images),
        irreplaceable=tuple(
            found.name for found in overcloud.instances if _is_healthy(observed, found)
        ),
        nothing_to_do=None if steps else _why_nothing(overcloud, wanted),
        changes=(*brought_back, *(differences if asked else ())),
    )


def restricted(plan: Plan, kind: Kind) -> Plan:
    """The steps of one kind alone."""
    steps = tuple(step for step in plan.steps if step.kind is kind)
    nothing = None if steps else f"no step '{kind}' is left for {plan.overcloud.name}"
    return dataclasses.replace(plan, steps=steps, nothing_to_do=nothing, changes=())


def to_text(plan: Plan) -> str:
    """The plan for people."""
    if plan.nothing_to_do:
        return f"Nothing to do: {plan.nothing_to_do}\n"
    count = f"{len(plan.steps)} step{'s' if len(plan.steps) != 1 else ''}"
    lines = [f"Plan for the overcloud {plan.overcloud.name}: {count}"]
    kind_width = max(len(step.kind) for step in plan.steps)
    subject_width = max(len(_subject(step)) for step in plan.steps)
    lines += [
        f"  {step.kind:{kind_width}}  {_subject(step):{subject_width}}  {step.reason}"
        for step in plan.steps
    ]
    if plan.changes:
        rows = [(one.instance, one.action, one.reason, one.effect) for one in plan.changes]
        lines += ["", *table.lines([("INSTANCE", "CHANGE", "WHY", "EXPECTED"), *rows])]
    return "\n".join((*lines, *warnings(plan.overcloud))) + "\n"


def warnings(overcloud: Overcloud) -> tuple[str, ...]:
    """What an operator should know who carries out a plan."""
    return tuple(
        f"warning: the instance {found.name!r} is privileged: whoever gets hold of it has a far"
        " larger part of the node's kernel to attack; for development only"
        for found in overcloud.instances
        if found.privileged
    )


def to_json(plan: Plan) -> str:
    """The plan for programs."""
    return json.dumps(plan.as_data(), indent=2, sort_keys=True) + "\n"


def credentials_digest(auth_url: str, password: str, authority: str | None) -> str:
    """What stands for an entry of the user's clouds.yaml, and the authority that it trusts."""
    return metadata.digest([auth_url, password, authority])


def auth_url(overcloud: Overcloud, assigned: addresses.Assigned) -> str | None:
    """The public URL of the overcloud's Keystone, if it has one."""
    return metadata.public_urls(overcloud, assigned).get("keystone")


def _subject(step: Step) -> str:
    return f"{step.subject} ({step.digest[:12]})" if step.digest else step.subject


_Steps = collections.abc.Iterator[Step]


def _image_steps(images: collections.abc.Mapping[str, Image], observed: Observed) -> list[Step]:
    missing = {
        image.digest: image for image in images.values() if image.digest not in observed.images
    }
    build = [
        Step(Kind.BUILD_IMAGE, image.name, "not in the cache", digest=digest)
        for digest, image in missing.items()
        if digest not in observed.built
    ]
    load = [
        Step(Kind.LOAD_IMAGE, image.name, "not in the undercloud's Glance", digest=digest)
        for digest, image in missing.items()
    ]
    return build + load


def _preparing_steps(overcloud: Overcloud, observed: Observed) -> _Steps:
    missing = "not in the undercloud"
    if not observed.has_keypair:
        yield Step(Kind.CREATE_KEYPAIR, stack.keypair(overcloud.name), missing)
    for name in dict.fromkeys(stack.flavor(found) for found in overcloud.instances):
        if name not in observed.flavors:
            yield Step(Kind.CREATE_FLAVOR, name, missing)
    there = {found.name: found for found in observed.networks}
    for network in overcloud.networks:
        name = stack.network(overcloud.name, network.name)
        # A network without its subnet is one whose making was cut off.
        if name not in there or not there[name].cidrs:
            reason = f"{missing}: VLAN {network.vlan}, {network.cidr}"
            yield Step(Kind.CREATE_NETWORK, name, reason)


_BRINGS_BACK = {
    Action.START: Kind.START_SERVER,
    Action.RESTART: Kind.RESTART_SERVER,
    Action.REBUILD: Kind.REBUILD_SERVER,
    Action.CONFIGURE: Kind.CONFIGURE_SERVER,
}


def _server_step(overcloud: Overcloud, change: Change) -> Step:
    name = f"{overcloud.name}-{change.instance}"
    return Step(_BRINGS_BACK[change.action], name, change.reason, change.instance)


def _stack_steps(
    overcloud: Overcloud,
    observed: Observed,
    wanted: stack.Request,
    differences: tuple[Change, ...],
) -> _Steps:
    if observed.stack is None:
        yield Step(Kind.CREATE_STACK, overcloud.name, "there is none")
        return
    if not observed.stack.is_complete:
        yield Step(Kind.UPDATE_STACK, overcloud.name, f"it is {observed.stack.status}")
    elif observed.stack.digest != wanted.digest or differences:
        said = changes.in_words(differences)
        reason = f"changed: {said}" if said else "its templates changed"
        yield Step(Kind.UPDATE_STACK, overcloud.name, reason)


def _forget(overcloud: Overcloud, change: Change) -> Step:
    name = f"{overcloud.name}-{change.instance}"
    return Step(Kind.FORGET_SERVER, name, "it was deleted from outside", change.instance)


def _await(asked: Step) -> Step:
    return Step(Kind.AWAIT_STACK, asked.subject, "until all its instances are configured")


def _catalog_steps(inputs: stack.Inputs, observed: Observed, is_configured: bool) -> _Steps:
    entries = metadata.overcloud_catalog(inputs.overcloud, inputs.addresses, inputs.secrets)
    wanted = {entry["name"]: entry.get("public_url") for entry in entries}
    there = observed.endpoints or {}
    # What has a user and no endpoint was registered when its instance was configured.
    missing = [
        name
        for name, endpoint in wanted.items()
        if (there.get(name) != endpoint if endpoint else is_configured)
    ]
    if missing:
        asked = observed.endpoints is not None
        lacks = f"not in its Keystone: {', '.join(missing)}"
        reason = lacks if asked else "once its Keystone answers: others wait for the entries"
        yield Step(Kind.REGISTER_CATALOG, inputs.overcloud.name, reason)


def _credentials_steps(observed: Observed, url: str, secrets: metadata.Secrets) -> _Steps:
    authority = certificates.trusted(secrets)
    if observed.credentials != credentials_digest(url, secrets["admin_password"], authority):
        yield Step(Kind.WRITE_CREDENTIALS, "overcloud", "not in clouds.yaml")


def _is_healthy(observed: Observed, instance: Instance) -> bool:
    """Whether Heat must keep its hands off the server: it has run, and holds state."""
    server = observed.server_of(instance.name)
    return server is not None and not changes.is_replaced(server)


def _why_nothing(overcloud: Overcloud, wanted: stack.Request) -> str:
    count = len(overcloud.instances)
    return (
        f"the stack {overcloud.name} is complete and made from exactly this"
        f" ({wanted.digest[:12]}), and its {count} instance{'s' if count != 1 else ''} answer"
    )
