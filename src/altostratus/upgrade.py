"""Takes new images to an overcloud, one instance after another, and takes it back.

Each change is a plan of its own, made anew from what is there: a run that was cut off is resumed by
running again.
"""

import collections.abc
import dataclasses

from altostratus import (
    departures,
    deploy,
    emptying,
    errors,
    imagespec,
    lock,
    log,
    plan,
    rollout,
    schemas,
    services,
    survey,
    verify,
)
from altostratus.departures import Departures
from altostratus.deployment import Deployment
from altostratus.model import Image, Overcloud
from altostratus.rollout import Change
from altostratus.yamlfile import Document

_FOREGOING = (plan.Kind.BUILD_IMAGE, plan.Kind.LOAD_IMAGE)


@dataclasses.dataclass(frozen=True, slots=True)
class Rollout:
    """Changes of images, and the plan that an overcloud has with all of them.

    ``moved`` are the schemas that new software will change, ``lost`` the copies of databases that
    come back with an image of before, ``leaving`` what becomes of machines on compute nodes, and
    ``stopping`` the nodes that change though not all of them have another place.
    """

    overcloud: Overcloud
    deployment: Deployment
    changes: tuple[Change, ...]
    moved: tuple[schemas.Schema, ...] = ()
    lost: collections.abc.Mapping[str, tuple[schemas.Copy, ...]] = dataclasses.field(
        default_factory=dict
    )
    leaving: Departures = dataclasses.field(default_factory=dict)
    stopping: collections.abc.Collection[str] = ()

    @property
    def instances(self) -> schemas.Instances:
        """The instances, to be asked."""
        return schemas.Instances(self.overcloud, self.deployment.observed)


def prepare_upgrade(
    overcloud: Overcloud,
    document: Document,
    only: collections.abc.Collection[str],
    stopping: collections.abc.Collection[str] = (),
) -> Rollout:
    """Find which instances have other images than today's; changes nothing.

    Compute nodes whose machines have no other place are left out, but for those in ``stopping``.
    Raises :class:`errors.Error` if the overcloud is not there, or new software comes to a schema
    whose last upgrade is not finished.
    """
    target = _target(overcloud, document)
    wanted = target.plan.images
    before = rollout.running(target.observed, wanted)
    found = rollout.differing(overcloud, before, wanted, only)
    rollout.refuse_older(found)
    leaving = _leaving(target, found, stopping)
    found = rollout.without(found, departures.staying(leaving, stopping))
    moved = _moved(overcloud, target, found)
    return Rollout(overcloud, target, found, moved, leaving=leaving, stopping=stopping)


def prepare_rollback(
    overcloud: Overcloud,
    document: Document,
    only: collections.abc.Collection[str],
    when: str | None,
    accepted: collections.abc.Collection[str] = (),
    stopping: collections.abc.Collection[str] = (),
) -> Rollout:
    """Find which instances had other images before, or at a moment; changes nothing.

    Compute nodes whose machines have no other place are left out, but for those in ``stopping``.
    Raises :class:`errors.Error` if the overcloud is not there, an image no longer is, or data
    would be lost of instances that are not ``accepted``.
    """
    target = _target(overcloud, document)
    before = rollout.running(target.observed, target.plan.images)
    entries = survey.deployments(target.undercloud, overcloud.name)
    after = rollout.earlier(entries, before, when)
    found = rollout.differing(overcloud, before, after, only)[::-1]
    leaving = _leaving(target, found, stopping)
    found = rollout.without(found, departures.staying(leaving, stopping))
    _refuse_missing(rollout.missing(found, target.observed))
    lost = _lost(schemas.Instances(overcloud, target.observed), found)
    _refuse_loss(lost, accepted)
    return Rollout(overcloud, target, found, lost=lost, leaving=leaving, stopping=stopping)


def to_text(wanted: Rollout) -> str:
    """The changes for people, and what becomes of machines."""
    return rollout.to_text(wanted.overcloud, wanted.changes, wanted.leaving, wanted.stopping)


