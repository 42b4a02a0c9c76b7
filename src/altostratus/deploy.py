"""Carries out plans. It chooses nothing: the plan did.

An interrupted run is resumed by running again: the next plan begins with what is there.
"""

import collections.abc
import contextlib
import dataclasses
import datetime
import functools
import pathlib

import openstack

from altostratus import (
    addresses,
    administrator,
    catalog,
    certificates,
    check,
    cloud,
    credentials,
    errors,
    failures,
    glance,
    heat,
    history,
    hypervisors,
    images,
    imagespec,
    keptplan,
    keypair,
    lock,
    log,
    metadata,
    moves,
    networks,
    nodedisks,
    plan,
    reach,
    rollout,
    servers,
    spread,
    stack,
    survey,
    verify,
)
from altostratus.deployment import Deployment
from altostratus.model import Image, Overcloud, Share
from altostratus.yamlfile import Document

TEMPLATES = pathlib.Path(__file__).parents[2] / "heat"
_IDENTITY_S = 900
# For an answer of a Keystone that has just come up, in a machine that is emulated.
_ANSWER_S = 60


def prepare(overcloud: Overcloud, document: Document, *, is_rollout: bool = False) -> Deployment:
    """Observe, check and plan; changes nothing.

    All instances get today's images. What no plain deployment may do, a rollout does with care:
    bring another release, and stop machines. Raises :class:`errors.FindingsError` with everything
    that speaks against it.
    """
    undercloud = cloud.connect("undercloud")
    found, overcloud = _look(undercloud, overcloud, document, is_rollout=is_rollout)
    secrets = _renewed(overcloud, found, ())
    planned = _planned(undercloud, overcloud, document, found, secrets)
    stopped = check.check_stopped(planned.plan.changes, found.observed, document)
    if stopped and not is_rollout:
        raise errors.FindingsError(stopped)
    return planned


def prepare_change(
    target: Deployment, overcloud: Overcloud, alone: collections.abc.Mapping[str, Image]
) -> Deployment:
    """Plan one change of a rollout, for which there was a ``target``; changes nothing.

    ``alone`` says which few instances get which image: the others keep what they have. Raises
    :class:`errors.FindingsError` with everything that speaks against it.
    """
    undercloud, document = target.undercloud, target.document
    found, overcloud = _look(undercloud, overcloud, document, is_rollout=True)
    secrets = _renewed(overcloud, found, ())
    return _planned(undercloud, overcloud, document, found, secrets, alone)


def prepare_renewal(overcloud: Overcloud, document: Document, *, authority: bool) -> Deployment:
    """Plan to renew the certificates of an overcloud's instances, and nothing else; changes nothing.

    With ``authority`` there is a new one of that, too. Raises :class:`errors.Error` where there
    is no overcloud, or more to do than this.
    """
    undercloud = cloud.connect("undercloud")
    found, overcloud = _look(undercloud, overcloud, document)
    planned = functools.partial(_planned, undercloud, overcloud, document, found)
    if not found.observed.certificates:
        raise errors.Error(
            f"the overcloud {overcloud.name} has no certificates: it is not there",
            hint="deploy it first: ./altostratus overcloud deploy FILE",
        )
    known = metadata.overcloud_secrets(overcloud, found.secrets)
    anew = {certificates.of(instance.name) for instance in overcloud.instances}
    if not anew <= known.keys() or planned(known).plan.steps:
        raise errors.Error(
            f"there is more to do at the overcloud {overcloud.name} than to renew certificates",
            hint="deploy it first: ./altostratus overcloud plan FILE shows what there is to do",
        )
    if authority:
        anew.add(certificates.AUTHORITY)
    return planned(_renewed(overcloud, found, anew))


