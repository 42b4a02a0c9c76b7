"""An overcloud as its administrator sees it, who needs no entry in clouds.yaml; changes nothing."""

import collections.abc
import contextlib
import dataclasses
import tempfile
from typing import Any

import keystoneauth1.exceptions
import openstack
import openstack.exceptions

from altostratus import certificates, cloud, log, observed, sections

_TIMEOUT_S = 10
# Nova's numbers for a machine that is there: it runs, or was paused.
_RUNNING, _PAUSED = 1, 3

Connection = openstack.connection.Connection
_Deployed = collections.abc.Mapping[str, observed.Deployed]


@dataclasses.dataclass(frozen=True, slots=True)
class Said:
    """What an overcloud says: the public endpoints in its Keystone, None if that does not answer, and
    the names of machines that run on its compute nodes, by instance."""

    endpoints: dict[str, str] | None = None
    machines: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)


def read(deployed: _Deployed, secrets: collections.abc.Mapping[str, str]) -> Said:
    """Ask an overcloud with these instances and secrets."""
    url = observed.public_urls(deployed).get("keystone")
    if url is None or "admin_password" not in secrets:
        return Said()
    with connected(url, secrets) as overcloud:
        if not cloud.serves(overcloud):
            return Said()
        return Said(_public_endpoints(overcloud), _machines(overcloud, deployed))


@contextlib.contextmanager
def connected(
    auth_url: str, secrets: collections.abc.Mapping[str, str], timeout_s: int = _TIMEOUT_S
) -> collections.abc.Iterator[Connection]:
    """A connection as an overcloud's administrator, without an entry in clouds.yaml.

    Each answer is waited for as long as ``timeout_s``.
    """
    authority = certificates.trusted(secrets)
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(authority or "")
        file.flush()
        yield openstack.connection.Connection(
            auth={
                "auth_url": auth_url,
                "username": "admin",
                "password": secrets["admin_password"],
                "project_name": "admin",
                "user_domain_name": "Default",
                "project_domain_name": "Default",
            },
            region_name=sections.REGION,
            identity_api_version="3",
            api_timeout=timeout_s,
            cacert=file.name if authority else None,
        )


def runs(server: Any) -> bool:
    """Whether a machine of an overcloud would lose what it is at if its compute node stopped."""
    return server.status == "MIGRATING" or server.power_state in (_RUNNING, _PAUSED)


def _public_endpoints(overcloud: Connection) -> dict[str, str] | None:
    try:
        identity_api: Any = overcloud.identity
        names = {service.id: service.name for service in identity_api.services()}
        return {
            names[endpoint.service_id]: endpoint.url
            for endpoint in identity_api.endpoints(interface="public")
            if endpoint.service_id in names
        }
    except (openstack.exceptions.SDKException, keystoneauth1.exceptions.ClientException) as exc:
        log.debug(f"the overcloud's Keystone: {exc}")
        return None


def _machines(overcloud: Connection, deployed: _Deployed) -> dict[str, tuple[str, ...]]:
    if not any("nova-compute" in one.services for one in deployed.values()):
        return {}
    found: dict[str, tuple[str, ...]] = {}
    try:
        for server in overcloud.compute.servers(all_projects=True):
            if runs(server):
                found[server.compute_host] = (*found.get(server.compute_host, ()), server.name)
    except (openstack.exceptions.SDKException, keystoneauth1.exceptions.ClientException) as exc:
        log.debug(f"the overcloud's Nova: {exc}")
    return found
