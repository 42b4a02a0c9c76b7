"""Where services are reached: by users, and by one another."""

import collections.abc

from altostratus import services
from altostratus.model import CONTROL, EXTERNAL

# The services and the addresses, by network, of each instance of a cloud.
Placed = collections.abc.Iterable[tuple[tuple[str, ...], collections.abc.Mapping[str, str]]]


def endpoint(name: str, host: str, scheme: str = "https") -> str:
    """The URL of a service at a host."""
    service = services.get(name)
    return f"{scheme}://{host}:{service.public_port}{service.path}"


def internal_urls(
    hosts: collections.abc.Mapping[str, str], scheme: str = "https"
) -> dict[str, str]:
    """Where services reach one another's APIs: those that have one, at these hosts."""
    return {
        name: endpoint(name, host, scheme)
        for name, host in hosts.items()
        if services.get(name).public_port
    }


def public_urls(placed: Placed) -> dict[str, str]:
    """Where a cloud's users reach each service: at its front, if it has one, else at itself."""
    return {
        name: endpoint(name, host)
        for name, host in _reached(placed).items()
        if services.get(name).public_port
    }


def consoles_url(placed: Placed) -> str | None:
    """Where a cloud's users see the screens of their machines, if it has Nova."""
    hosts = _reached(placed)
    if "nova" not in hosts:
        return None
    return f"https://{hosts['nova']}:{services.CONSOLES_PORT}/{services.CONSOLES_PAGE}"


def _reached(placed: Placed) -> dict[str, str]:
    """The host at which users reach each service."""
    hosts = {
        name: addresses.get(EXTERNAL, addresses[CONTROL])
        for names, addresses in placed
        for name in names
    }
    if services.FRONT in hosts:
        return dict.fromkeys(hosts, hosts[services.FRONT])
    return hosts