def prepare_evacuation(overcloud: Overcloud, document: Document, asked: moves.Asked) -> Deployment:
    """Plan to have the instances of a node that is down on others; changes nothing.

    They keep their images. Raises :class:`errors.Error` where the node is not down, and
    :class:`errors.FindingsError` with everything that speaks against it.
    """
    undercloud = cloud.connect("undercloud")
    found = _settled(undercloud, overcloud)
    project = str(undercloud.current_project_id)
    asked = nodedisks.asked(asked, project, overcloud)
    resolved = moves.resolve(overcloud, found.observed, asked, document)
    nodedisks.refuse_running(asked.node)
    seen = dataclasses.replace(found, observed=resolved.observed)
    secrets = _renewed(resolved.overcloud, seen, ())
    planned = _planned(undercloud, resolved.overcloud, document, seen, secrets, {})
    made = moves.plan(planned.plan, resolved, asked.node)
    return dataclasses.replace(planned, plan=made, observed=found.observed)


def kept(deployment: Deployment, hypervisor: str | None) -> keptplan.Kept:
    """The plan as it is kept; ``hypervisor`` is the one that was chosen beside the file."""
    sources = keptplan.Sources(
        deployment.observed, deployment.secrets, deployment.known, templates()
    )
    return keptplan.make(deployment.plan, sources, deployment.document, hypervisor)


def _look(
    undercloud: openstack.connection.Connection,
    overcloud: Overcloud,
    document: Document,
    *,
    is_rollout: bool = False,
) -> tuple[survey.Survey, Overcloud]:
    """What was observed, and the overcloud with its instances' zones.

    A rollout changes images alone: what differs inside instances is no matter of it.
    """
    found = _settled(undercloud, overcloud, inside=not is_rollout)
    overcloud = spread.place(overcloud, found.observed)
    findings = check.check(overcloud, found.observed, document)
    findings += check.check_nodes(overcloud, found.observed, document)
    if not is_rollout:
        findings += check.check_release(overcloud, found.observed, document)
    if findings:
        raise errors.FindingsError(findings)
    return found, overcloud


def _settled(
    undercloud: openstack.connection.Connection, overcloud: Overcloud, *, inside: bool = True
) -> survey.Survey:
    """What is there when Heat is done with what an interrupted run asked it for."""
    found = survey.read(undercloud, overcloud, inside=inside)
    if found.observed.stack is None or not found.observed.stack.is_changing:
        return found
    heat.wait_settled(undercloud, overcloud.name)
    return survey.read(undercloud, overcloud, inside=inside)


def _planned(
    undercloud: openstack.connection.Connection,
    overcloud: Overcloud,
    document: Document,
    found: survey.Survey,
    secrets: dict[str, str],
    alone: collections.abc.Mapping[str, Image] | None = None,
) -> Deployment:
    log.hide(secrets.values())
    specs = survey.image_specs(overcloud)
    wanted = {
        name: Image(one.name, imagespec.digest(one), one.release) for name, one in specs.items()
    }
    if alone is not None:
        wanted = rollout.running(found.observed, wanted) | dict(alone)
    made = plan.make(overcloud, found.observed, wanted, secrets, templates())
    return Deployment(undercloud, made, secrets, found.observed, found.secrets, document)


def _renewed(
    overcloud: Overcloud, found: survey.Survey, anew: collections.abc.Collection[str]
) -> dict[str, str]:
    """The overcloud's secrets, with those certificates made anew and those that end soon."""
    secrets = metadata.overcloud_secrets(overcloud, found.secrets)
    assigned = addresses.assign(overcloud, found.observed)
    now = datetime.datetime.now(datetime.UTC)
    instances = metadata.certified(overcloud, assigned)
    return certificates.renewed(secrets, overcloud.name, instances, now, anew)


def check_machine(overcloud: Overcloud, document: Document) -> None:
    """Check what can be checked where there is no undercloud.

    Raises :class:`errors.FindingsError` with everything that speaks against it.
    """
    findings = check.check_machine(overcloud, survey.machine_networks(), document)
    if findings:
        raise errors.FindingsError(findings)


