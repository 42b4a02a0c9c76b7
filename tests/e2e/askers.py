"""Clients that ask the services of an overcloud ten times a second, each for its versions."""

import collections.abc
import contextlib
import time
import urllib.parse

import requests

from altostratus import credentials
from tests.e2e import clients

INTERVAL_S = 0.1
# Clients of OpenStack wait for a minute.
REQUEST_S = 60


class Asker(clients.Client):
    """One client of one service: how long each answer took that was one, and what else it was told."""

    def __init__(self, url: str, authority: str | bool) -> None:
        super().__init__(INTERVAL_S)
        self.waits_s: list[float] = []
        self.failures: list[str] = []
        self._url = url
        self._authority = authority

    def ask(self) -> None:
        start = time.monotonic()
        try:
            # A connection for each, as programs have that run once.
            answer = requests.get(self._url, timeout=REQUEST_S, verify=self._authority)
            answer.raise_for_status()
            self.waits_s.append(time.monotonic() - start)
        except requests.RequestException as exc:
            self.failures.append(str(exc))


@contextlib.contextmanager
def asking(endpoints: dict[str, str]) -> collections.abc.Iterator[dict[str, Asker]]:
    """A client for each endpoint, while something goes on."""
    entry = credentials.read("overcloud") or {}
    askers = {
        name: Asker(urllib.parse.urljoin(url, "/"), entry.get("cacert") or True)
        for name, url in endpoints.items()
        # The dashboard's start page is a redirection to a log-in.
        if name != "horizon"
    }
    with clients.at_work(askers.values()):
        yield askers
