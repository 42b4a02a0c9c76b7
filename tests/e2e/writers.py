"""Clients that write to the services of an overcloud without a pause, and know what was accepted."""

import collections.abc
import contextlib
import dataclasses
import itertools
import secrets
import time
import urllib.parse
from typing import Any

import keystoneauth1.identity
import keystoneauth1.session
import requests

from altostratus import credentials
from tests.e2e import clients

INTERVAL_S = 0.5
REQUEST_S = 5
HEADERS = {"OpenStack-API-Version": "placement 1.31"}


@dataclasses.dataclass(frozen=True, slots=True)
class Kind:
    """A thing of a service that costs it little: where it is written and read, and how."""

    path: str
    key: str
    body: collections.abc.Callable[[str], Any]
    listed: str


KINDS = {
    "keystone": Kind(
        "/projects", "projects", lambda name: {"project": {"name": name}}, "/projects?limit=1000"
    ),
    "glance": Kind("/v2/images", "images", lambda name: {"name": name}, "/v2/images?limit=1000"),
    "placement": Kind(
        "/resource_classes", "resource_classes", lambda name: {"name": name}, "/resource_classes"
    ),
    "nova": Kind(
        "/flavors",
        "flavors",
        lambda name: {"flavor": {"name": name, "ram": 1, "vcpus": 1, "disk": 0}},
        "/flavors?limit=1000",
    ),
    "neutron": Kind(
        "/v2.0/address-scopes",
        "address_scopes",
        lambda name: {"address_scope": {"name": name, "ip_version": 4}},
        "/v2.0/address-scopes?fields=name",
    ),
}


class Writer(clients.Client):
    """One client of one service; ``accepted`` are the names that it said it had written, and when."""

    def __init__(self, service: str, url: str, token: str, authority: str | bool) -> None:
        super().__init__(INTERVAL_S)
        self.kind = KINDS[service]
        self.url = url.rstrip("/")
        self.accepted: dict[str, float] = {}
        self._series = secrets.token_hex(4).upper()
        self._session = requests.Session()
        self._session.headers.update({"X-Auth-Token": token, **HEADERS})
        # Said with each request: a session's word gives way to the environment's.
        self._authority = authority
        self._numbers = itertools.count()

    def ask(self) -> None:
        name = f"CUSTOM_{self._series}_{next(self._numbers)}"
        with contextlib.suppress(requests.RequestException):
            answer = self._session.post(
                f"{self.url}{self.kind.path}",
                json=self.kind.body(name),
                timeout=REQUEST_S,
                verify=self._authority,
            )
            answer.raise_for_status()
            self.accepted[name] = time.monotonic()

    def longest_pause_s(self) -> float:
        """The longest time between two things that were accepted."""
        moments = self.accepted.values()
        return max(after - before for before, after in itertools.pairwise(moments))

    def lost(self) -> set[str]:
        """What was accepted and is not there."""
        return self.accepted.keys() - {*self._names()}

    def _names(self) -> collections.abc.Iterator[str]:
        """All that are there: services give at most a thousand at a time, and where the next are."""
        url: str | None = f"{self.url}{self.kind.listed}"
        while url:
            answer = self._session.get(url, timeout=60, verify=self._authority)
            answer.raise_for_status()
            found = answer.json()
            yield from (one["name"] for one in found[self.kind.key])
            links = found.get(f"{self.kind.key}_links") or ()
            ways = [one["href"] for one in links if one["rel"] == "next"]
            after = next(iter(ways), found.get("next") or (found.get("links") or {}).get("next"))
            url = urllib.parse.urljoin(self.url, after) if after else None


@contextlib.contextmanager
def writing(endpoints: dict[str, str]) -> collections.abc.Iterator[dict[str, Writer]]:
    """Writers for all services that there are kinds of, while something goes on."""
    entry = credentials.read("overcloud")
    assert entry is not None
    known = KINDS.keys() & endpoints.keys()
    writers = {
        name: Writer(name, endpoints[name], _token(entry), entry.get("cacert") or True)
        for name in sorted(known)
    }
    with clients.at_work(writers.values()):
        yield writers


def _token(entry: dict[str, Any]) -> str:
    auth = keystoneauth1.identity.Password(
        user_domain_name="Default", project_domain_name="Default", **_named(entry["auth"])
    )
    session = keystoneauth1.session.Session(auth=auth, verify=entry.get("cacert") or True)
    token = session.get_token()
    assert token
    return str(token)


def _named(auth: dict[str, str]) -> dict[str, str]:
    return {name: auth[name] for name in ("auth_url", "username", "password", "project_name")}