def check_shares(overcloud: Overcloud, shares: tuple[Share, ...], document: Document) -> None:
    """Check whether an undercloud with these shares can have room, before it is brought up.

    Raises :class:`errors.FindingsError` with everything that it has too little of.
    """
    findings = check.check_shares(overcloud, shares, document)
    if findings:
        raise errors.FindingsError(findings)


def execute(deployment: Deployment) -> None:
    """Carry out all steps of a plan in their order, but for those that build images: together.

    Raises :class:`errors.Held` if somebody else changes the overcloud.
    """
    if not deployment.plan.steps:
        return
    with lock.held(deployment.undercloud, deployment.plan.overcloud.name):
        reach.open_all(deployment.plan.overcloud)
        _build_images(deployment)
        for step in deployment.plan.steps:
            if step.kind is not plan.Kind.BUILD_IMAGE:
                with log.step(f"{step.kind} {step.subject}") as shown:
                    _ACTIONS[step.kind](deployment, step, shown)


def _build_images(deployment: Deployment) -> None:
    """Carry out the steps that a plan begins with; what is shown are the parts of images."""
    steps = [step for step in deployment.plan.steps if step.kind is plan.Kind.BUILD_IMAGE]
    images.build_all(_spec(deployment, step) for step in steps)


def request_stack(deployment: Deployment, why: str) -> None:
    """Ask Heat for the overcloud as it was planned, and have it carry on the history."""
    made, undercloud = deployment.plan, deployment.undercloud
    inputs = stack.Inputs(
        made.overcloud,
        made.addresses,
        made.images,
        deployment.secrets,
        templates(),
        deployment.observed.authority,
        str(deployment.observed.control.gateway),
    )
    who, now = lock.myself().operator, datetime.datetime.now(datetime.UTC)
    entry = history.entry(made, why, deployment.document, who, now)
    ids, earlier = survey.ids_and_deployments(undercloud, made.overcloud.name)
    entries = history.extended(earlier, entry)
    request = stack.render(inputs, ids, made.irreplaceable, history.to_output(entries))
    heat.apply(undercloud, made.overcloud.name, request)


def templates() -> dict[str, str]:
    """The provider templates by file name."""
    return {path.name: path.read_text() for path in sorted(TEMPLATES.glob("*.yaml"))}


_Action = collections.abc.Callable[[Deployment, plan.Step, log.Step], None]


def _load_image(deployment: Deployment, step: plan.Step, shown: log.Step) -> None:
    glance.load(deployment.undercloud, _spec(deployment, step))


def _create_keypair(deployment: Deployment, step: plan.Step, shown: log.Step) -> None:
    keypair.create(deployment.undercloud, deployment.plan.overcloud.name)


def _create_flavor(deployment: Deployment, step: plan.Step, shown: log.Step) -> None:
    instance = next(
        found
        for found in deployment.plan.overcloud.instances
        if stack.flavor(found) == step.subject
    )
    compute = deployment.undercloud.compute
    flavor = compute.create_flavor(
        name=step.subject,
        # Whoever looks it up by its name has it at once, and the same after it was made again.
        id=step.subject,
        ram=instance.memory_mib,
        vcpus=instance.vcpus,
        disk=instance.disk_gib,
        is_public=not instance.privileged,
    )
    properties = hypervisors.flavor_properties(instance)
    if instance.privileged:
        properties |= {hypervisors.PRIVILEGED: "true"}
        compute.flavor_add_tenant_access(flavor, str(deployment.undercloud.current_project_id))
    compute.create_flavor_extra_specs(flavor, properties)


def _create_network(deployment: Deployment, step: plan.Step, shown: log.Step) -> None:
    overcloud = deployment.plan.overcloud
    wanted = next(
        found
        for found in overcloud.networks
        if stack.network(overcloud.name, found.name) == step.subject
    )
    networks.create(deployment.undercloud, overcloud, wanted)


