"""Empties a compute node of its machines while its instance changes.

A run that was cut off may leave a node closed: the next one finds it by the reason that it gave.
"""

import collections.abc
import contextlib

import keystoneauth1.exceptions
import openstack
import openstack.exceptions

from altostratus import administrator, computenodes, departures, errors, lock, log, observed
from altostratus.departures import Leaving, Machine, Node
from altostratus.deployment import Deployment

# Machines that were being made there when it was closed come up while others leave.
_ROUNDS = 5
_REFUSALS = (openstack.exceptions.SDKException, keystoneauth1.exceptions.ClientException)

Connection = openstack.connection.Connection


def read(deployment: Deployment) -> dict[str, Node]:
    """The overcloud's compute nodes; none where its Nova does not answer."""
    try:
        with _connected(deployment) as overcloud:
            return _read(overcloud, deployment)
    except _REFUSALS as exc:
        log.debug(f"the overcloud's compute nodes: {exc}")
        return {}


def open_left(deployment: Deployment) -> None:
    """Open the compute nodes that an interrupted run has left closed."""
    try:
        with _connected(deployment) as overcloud:
            closed = computenodes.closed(overcloud)
            if not closed:
                return
            # It may be no interrupted run, but somebody else's who is at it.
            with lock.held(deployment.undercloud, deployment.plan.overcloud.name):
                for name in closed:
                    computenodes.open_again(overcloud, name)
                    log.info(f"         {name} takes machines again: an earlier run had closed it")
    except _REFUSALS as exc:
        log.debug(f"the overcloud's compute nodes: {exc}")


@contextlib.contextmanager
def emptied(
    deployment: Deployment, instance: str, *, may_stop: bool
) -> collections.abc.Iterator[Leaving | None]:
    """Close a compute node, move its machines away, and open it when its instance has changed.

    Gives what keeps it from changing: machines that have no other place, unless they ``may_stop``.
    Raises :class:`errors.NotMoved` if one that has does not get there.
    """
    with contextlib.ExitStack() as undo:
        with lock.held(deployment.undercloud, deployment.plan.overcloud.name):
            is_known = _is_known(deployment, instance)
            stuck = _empty(deployment, instance, may_stop, undo) if is_known else None
        yield stuck
        if is_known and not stuck:
            with _connected(deployment) as overcloud:
                computenodes.wait_heard(overcloud, instance)


def _is_known(deployment: Deployment, instance: str) -> bool:
    """Whether Nova knows a compute node. Where it does not answer nobody knows of machines, and it is
    repaired; unless it did a moment ago, and they would stop."""
    try:
        with _connected(deployment) as overcloud:
            return instance in _read(overcloud, deployment)
    except _REFUSALS as exc:
        if deployment.observed.machines:
            raise errors.NotMoved(
                f"the overcloud's Nova does not say any more what runs on {instance}: {exc}",
                hint="./altostratus overcloud verify FILE",
            ) from exc
        return False


def _empty(
    deployment: Deployment, instance: str, may_stop: bool, undo: contextlib.ExitStack
) -> Leaving | None:
    with _connected(deployment) as overcloud:
        leaving = departures.find(_read(overcloud, deployment), instance)
        if leaving.stuck and not may_stop:
            return leaving
        if computenodes.close(overcloud, instance):
            undo.callback(_open, deployment, instance)
        given_up: set[str] = set()
        for _ in range(_ROUNDS):
            leaving = departures.find(_read(overcloud, deployment), instance)
            if leaving.stuck and not may_stop:
                return leaving
            going = [machine for machine, _ in leaving.places if machine.id not in given_up]
            if not going:
                return None
            for machine in going:
                _move(overcloud, machine, instance, given_up if may_stop else None)
    raise errors.NotMoved(
        f"machines come to {instance} while others leave it", hint="run the command again"
    )


def _move(
    overcloud: Connection, machine: Machine, instance: str, given_up: set[str] | None
) -> None:
    """Move a machine; if it may stop with its node, the failure is told, and that is all."""
    try:
        with log.step(f"move {machine.name} away", instance) as step:
            computenodes.move(overcloud, machine, instance, step)
    except errors.NotMoved as exc:
        if given_up is None:
            raise
        given_up.add(machine.id)
        log.info(f"         it stops with {instance}: {exc.message}")


def _open(deployment: Deployment, instance: str) -> None:
    try:
        with _connected(deployment) as overcloud:
            computenodes.open_again(overcloud, instance)
    except _REFUSALS as exc:
        log.info(f"         {instance} takes no machines until the next upgrade or rollback: {exc}")


def _read(overcloud: Connection, deployment: Deployment) -> dict[str, Node]:
    """What runs on an instance that does not is Nova's belief alone."""
    seen = deployment.observed
    servers = {name: seen.server_of(name) for name in seen.stack.instances} if seen.stack else {}
    dead = {name for name, server in servers.items() if server is None or not server.is_alive}
    return {
        name: Node(name, node.free, (), is_up=False) if name in dead else node
        for name, node in computenodes.read(overcloud).items()
    }


@contextlib.contextmanager
def _connected(deployment: Deployment) -> collections.abc.Iterator[Connection]:
    there = deployment.observed.stack
    url = observed.public_urls(there.instances if there else {})["keystone"]
    with administrator.connected(url, deployment.known) as overcloud:
        yield overcloud