def verify_before(wanted: Rollout) -> None:
    """Raise :class:`errors.VerifyFailed` where the overcloud does not do what it should already.

    Otherwise the next instance to change would be suspected. An upgrade that was cut off may have
    left the last change so, with nothing more to change.
    """
    try:
        verify.overcloud(wanted.overcloud)
    except errors.VerifyFailed as exc:
        hint = (
            "before the upgrade, mend it: ./altostratus overcloud deploy FILE; or go back:"
            " ./altostratus overcloud rollback FILE"
        )
        raise errors.VerifyFailed(exc.message, hint) from exc


def execute(wanted: Rollout) -> None:
    """Make the images, then carry out the changes in their order, up to the first that fails.

    That instance gets back the image that it had. A compute node is empty of machines while it
    changes. Raises :class:`errors.UpgradeFailed`, and :class:`errors.Held` if somebody else
    changes the overcloud.
    """
    with lock.held(wanted.deployment.undercloud, wanted.overcloud.name):
        deploy.execute(_restricted(wanted))
        if wanted.overcloud.instance_of(services.COMPUTE):
            emptying.open_left(wanted.deployment)
        for change in wanted.changes:
            with log.step(f"change {change.instance}"):
                if services.COMPUTE in wanted.overcloud.instance(change.instance).services:
                    _change_emptied(wanted, change)
                else:
                    _change(wanted, change)


def finish(
    overcloud: Overcloud, document: Document, only: collections.abc.Collection[str]
) -> tuple[schemas.Schema, ...]:
    """Take from all schemas what only software of before needs; returns those that had it.

    From then on a rollback to that software is one to a copy of its data. Raises
    :class:`errors.Error` if an instance was taken back: its software is not the last.
    """
    target = _target(overcloud, document)
    instances = schemas.Instances(overcloud, target.observed)
    found = tuple(
        one
        for one in schemas.read(instances)
        if one.is_unfinished and (not only or one.instance in only)
    )
    with lock.held(target.undercloud, overcloud.name):
        for one in found:
            schemas.finish(instances, one)
    return found


def _moved(
    overcloud: Overcloud, target: Deployment, found: tuple[Change, ...]
) -> tuple[schemas.Schema, ...]:
    """The schemas that the software of new images does not know."""
    specs = survey.image_specs(overcloud)
    software = {
        change.instance: imagespec.locked_versions(specs[change.instance]) for change in found
    }
    there = (
        schemas.read(schemas.Instances(overcloud, target.observed))
        if any(software.values())
        else ()
    )
    moved = tuple(
        one
        for one in there
        if software.get(one.instance, {}).get(one.service, one.software) not in one.known
    )
    for one in moved:
        if one.is_unfinished:
            raise errors.Error(
                f"the upgrade of {one.service} in {one.instance} from {one.known[0]} to"
                f" {one.known[-1]} is not finished",
                hint="give up the way back: ./altostratus overcloud upgrade --finish FILE; or go"
                " it: ./altostratus overcloud rollback FILE",
            )
    return moved


def _lost(
    instances: schemas.Instances, found: tuple[Change, ...]
) -> dict[str, tuple[schemas.Copy, ...]]:
    """The copies of databases that must come back with the images of these changes."""
    changing = {change.instance for change in found}
    # Without a database of its own, an instance goes back whatever the database's says.
    if not changing & set(schemas.holders(instances.overcloud)):
        return {}
    there, now = schemas.copies(instances), schemas.read(instances)
    lost = {
        change.instance: schemas.lost_by(now, there, change.instance, change.after.digest)
        for change in found
    }
    moved = {
        name: tuple(one for one in copies if schemas.has_moved(instances, one))
        for name, copies in lost.items()
    }
    return {name: copies for name, copies in moved.items() if copies}


def _refuse_loss(
    lost: collections.abc.Mapping[str, tuple[schemas.Copy, ...]],
    accepted: collections.abc.Collection[str],
) -> None:
    for name, copies in lost.items():
        if name not in accepted:
            said = ", ".join(f"{one.service} {one.version}" for one in copies)
            when = min(one.when for one in copies)
            raise errors.Error(
                f"the schema of {name} has moved since it had {said}: its databases would go back"
                f" to the copy of {when}, and what was written since would be lost",
                hint=f"if that is what you want, say so: --accept-loss {name}",
            )


