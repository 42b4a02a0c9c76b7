"""Takes new images to an overcloud, one instance after another, and takes it back.

Each change is a plan of its own, made anew from what is there: a run that was cut off is resumed by
running again.
"""

import collections.abc
import dataclasses

from altostratus import deploy, errors, log, plan, rollout, survey
from altostratus.deployment import Deployment
from altostratus.model import Overcloud
from altostratus.rollout import Change
from altostratus.yamlfile import Document

_FOREGOING = (plan.Kind.BUILD_IMAGE, plan.Kind.LOAD_IMAGE)


@dataclasses.dataclass(frozen=True, slots=True)
class Rollout:
    """Changes of images, and the plan that an overcloud has with all of them."""

    overcloud: Overcloud
    document: Document
    deployment: Deployment
    changes: tuple[Change, ...]


def prepare_upgrade(
    overcloud: Overcloud, document: Document, only: collections.abc.Collection[str]
) -> Rollout:
    """Find which instances have other images than today's; changes nothing.

    Raises :class:`errors.Error` if the overcloud is not there.
    """
    target = _target(overcloud, document)
    wanted = target.plan.images
    before = rollout.running(target.observed, wanted)
    found = rollout.changes(overcloud, before, wanted, only)
    return Rollout(overcloud, document, target, found)


def prepare_rollback(
    overcloud: Overcloud,
    document: Document,
    only: collections.abc.Collection[str],
    when: str | None,
) -> Rollout:
    """Find which instances had other images before, or at a moment; changes nothing.

    Raises :class:`errors.Error` if the overcloud is not there, or an image no longer is.
    """
    target = _target(overcloud, document)
    before = rollout.running(target.observed, target.plan.images)
    entries = survey.deployments(target.undercloud, overcloud.name)
    after = rollout.earlier(entries, before, when)
    found = rollout.changes(overcloud, before, after, only)
    _refuse_missing(rollout.missing(found, target.observed))
    return Rollout(overcloud, document, target, found[::-1])


def execute(wanted: Rollout) -> None:
    """Make the images, then carry out the changes in their order, up to the first that fails.

    That instance gets back the image that it had. Raises :class:`errors.UpgradeFailed`.
    """
    deploy.execute(_restricted(wanted))
    for change in wanted.changes:
        with log.step(f"change {change.instance}"):
            _change(wanted, change)


def _target(overcloud: Overcloud, document: Document) -> Deployment:
    target = deploy.prepare(overcloud, document)
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


def _change(wanted: Rollout, change: Change) -> None:
    try:
        _deploy_with(wanted, change.instance, change.after)
    except (errors.StackFailed, errors.VerifyFailed) as exc:
        lines = rollout.said_of(wanted.changes, change, _is_brought_back(wanted, change))
        message = "\n".join((f"the new image of {change.instance} does not do: {exc}", *lines))
        raise errors.UpgradeFailed(message, exc.hint) from exc


def _is_brought_back(wanted: Rollout, change: Change) -> bool:
    try:
        _deploy_with(wanted, change.instance, change.before)
    except errors.Error as exc:
        log.info(f"{change.instance} cannot be brought back: {exc.message}")
        return False
    return True


def _deploy_with(wanted: Rollout, instance: str, image: plan.Image) -> None:
    deployment = deploy.prepare(wanted.overcloud, wanted.document, {instance: image})
    deploy.execute(deployment)
