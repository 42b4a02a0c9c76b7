"""The only door to OpenStack clouds, and the only way to wait for something in them."""

import collections.abc
import time
import typing
from typing import Any

import keystoneauth1.exceptions
import openstack
import openstack.config.exceptions
import openstack.exceptions
import requests

from altostratus import credentials, errors, log

_POLL_S = 1.0
_ANSWER_S = 3.0
_SERVING_S = 300

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


def connect_system(name: str) -> openstack.connection.Connection:
    """A connection to a cloud as the administrator of all of it, not of a project.

    Ironic shows others only the nodes that are their project's own.
    """
    connect(name)
    entry = credentials.read(name) or {"auth": {}}
    kept = ("auth_url", "username", "password", "user_domain_name")
    return openstack.connection.Connection(
        auth={key: entry["auth"][key] for key in kept} | {"system_scope": "all"},
        region_name=entry["region_name"],
        identity_api_version="3",
        cacert=entry.get("cacert"),
    )


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


def wait_serving(name: str, *, hint: str) -> None:
    """Wait until all services of a cloud's catalogue answer, as after a boot of their machine.

    A front says 503 for those that are not there yet. Raises :class:`errors.Error` with what is
    missing after five minutes.
    """
    connection = openstack.connect(cloud=name)

    def answering() -> tuple[bool | None, str]:
        silent = _silent(connection)
        return (None, f"no answer from {silent[0]}") if silent else (True, "")

    with log.step(f"wait for the {name}'s services") as step:
        wait(f"the start of the {name}'s services", answering, _SERVING_S, hint=hint, step=step)


def serves(connection: openstack.connection.Connection, url: str | None = None) -> bool:
    """Whether a cloud's service answers, if only to say whom it lets in; Keystone by default."""
    asked = url or connection.config.get_auth_args()["auth_url"]
    try:
        answer = requests.get(asked, timeout=_ANSWER_S, verify=connection.session.verify)
    except requests.RequestException as exc:
        log.debug(f"{asked}: {exc}")
        return False
    return bool(answer.status_code < requests.codes.server_error)


def _silent(connection: openstack.connection.Connection) -> list[str]:
    """What of a cloud's catalogue does not answer yet."""
    # Asked earlier, the SDK complains aloud of what is only not there yet.
    if not serves(connection) or not lets_in(connection):
        return ["Keystone"]
    endpoints = [one for service in connection.service_catalog for one in service["endpoints"]]
    urls = [one["url"] for one in endpoints if one["interface"] == "public"]
    return [url for url in urls if not serves(connection, url)]
