"""State disks as files of nodes that are containers of this machine: where such a node is down, its
disks are at hand all the same, in its volume.

What the drivers have there, and how its files are called: ``nova_altostratus.statedisk``.
"""

import dataclasses
import pathlib

import docker.errors

from altostratus import (
    errors,
    log,
    machine,
    moves,
    node,
    plan,
    run,
    scaleout,
    stack,
    systemcontainer,
    undercloud,
)
from altostratus.deployment import Deployment
from altostratus.model import UNDERCLOUD, Overcloud

_FOLDER = "state-disks"
# Docker's words for a container that does not run; None is for one that is not there.
_STOPPED = (None, "created", "exited", "dead")


def asked(wanted: moves.Asked, project: str, overcloud: Overcloud) -> moves.Asked:
    """The same with what is at hand of a node, if that is on this machine and does not run."""
    if not machine.ENGINE_SOCKET.exists() or _runs(wanted.node):
        return wanted
    there = node.kept()
    others = [UNDERCLOUD, *(one.name for one in there.nodes)] if there else []
    brought = (held(_folder(one, project), overcloud) for one in others if one != wanted.node)
    return dataclasses.replace(
        wanted,
        at_hand=held(_folder(wanted.node, project), overcloud),
        brought=frozenset[str]().union(*brought),
    )


def held(folder: pathlib.Path | None, overcloud: Overcloud) -> frozenset[str]:
    """The instances whose state disk is in a folder, if there is one."""
    return frozenset(
        one.name
        for one in overcloud.instances
        if folder and _disk(folder, overcloud.name, one.name).exists()
    )


def refuse_running(name: str) -> None:
    """Raise :class:`errors.Error` while a node of this machine runs: its instances may, too."""
    if machine.ENGINE_SOCKET.exists() and _runs(name):
        box = scaleout.box_of(name).name
        raise errors.Error(
            f"the container of the node {name} runs, though Nova hears nothing of it: what is on it"
            " may run, too",
            hint=f"bring it back: ./altostratus undercloud up; or give it up: docker stop {box}",
        )


def bring(deployment: Deployment, step: plan.Step, shown: log.Step) -> None:
    """Bring a state disk from a node that is down to the one where its instance is to be.

    Raises :class:`errors.Error` if it is not there, or in use.
    """
    overcloud, name = deployment.plan.overcloud, step.instance or ""
    zone = overcloud.instance(name).zone
    assert step.node and zone, "a plan says whence and whither"
    refuse_running(step.node)
    project = str(deployment.undercloud.current_project_id)
    source, target = _folder(step.node, project), _folder(zone, project)
    if source is None or target is None:
        raise errors.Error(f"the volume of {step.node} or of {zone} is not on this machine")
    move(_disk(source, overcloud.name, name), _disk(target, overcloud.name, name))


def move(source: pathlib.Path, target: pathlib.Path) -> None:
    """Move a state disk, and leave nothing of it behind; a second time changes nothing.

    Raises :class:`errors.Error` if it is not there, or in use.
    """
    if source.exists():
        user = run.run(["losetup", "--associated", str(source)]).stdout.strip()
        if user:
            raise errors.Error(f"the state disk {source} is in use: {user}")
        target.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        # The drivers take up growth that was cut off by this mark.
        if source.with_suffix(".growing").exists():
            target.with_suffix(".growing").touch()
        try:
            # Both are volumes of one engine: in one step, or not at all.
            source.rename(target)
        except OSError as exc:
            raise errors.Error(f"the state disk {source} cannot become {target}: {exc}") from exc
    elif not target.exists():
        raise errors.Error(f"the state disk {source} is not there any more")
    for left in (".growing", ".lock"):
        source.with_suffix(left).unlink(missing_ok=True)


def _runs(name: str) -> bool:
    """Whether a node is a container of this machine that runs."""
    box = scaleout.box_of(name)
    return systemcontainer.state(systemcontainer.connect(), box.name) not in _STOPPED


def _folder(name: str, project: str) -> pathlib.Path | None:
    """The folder of a project's state disks on a node, if its volume is on this machine."""
    volume = undercloud.VOLUME if name == UNDERCLOUD else scaleout.box_of(name).volume
    try:
        found = systemcontainer.connect().volumes.get(volume)
    except docker.errors.NotFound:
        return None
    machine.refuse_without_root()
    return pathlib.Path(found.attrs["Mountpoint"], _FOLDER, project)


def _disk(folder: pathlib.Path, overcloud: str, instance: str) -> pathlib.Path:
    return folder / f"{stack.state_disk(overcloud, instance)}.img"
