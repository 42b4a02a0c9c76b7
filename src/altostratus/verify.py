"""Whether clouds do what they should: through their own public APIs, from outside."""

import collections.abc
import concurrent.futures
import functools
import hashlib
import os
import uuid
from typing import Any

import openstack
import openstack.exceptions
import requests

from altostratus import cloud, dashboard, errors, hypervisors, log, reach, services, survey
from altostratus.model import Overcloud

_IMAGE_BYTES = 4 * 1024 * 1024
_ANSWER_S = 15
_STACK_S = 60
_HYPERVISORS_S = 60
_COMPUTE_S = 180
_ON_COMPUTE_NODES = {
    "hypervisor",
    "nova-compute",
    "neutron-openvswitch-agent",
    "neutron-dhcp-agent",
    "neutron-l3-agent",
    "neutron-metadata-agent",
}
# Of a network without a router: it collides with nothing.
_CIDR = "198.18.0.0/24"
_SERVICE_TYPES = ("compute", "network", "image", "placement", "orchestration")
# What an undercloud has for some hypervisors alone.
_OPTIONAL_TYPES = {"baremetal"}

# Most of a check is waiting for an answer.
_AT_ONCE = 4

Connection = openstack.connection.Connection
_Check = tuple[str, collections.abc.Callable[[], None]]


def overcloud(wanted: Overcloud) -> None:
    """Use an overcloud as its users would.

    Raises :class:`errors.VerifyFailed` with everything that does not work.
    """
    if wanted.instance_of("keystone") is None:
        log.info("         the overcloud has no Keystone: nothing to use it through")
        return
    reach.open_all(wanted)
    connection = cloud.connect("overcloud")
    checks: list[_Check] = [("a token is issued", lambda: _token(connection))]
    for name in services.names():
        service = services.get(name)
        if wanted.instance_of(name) and service.endpoint_type:
            checks.append((f"{name} answers", _answering(connection, service.endpoint_type)))
    checks += [
        (title, functools.partial(use, connection))
        for name, (title, use) in _USES.items()
        if wanted.instance_of(name)
    ]
    if wanted.instance_of("nova"):
        checks.append(("machines' screens have a page", lambda: _consoles(connection)))
    if wanted.instance_of("horizon"):
        checks.append(("horizon lets its users in", lambda: _dashboard(connection, wanted)))
    _run("overcloud", checks)


def undercloud() -> None:
    """Whether the undercloud is ready for overclouds.

    Raises :class:`errors.VerifyFailed` with everything that does not work.
    """
    connection = cloud.connect("undercloud")
    there = {service["type"] for service in connection.service_catalog}
    kinds = (*_SERVICE_TYPES, *sorted(_OPTIONAL_TYPES & there))
    _run(
        "undercloud",
        [
            *((f"{kind} answers", _answering(connection, kind)) for kind in kinds),
            ("its compute processes are up", lambda: _computes(connection)),
            ("it has each hypervisor", lambda: _traits(connection)),
        ],
    )


def _run(cloud_name: str, checks: list[_Check]) -> None:
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        failed = [said for said in pool.map(_failure, checks) if said]
    if failed:
        raise errors.VerifyFailed(
            f"the {cloud_name} does not do what it should:\n" + "\n".join(failed),
            hint=f"./altostratus {cloud_name} status",
        )


def _failure(check: _Check) -> str | None:
    title, look = check
    try:
        with log.step(f"verify: {title}"):
            look()
    except _REFUSALS as exc:
        return f"  {title}: NO: {exc}"
    return None


class _Wrong(Exception):
    """Something answered, but not what it should have."""


_REFUSALS = (
    errors.Error,
    openstack.exceptions.SDKException,
    requests.RequestException,
    _Wrong,
)


def _token(connection: Connection) -> None:
    if not connection.authorize():
        raise _Wrong("an empty token")


def _answering(connection: Connection, service_type: str) -> collections.abc.Callable[[], None]:
    """Ask a public endpoint for its versions, without any credentials."""

    def look() -> None:
        url = connection.session.get_endpoint(service_type=service_type, interface="public")
        if not url:
            raise _Wrong(f"no public endpoint of type {service_type} in the catalogue")
        root = "/".join(url.split("/")[:3]) + "/"
        verify = connection.session.verify
        status = requests.get(root, timeout=_ANSWER_S, verify=verify).status_code
        if status not in (200, 300, 401):
            raise _Wrong(f"{root} answers {status}")

    return look


def _image(connection: Connection) -> None:
    content = os.urandom(_IMAGE_BYTES)
    image: Any = connection.image.create_image(
        name=_name(), data=content, disk_format="raw", container_format="bare", wait=True
    )
    try:
        response = connection.image.get(f"/images/{image.id}/file")
        openstack.exceptions.raise_from_response(response)
        if hashlib.sha256(response.content).digest() != hashlib.sha256(content).digest():
            raise _Wrong(f"{len(response.content)} bytes came back, not the {len(content)} sent")
    finally:
        connection.image.delete_image(image.id, ignore_missing=True)


def _secret(connection: Connection) -> None:
    content = uuid.uuid4().hex
    keys = connection.key_manager
    secret: Any = keys.create_secret(
        name=_name(), payload=content, payload_content_type="text/plain"
    )
    try:
        found: Any = keys.get_secret(secret.secret_id)
        if found.payload != content:
            raise _Wrong("what came back is not the secret that was stored")
    finally:
        keys.delete_secret(secret.secret_id, ignore_missing=True)


