"""Which instances get another image, and in which order: pure decisions of upgrade and rollback.

One instance after another changes, those first that others need; on the way back, those last.
"""

import collections.abc
import dataclasses

from altostratus import changes, departures, errors, releases, stack, table
from altostratus.departures import Departures
from altostratus.history import Entry
from altostratus.model import Image, Overcloud
from altostratus.observed import Observed

Images = collections.abc.Mapping[str, Image]
# Names of machines, by the instance that they run on.
Machines = collections.abc.Mapping[str, tuple[str, ...]]
_SHOWN = 12


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """An instance's image, now and then."""

    instance: str
    before: Image
    after: Image


def running(observed: Observed, wanted: Images) -> dict[str, Image]:
    """The images that instances have now: those that the stack was last asked for.

    ``wanted`` has the names: they follow from the services, which an image's change leaves alone.
    An instance that is not there yet gets the wanted one.
    """
    found = dict(wanted)
    for name, image in wanted.items():
        deployed = observed.deployed(name)
        if deployed:
            found[name] = Image(image.name, deployed.image, deployed.release)
    return found


def differing(
    overcloud: Overcloud,
    before: Images,
    after: Images,
    only: collections.abc.Collection[str] = (),
) -> tuple[Change, ...]:
    """The instances whose image differs, those first that others need; ``only`` leaves out others.

    Raises :class:`errors.Error` if ``only`` names an instance that there is not.
    """
    names = [found.name for found in overcloud.instances]
    for name in only:
        if name not in names:
            raise errors.Error(*errors.unknown("instance", name, names))
    return tuple(
        Change(found.name, before[found.name], after[found.name])
        for found in sorted(overcloud.instances, key=stack.order)
        if (not only or found.name in only)
        and before[found.name].digest != after[found.name].digest
    )


def earlier(
    entries: collections.abc.Sequence[Entry], now: Images, when: str | None
) -> dict[str, Image]:
    """The images to go back to: those of the moment ``when``, or of each instance the last other.

    An instance without an earlier image keeps the one that it has. Raises :class:`errors.Error`
    if nothing was deployed at that moment.
    """
    if when is None:
        return {name: _last_other(entries, name, image) for name, image in now.items()}
    for entry in entries:
        if entry.when == when:
            return {name: entry.images.get(name, image) for name, image in now.items()}
    raise errors.Error(*errors.unknown("deployment of", when, [one.when for one in entries]))


def refuse_older(found: collections.abc.Iterable[Change]) -> None:
    """Raise :class:`errors.Error` if an instance would get a release of before."""
    for change in found:
        if releases.is_later(change.before.release, change.after.release):
            raise errors.Error(
                f"{change.instance} has {change.before.release}, and {change.after.release} came"
                " before it",
                hint="back goes: ./altostratus overcloud rollback FILE",
            )


def refuse_unknown(stopping: collections.abc.Iterable[str], observed: Observed) -> None:
    """Raise :class:`errors.Error` if ``stopping`` names an instance that there is not."""
    names = [server.instance for server in observed.servers]
    for name in stopping:
        if name not in names:
            raise errors.Error(*errors.unknown("instance", name, names))


def carrying(found: collections.abc.Iterable[Change], observed: Observed) -> Machines:
    """The machines that would stop with these changes."""
    there = {change.instance: observed.carries(change.instance) for change in found}
    return {name: machines for name, machines in there.items() if machines}


def without(
    found: collections.abc.Iterable[Change], names: collections.abc.Container[str]
) -> tuple[Change, ...]:
    """The changes but for those of these instances."""
    return tuple(change for change in found if change.instance not in names)


def missing(found: collections.abc.Iterable[Change], observed: Observed) -> tuple[Change, ...]:
    """The changes to images that the undercloud no longer has."""
    return tuple(change for change in found if change.after.digest not in observed.images)


def kept_for_rollback(entries: collections.abc.Sequence[Entry]) -> frozenset[str]:
    """The digests of the images that a rollback would go back to."""
    now = entries[-1].images if entries else {}
    return frozenset(image.digest for image in earlier(entries, now, None).values())


def to_text(
    overcloud: Overcloud,
    found: collections.abc.Sequence[Change],
    leaving: Departures,
    stopping: collections.abc.Container[str] = (),
) -> str:
    """The changes for people, and what becomes of the machines on compute nodes."""
    if not found and not leaving:
        return f"Nothing to do: the instances of {overcloud.name} have these images\n"
    told = [
        departures.to_text(name, one, may_stop=name in stopping) for name, one in leaving.items()
    ]
    return "".join((_changes_text(overcloud, found), *told))


def _changes_text(overcloud: Overcloud, found: collections.abc.Sequence[Change]) -> str:
    if not found:
        return f"Overcloud {overcloud.name}: nothing changes\n"
    places = {one.name: one.hypervisor for one in overcloud.instances}
    rows = [
        (f"  {change.instance}", *_shown(change), changes.downtime(places[change.instance]))
        for change in found
    ]
    heading = f"Overcloud {overcloud.name}: {len(found)} to change, one after the other"
    return "\n".join((heading, *table.lines(rows))) + "\n"


def said_of(
    found: collections.abc.Sequence[Change], failed: Change, is_back: bool
) -> tuple[str, ...]:
    """What is on which image after a change has failed, in words."""
    place = found.index(failed)
    back = "has its earlier image again" if is_back else "is to be repaired: deploy it"
    return (
        *(f"{change.instance}: changed" for change in found[:place]),
        f"{failed.instance}: failed, and {back}",
        *(f"{change.instance}: not changed" for change in found[place + 1 :]),
    )


def said_before(found: collections.abc.Sequence[Change], kept: Change) -> tuple[str, ...]:
    """What is on which image where a change was not begun, in words."""
    place = found.index(kept)
    return (
        *(f"{change.instance}: changed" for change in found[:place]),
        *(f"{change.instance}: not changed" for change in found[place:]),
    )


def is_older(change: Change, image: Image) -> bool:
    """Whether one of a change's images is of an earlier release than the other."""
    return image.release < max(change.before.release, change.after.release)


def _last_other(entries: collections.abc.Sequence[Entry], name: str, now: Image) -> Image:
    had = [entry.images[name] for entry in reversed(entries) if name in entry.images]
    return next((image for image in had if image.digest != now.digest), now)


def _shown(change: Change) -> tuple[str, str, str]:
    before, after = change.before.digest[:_SHOWN], change.after.digest[:_SHOWN]
    of = dict.fromkeys((change.before.release, change.after.release))
    return change.after.name, f"{before} -> {after}", " -> ".join(of)