def _create_or_update_stack(deployment: Deployment, step: plan.Step, shown: log.Step) -> None:
    request_stack(deployment, step.reason)


def _await_stack(deployment: Deployment, step: plan.Step, shown: log.Step) -> None:
    with _explained(deployment):
        heat.wait(deployment.undercloud, deployment.plan.overcloud.name, shown)


@contextlib.contextmanager
def _explained(deployment: Deployment) -> collections.abc.Iterator[None]:
    """Let a stack that fails say down to the instance why."""
    try:
        yield
    except errors.StackFailed as exc:
        raise failures.explain(deployment.undercloud, deployment.plan, exc) from exc


def _register_catalog(deployment: Deployment, step: plan.Step, shown: log.Step) -> None:
    overcloud, assigned = deployment.plan.overcloud, deployment.plan.addresses
    entries = metadata.overcloud_catalog(overcloud, assigned, deployment.secrets)
    url = plan.auth_url(overcloud, assigned)
    assert url is not None, "a catalogue needs a Keystone"
    watch = heat.Watch(deployment.undercloud, overcloud.name)
    with administrator.connected(url, deployment.secrets, _ANSWER_S) as admin:

        def letting_in() -> tuple[bool | None, str]:
            if cloud.serves(admin) and cloud.lets_in(admin):
                return True, ""
            return None, watch.progress()

        with _explained(deployment):
            cloud.wait("Keystone", letting_in, _IDENTITY_S, step=shown)
        for change in catalog.register(admin, entries):
            log.debug(f"registered {change}")


def _write_credentials(deployment: Deployment, step: plan.Step, shown: log.Step) -> None:
    url = plan.auth_url(deployment.plan.overcloud, deployment.plan.addresses)
    assert url is not None, "credentials need a Keystone"
    credentials.write(
        "overcloud",
        auth_url=url,
        username="admin",
        password=deployment.secrets["admin_password"],
        project="admin",
        authority=certificates.trusted(deployment.secrets),
    )


def _await_services(deployment: Deployment, step: plan.Step, shown: log.Step) -> None:
    cloud.wait_serving("overcloud", hint="./altostratus overcloud status")


def _verify(deployment: Deployment, step: plan.Step, shown: log.Step) -> None:
    verify.overcloud(deployment.plan.overcloud)


_ACTIONS: dict[plan.Kind, _Action] = {
    plan.Kind.LOAD_IMAGE: _load_image,
    plan.Kind.CREATE_KEYPAIR: _create_keypair,
    plan.Kind.CREATE_FLAVOR: _create_flavor,
    plan.Kind.CREATE_NETWORK: _create_network,
    plan.Kind.START_SERVER: servers.start,
    plan.Kind.RESTART_SERVER: servers.restart,
    plan.Kind.REBUILD_SERVER: servers.rebuild,
    plan.Kind.CONFIGURE_SERVER: servers.configure,
    plan.Kind.RELEASE_STATE: servers.release_state,
    plan.Kind.DELETE_SERVER: servers.delete,
    plan.Kind.FORGET_SERVER: servers.forget,
    plan.Kind.BRING_STATE: nodedisks.bring,
    plan.Kind.CREATE_STACK: _create_or_update_stack,
    plan.Kind.UPDATE_STACK: _create_or_update_stack,
    plan.Kind.REGISTER_CATALOG: _register_catalog,
    plan.Kind.AWAIT_STACK: _await_stack,
    plan.Kind.WRITE_CREDENTIALS: _write_credentials,
    plan.Kind.AWAIT_SERVICES: _await_services,
    plan.Kind.VERIFY: _verify,
}


def _spec(deployment: Deployment, step: plan.Step) -> imagespec.ImageSpec:
    specs = survey.image_specs(deployment.plan.overcloud).values()
    return next(one for one in specs if imagespec.digest(one) == step.digest)