def _schedulers(connection: Connection) -> None:
    """Nova's parts that speak to one another over RabbitMQ and the database."""
    up = {found.binary for found in connection.compute.services() if found.state == "up"}
    missing = {"nova-conductor", "nova-scheduler"} - up
    if missing:
        raise _Wrong(f"not up: {', '.join(sorted(missing))}")


def _consoles(connection: Connection) -> None:
    """The page of noVNC, by the same way as Nova's API."""
    api = connection.session.get_endpoint(service_type="compute", interface="public")
    root = (api or "").rsplit(":", 1)[0]
    url = f"{root}:{services.CONSOLES_PORT}/{services.CONSOLES_PAGE}"
    answer = requests.get(url, timeout=_ANSWER_S, verify=connection.session.verify)
    if not answer.ok or "noVNC" not in answer.text:
        raise _Wrong(f"{url} answers {answer.status_code}")


def _network(connection: Connection) -> None:
    network: Any = connection.network.create_network(name=_name())
    try:
        connection.network.create_subnet(network_id=network.id, ip_version=4, cidr=_CIDR)
        port: Any = connection.network.create_port(network_id=network.id)
        if not port.fixed_ips:
            raise _Wrong("a port got no address")
        connection.network.delete_port(port)
    finally:
        connection.network.delete_network(network, ignore_missing=True)


def _resource_class(connection: Connection) -> None:
    response = connection.placement.get("/resource_classes", microversion="1.39")
    openstack.exceptions.raise_from_response(response)
    names = {found["name"] for found in response.json()["resource_classes"]}
    if "MEMORY_MB" not in names:
        raise _Wrong("there is no resource class MEMORY_MB")


def _stack(connection: Connection) -> None:
    template = {
        "heat_template_version": "wallaby",
        "resources": {"value": {"type": "OS::Heat::RandomString"}},
    }
    heat = connection.orchestration
    response = heat.post("/stacks", json={"stack_name": _name(), "template": template})
    openstack.exceptions.raise_from_response(response)
    identity = response.json()["stack"]["id"]

    def done() -> tuple[str | None, str]:
        status = str(heat.get_stack(identity).status)
        return (None if status.endswith("IN_PROGRESS") else status), status

    try:
        status = cloud.wait("a stack", done, _STACK_S)
        if status != "CREATE_COMPLETE":
            raise _Wrong(f"the stack is {status}")
    finally:
        heat.delete_stack(identity, ignore_missing=True)


def _dashboard(connection: Connection, wanted: Overcloud) -> None:
    url = survey.public_urls(cloud.connect("undercloud"), wanted.name)["horizon"]
    auth = connection.config.get_auth_args()
    dashboard.login(url, auth["username"], auth["password"], connection.session.verify)


def _compute_node(connection: Connection) -> None:
    """Its compute process and agents, which report themselves alive a little later.

    Nova places machines on a node only when it has found out which cell that belongs to, and only
    then is it among the hypervisors.
    """

    def look() -> tuple[bool | None, str]:
        found = connection.compute.services(binary="nova-compute")
        up = {"nova-compute" for service in found if service.state == "up"}
        up |= {agent.binary for agent in connection.network.agents() if agent.is_alive}
        up |= {"hypervisor" for _ in connection.compute.hypervisors()}
        missing = sorted(_ON_COMPUTE_NODES - up)
        return (None if missing else True), f"not alive: {', '.join(missing)}"

    cloud.wait("a compute node", look, _COMPUTE_S)


_Use = collections.abc.Callable[[Connection], None]
_USES: dict[str, tuple[str, _Use]] = {
    "glance": ("an image comes back byte for byte", _image),
    "placement": ("placement knows what resources are", _resource_class),
    "barbican": ("a secret is kept, and given back", _secret),
    "nova": ("nova's conductor and scheduler are up", _schedulers),
    "neutron": ("a network is made, and a port gets an address", _network),
    "heat": ("a stack is made", _stack),
    "nova-compute": ("its compute node and the network agents there are up", _compute_node),
}


def _name() -> str:
    return f"altostratus-verify-{uuid.uuid4().hex[:8]}"


def _computes(connection: Connection) -> None:
    """All are up: after a boot of the machine Nova hears of each again only after a while."""

    def look() -> tuple[bool | None, str]:
        found = list(connection.compute.services(binary="nova-compute"))
        down = [service.host for service in found if service.state != "up"]
        said = f"down: {', '.join(down)}" if found else "there are none"
        return (True if found and not down else None), said

    cloud.wait("hearing of the compute processes", look, _HYPERVISORS_S)


def _traits(connection: Connection) -> None:
    """Of each hypervisor: its compute process registers it a little after it is up itself.

    A small node has no room for a share of each, and no process for those that have none.
    """
    hosts = {service.host for service in connection.compute.services(binary="nova-compute")}
    names = [name for name in hypervisors.names() if any(one.endswith(f"-{name}") for one in hosts)]
    wanted = [hypervisors.entry(name).trait for name in names]

    def look() -> tuple[bool | None, str]:
        missing = [trait for trait in wanted if not _is_provided(connection, trait)]
        return (None if missing else True), f"no resource provider has {', '.join(missing)}"

    cloud.wait("registering the hypervisors", look, _HYPERVISORS_S)


def _is_provided(connection: Connection, trait: str) -> bool:
    response = connection.placement.get(
        "/resource_providers", params={"required": trait}, microversion="1.39"
    )
    # Placement knows a trait when the first provider has it.
    if response.status_code == requests.codes.bad_request:
        return False
    openstack.exceptions.raise_from_response(response)
    return bool(response.json()["resource_providers"])
