"""A stateful double of an undercloud's APIs, as far as it is read: real HTTP, real shapes.

Placement's part counts as Placement does; the rest answers what it holds.
"""

import collections.abc
import contextlib
import http.server
import json
import threading
import urllib.parse
import uuid
from typing import Any

import openstack

from altostratus import hypervisors

_VERSIONS = {
    "compute": ("v2.1", "2.100"),
    "placement": ("v1.0", "1.39"),
    "network": ("v2.0", None),
    "image": ("v2.17", None),
    "orchestration": ("v1.0", None),
}
REQUEST = "req-11f3d6d8-38ec-4c9c-9e08-cdc23da351fa"


class FakeUndercloud(http.server.ThreadingHTTPServer):
    """One node with a compute process for each hypervisor, and whatever a test adds."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.services: list[dict[str, Any]] = []
        self.kinds: dict[str, str] = {}
        self.aggregates: list[dict[str, Any]] = []
        self.providers: dict[str, dict[str, Any]] = {}
        self.servers: list[dict[str, Any]] = []
        self.actions: dict[str, list[dict[str, Any]]] = {}
        self.diagnostics: dict[str, dict[str, Any]] = {}
        self.images: dict[str, dict[str, Any]] = {}
        self.ports: list[dict[str, Any]] = []
        self.agents = [_agent("undercloud")]
        self.stacks: dict[str, dict[str, Any]] = {}
        for name in hypervisors.default():
            self.add_process(name)

    def add_process(self, hypervisor: str, node: str = "undercloud") -> None:
        """A compute process as ``undercloud up`` or ``add-node`` leaves it."""
        host, entry = f"{node}-{hypervisor}", hypervisors.entry(hypervisor)
        aggregate = str(uuid.uuid4())
        self.kinds[host] = entry.hypervisor_type.upper()
        self.services.append(
            {"id": host, "binary": "nova-compute", "host": host, "zone": node}
            | {"status": "enabled", "state": "up", "disabled_reason": None}
            | {"updated_at": "2026-01-01T00:00:00.000000"}
        )
        self.aggregates.append(
            {"id": len(self.aggregates) + 1, "uuid": aggregate, "hosts": [host]}
            | {"name": f"hypervisor-{hypervisor}", "availability_zone": None}
            | {"metadata": {f"trait:{entry.trait}": "required"}}
        )
        self.providers[host] = {
            "uuid": str(uuid.uuid4()),
            "inventories": {"MEMORY_MB": _inventory(6144), "DISK_GB": _inventory(20)},
            "usages": {"MEMORY_MB": 0, "DISK_GB": 0},
            "traits": [entry.trait, "COMPUTE_NODE", "OWNER_NOVA"],
            "aggregates": [aggregate],
            "allocations": {},
        }

    def candidates(self, query: collections.abc.Mapping[str, list[str]]) -> list[Any]:
        """What Placement would offer."""
        wanted = dict(one.split(":") for one in query["resources"][0].split(","))
        asked = [*query["required"][0].split(","), *query["root_required"][0].split(",")]
        closed = {
            aggregate
            for one in query.get("member_of", ())
            if one.startswith("!in:")
            for aggregate in one.removeprefix("!in:").split(",")
        }
        return [
            {"allocations": {one["uuid"]: {"resources": wanted}}, "mappings": {}}
            for one in self.providers.values()
            if not closed & {*one["aggregates"]}
            and all((trait.strip("!") in one["traits"]) != ("!" in trait) for trait in asked)
            and all(_has_room(one, name, int(amount)) for name, amount in wanted.items())
        ]

    def answer(self, service: str, path: list[str], query: dict[str, list[str]]) -> Any:
        """What one of the services says; None if there is no such thing."""
        match service, *path:
            case (_,):
                return _version(self.url, service)
            case "compute", "servers", "detail":
                return {"servers": self.servers}
            case "compute", "servers", server:
                found = next((one for one in self.servers if one["id"] == server), None)
                return {"server": found} if found else None
            case "compute", "servers", server, "os-instance-actions":
                return {"instanceActions": self.actions[server]}
            case "compute", "servers", server, "os-instance-actions", request:
                (found,) = (one for one in self.actions[server] if one["request_id"] == request)
                return {"instanceAction": found}
            case "compute", "servers", server, "diagnostics":
                return self.diagnostics.get(server)
            case "compute", "os-services":
                return {"services": self.services}
            case "compute", "os-aggregates":
                return {"aggregates": self.aggregates}
            case "compute", "os-hypervisors", "detail":
                return {
                    "hypervisors": [
                        {"id": name, "hypervisor_hostname": name, "hypervisor_type": kind}
                        for name, kind in self.kinds.items()
                    ]
                }
            case "image", "images":
                return {"images": list(self.images.values())}
            case "image", "images", identity:
                return self.images.get(identity)
            case "network", "agents":
                return {"agents": self.agents}
            case "network", "ports":
                return {"ports": self.ports}
            case "orchestration", "stacks", name, *_:
                return self.stacks.get(name)
            case "placement", "allocation_candidates":
                return {"allocation_requests": self.candidates(query), "provider_summaries": {}}
            case "placement", "resource_providers":
                return {
                    "resource_providers": [
                        {"uuid": one["uuid"], "name": name}
                        for name, one in self.providers.items()
                        if name in query.get("name", [name])
                    ]
                }
            case "placement", "resource_providers", identity, what:
                (found,) = (one for one in self.providers.values() if one["uuid"] == identity)
                return {what: found[what]}
        return None


@contextlib.contextmanager
def running() -> collections.abc.Iterator[FakeUndercloud]:
    """An undercloud that answers until the test is over."""
    with FakeUndercloud() as fake:
        thread = threading.Thread(target=fake.serve_forever, args=(0.02,))
        thread.start()
        yield fake
        fake.shutdown()
        thread.join()


def connect(fake: FakeUndercloud) -> openstack.connection.Connection:
    """A connection that needs no Keystone."""
    overrides = {f"{name}_endpoint_override": f"{fake.url}/{name}" for name in _VERSIONS}
    return openstack.connection.Connection(
        auth_type="none",
        auth={"endpoint": fake.url},
        image_api_version="2",
        **overrides,
    )


def _inventory(total: int) -> dict[str, Any]:
    return {"total": total, "reserved": 0, "allocation_ratio": 1.0, "max_unit": total}


def _has_room(provider: dict[str, Any], name: str, amount: int) -> bool:
    one, used = provider["inventories"][name], provider["usages"].get(name, 0)
    return bool(used + amount <= (one["total"] - one["reserved"]) * one["allocation_ratio"])


def _agent(host: str) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid4()),
        "binary": "neutron-openvswitch-agent",
        "agent_type": "Open vSwitch agent",
        "host": host,
        "admin_state_up": True,
        "alive": True,
        "heartbeat_timestamp": "2026-01-01 00:00:00",
    }


def _version(url: str, service: str) -> Any:
    identity, most = _VERSIONS[service]
    links = [{"rel": "self", "href": f"{url}/{service}"}]
    about = {"id": identity, "status": "CURRENT", "links": links}
    if most:
        about |= {"version": most, "max_version": most, "min_version": identity.strip("v")}
    return {"version": about}


class _Handler(http.server.BaseHTTPRequestHandler):
    server: FakeUndercloud

    def log_message(self, *_arguments: object) -> None:
        """Nobody reads it."""

    def do_GET(self) -> None:
        asked = urllib.parse.urlsplit(self.path)
        service, *path = asked.path.strip("/").split("/")
        if path[-1:] == ["diagnostics"]:
            # Before, each driver had words of its own.
            assert self.headers["OpenStack-API-Version"] == "compute 2.48"
        found = self.server.answer(service, path, urllib.parse.parse_qs(asked.query))
        self._send(404 if found is None else 200, found)

    def do_DELETE(self) -> None:
        """Nova: a server whose host is down is gone at once."""
        *where, identity = self.path.strip("/").split("/")
        assert where == ["compute", "servers"]
        there = [one["id"] for one in self.server.servers]
        self.server.servers = [one for one in self.server.servers if one["id"] != identity]
        self._send(204 if identity in there else 404)

    def do_POST(self) -> None:
        """Nova: more metadata of a server. Glance: an image that has no data yet."""
        if self.path.endswith("/metadata"):
            *_, identity, _ = self.path.split("/")
            (found,) = (one for one in self.server.servers if one["id"] == identity)
            found["metadata"] |= json.loads(self._content())["metadata"]
            self._send(200, {"metadata": found["metadata"]})
            return
        assert self.path == "/image/images"
        made = {"id": str(uuid.uuid4()), "status": "queued"} | json.loads(self._content())
        self.server.images[made["id"]] = made
        self._send(201, made)

    def do_PUT(self) -> None:
        """Glance: the data of an image."""
        *_, identity, file = self.path.split("/")
        assert file == "file"
        self.server.images[identity] |= {"status": "active", "size": len(self._content())}
        self._send(204)

    def _content(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def _send(self, status: int, body: Any = None) -> None:
        content = json.dumps(body if body is not None else {"code": status}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
