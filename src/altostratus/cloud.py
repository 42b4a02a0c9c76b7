"""The only door to OpenStack clouds, and the only way to wait for something in them."""

import collections.abc
import time
import typing
from typing import Any

import keystoneauth1.exceptions
import openstack
import openstack.config.exceptions
import openstack.exceptions

from altostratus import errors, log

_POLL_S = 1.0

T = typing.TypeVar("T")


def connect(name: str) -> openstack.connection.Connection:
    """A connection to a cloud of the user's ``clouds.yaml``, logged in.

    Raises :class:`errors.Error` if there is no such entry, or if the cloud does not answer or
    does not let us in.
    """
    hint = (
        "./altostratus undercloud up" if name == "undercloud" else "./altostratus overcloud deploy"
    )
    try:
        connection = openstack.connect(cloud=name)
        connection.authorize()
    except openstack.exceptions.ConfigException as exc:
        raise errors.Error(f"there are no credentials of the {name}: {exc}", hint=hint) from exc
    except (openstack.exceptions.SDKException, keystoneauth1.exceptions.ClientException) as exc:
        raise errors.Error(f"the {name} does not let us in: {exc}", hint=hint) from exc
    return connection


def wait(
    what: str,
    look: collections.abc.Callable[[], tuple[T | None, str]],
    timeout_s: float,
    *,
    hint: str | None = None,
    poll_s: float = _POLL_S,
    step: log.Step | None = None,
) -> T:
    """Look until there is a result; ``look`` returns it or None, and the state in words.

    Raises :class:`errors.Error` with the last state after ``timeout_s`` seconds.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        result, state = look()
        if result is not None:
            return result
        if step is not None:
            step.progress(state)
        if time.monotonic() > deadline:
            raise errors.Error(f"{what} took more than {timeout_s:.0f} s: {state}", hint=hint)
        time.sleep(poll_s)


def or_none(look: collections.abc.Callable[[], Any]) -> Any:
    """What ``look`` finds, or None if the cloud says that there is no such thing."""
    try:
        return look()
    except openstack.exceptions.NotFoundException:
        return None


def lets_in(connection: openstack.connection.Connection) -> bool:
    """Whether a cloud's Keystone answers and lets us in."""
    try:
        connection.authorize()
    except (openstack.exceptions.SDKException, keystoneauth1.exceptions.ClientException) as exc:
        log.debug(f"Keystone: {exc}")
        return False
    return True
