"""A server that Placement has forgotten is counted again, and one that it counts is left alone."""

import json
import types
from typing import Any

import requests

from altostratus import placement

_SERVER = types.SimpleNamespace(
    id="of-the-server", compute_host="node-docker", project_id="project", user_id="user"
)
_RESOURCES = {"MEMORY_MB": 512, "DISK_GB": 2}


class Placement:
    """What of Placement's allocations there is, and the rules that its API has for them."""

    def __init__(self) -> None:
        self.allocations: dict[str, Any] = {}

    def get(self, path: str, params: Any, microversion: str) -> requests.Response:
        if path == "/resource_providers":
            assert params == [("name", "node-docker")]
            return _answer({"resource_providers": [{"uuid": "of-the-node"}]})
        consumer = path.removeprefix("/allocations/")
        return _answer({"allocations": self.allocations.get(consumer, {})})

    def put(self, path: str, json: Any, microversion: str) -> requests.Response:
        assert json.keys() == {
            "allocations", "project_id", "user_id", "consumer_generation", "consumer_type"
        }  # fmt: skip
        # For a consumer that is not known, there must be none.
        assert json["consumer_generation"] is None
        self.allocations[path.removeprefix("/allocations/")] = json["allocations"]
        return _answer(None, 204)


def _answer(body: Any, status: int = 200) -> requests.Response:
    response = requests.Response()
    response.status_code = status
    response._content = json.dumps(body).encode()
    return response


def restore(known: Placement, resources: dict[str, int]) -> None:
    undercloud: Any = types.SimpleNamespace(placement=known)
    placement.restore_allocation(undercloud, _SERVER, resources)


def test_forgotten_server_is_counted_where_it_is() -> None:
    known = Placement()
    restore(known, _RESOURCES)
    assert known.allocations == {_SERVER.id: {"of-the-node": {"resources": _RESOURCES}}}


def test_server_that_is_counted_is_left_alone() -> None:
    known = Placement()
    restore(known, _RESOURCES)
    restore(known, {"MEMORY_MB": 1})
    assert known.allocations[_SERVER.id]["of-the-node"]["resources"] == _RESOURCES