def _leaving(
    target: Deployment, found: tuple[Change, ...], stopping: collections.abc.Collection[str]
) -> dict[str, departures.Leaving]:
    """What becomes of the machines on compute nodes that change, as far as can be told."""
    rollout.refuse_unknown(stopping, target.observed)
    carrying = rollout.carrying(found, target.observed)
    # Where none runs, none comes from another node either.
    if not carrying:
        return {}
    nodes = emptying.read(target)
    leaving = departures.foresee(nodes, [change.instance for change in found], stopping)
    unknown = {name: departures.unknown(there) for name, there in carrying.items()}
    return leaving | {name: one for name, one in unknown.items() if name not in nodes}


def _care_for_data(wanted: Rollout, change: Change) -> None:
    """Copy databases that new software will change, and put back those that old software had."""
    for schema in wanted.moved:
        if schema.instance == change.instance:
            schemas.write_copy(wanted.instances, schema, change.before.digest)
    for copy in wanted.lost.get(change.instance, ()):
        schemas.restore(wanted.instances, change.instance, copy)


def _target(overcloud: Overcloud, document: Document) -> Deployment:
    target = deploy.prepare(overcloud, document, is_rollout=True)
    if target.observed.stack is None:
        raise errors.Error(
            f"there is no overcloud {overcloud.name}",
            hint="deploy it first: ./altostratus overcloud deploy FILE",
        )
    return target


def _refuse_missing(found: tuple[Change, ...]) -> None:
    if found:
        names = ", ".join(f"{change.instance} ({change.after.digest[:12]})" for change in found)
        raise errors.Error(
            f"the undercloud has no longer the images to go back to: {names}",
            hint="take the elements and locks of then, and run: ./altostratus overcloud upgrade",
        )


def _restricted(wanted: Rollout) -> Deployment:
    """The steps alone that make the images of the changes."""
    digests = {change.after.digest for change in wanted.changes}
    steps = tuple(
        step
        for step in wanted.deployment.plan.steps
        if step.kind in _FOREGOING and step.digest in digests
    )
    made = dataclasses.replace(wanted.deployment.plan, steps=steps)
    return dataclasses.replace(wanted.deployment, plan=made)


def _change_emptied(wanted: Rollout, change: Change) -> None:
    """Change a compute node when its machines are gone; where they cannot go, it stays."""
    may_stop = change.instance in wanted.stopping
    try:
        with emptying.emptied(wanted.deployment, change.instance, may_stop=may_stop) as stuck:
            if stuck is None:
                _change(wanted, change)
            else:
                log.info(departures.to_text(change.instance, stuck, may_stop=False).strip())
    except errors.NotMoved as exc:
        message = "\n".join((exc.message, *rollout.said_before(wanted.changes, change)))
        raise errors.UpgradeFailed(message, exc.hint) from exc


def _change(wanted: Rollout, change: Change) -> None:
    _care_for_data(wanted, change)
    try:
        _deploy_with(wanted, change, change.after)
    except (errors.StackFailed, errors.VerifyFailed) as exc:
        lines = rollout.said_of(wanted.changes, change, _is_brought_back(wanted, change))
        message = "\n".join((f"the new image of {change.instance} does not do: {exc}", *lines))
        raise errors.UpgradeFailed(message, exc.hint) from exc


def _is_brought_back(wanted: Rollout, change: Change) -> bool:
    try:
        _deploy_with(wanted, change, change.before)
        # Nova may have another image than Heat knows of, where a rebuild failed: that is seen now.
        _deploy_with(wanted, change, change.before)
    except errors.Error as exc:
        log.info(f"{change.instance} cannot be brought back: {exc.message}")
        return False
    return True


def _deploy_with(wanted: Rollout, change: Change, image: Image) -> None:
    if rollout.is_older(change, image):
        _let_older_start(wanted, change.instance)
    alone = {change.instance: image}
    deploy.execute(deploy.prepare_change(wanted.deployment, wanted.overcloud, alone))


def _let_older_start(wanted: Rollout, instance: str) -> None:
    """Have Nova forget how new a compute process was: it takes none that is older. Its other services
    have a database, and do that for themselves."""
    nova = wanted.overcloud.instance_of("nova")
    if nova and "nova-compute" in wanted.overcloud.instance(instance).services:
        # Their host is called like the instance.
        wanted.instances.order(nova.name, "take-services-back", instance)
