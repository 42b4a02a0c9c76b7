"""A stateful double of an overcloud with compute nodes: Nova moves its machines as Nova does.

It is asked by real HTTP, in the shapes of the undercloud's double.
"""

import collections.abc
import contextlib
import json
import threading
import uuid
from typing import Any

from altostratus import computenodes
from tests.unit.fake_undercloud import FakeUndercloud, _Handler, _inventory

FLAT, TUNNEL = "net-flat", "net-tunnel"


class FakeOvercloud(FakeUndercloud):
    """Compute nodes and machines, as a test adds them; ``refused`` are machines that fail to move.

    A machine has moved when it was asked for twice after it set out.
    """

    def __init__(self) -> None:
        super().__init__()
        self.RequestHandlerClass = _OvercloudHandler
        self.services, self.kinds, self.providers = [], {}, {}
        self.networks = [
            {"id": FLAT, "name": "provider", "provider:network_type": "flat"},
            {"id": TUNNEL, "name": "private", "provider:network_type": "vxlan"},
        ]
        self.migrations: list[dict[str, Any]] = []
        self.refused: set[str] = set()
        self.heartbeats = 0
        self.is_silent = False
        self.hang_ups = 0
        # What was asked for, in its order.
        self.asked: list[str] = []

    def add_node(self, name: str, memory_mib: int = 2048, *, is_able: bool = True) -> None:
        """A compute node with nothing on it."""
        identity = str(uuid.uuid4())
        self.kinds[name] = identity
        self.services.append(
            {"id": str(uuid.uuid4()), "binary": "nova-compute", "host": name, "zone": "nova"}
            | {"status": "enabled", "state": "up", "disabled_reason": None}
            | {"updated_at": "2026-01-01T00:00:00.000000"}
        )
        self.providers[name] = {
            "uuid": identity,
            "inventories": {
                "MEMORY_MB": _inventory(memory_mib),
                "DISK_GB": _inventory(10),
                "VCPU": _inventory(8),
            },
            "usages": {"MEMORY_MB": 0, "DISK_GB": 0, "VCPU": 0},
            "traits": ["COMPUTE_NODE", *([computenodes.ABLE] if is_able else [])],
            "aggregates": [],
            "allocations": {},
        }

    def add_machine(self, name: str, node: str, memory_mib: int = 512, network: str = FLAT) -> None:
        """A machine that runs on a node."""
        self.servers.append(
            {"id": name, "name": name, "status": "ACTIVE", "OS-EXT-STS:power_state": 1}
            | {"OS-EXT-STS:task_state": None, "OS-EXT-SRV-ATTR:host": node}
            | {"flavor": {"ram": memory_mib, "disk": 1, "ephemeral": 0, "swap": 0, "vcpus": 1}}
        )
        self.ports.append({"id": f"port-{name}", "device_id": name, "network_id": network})
        self._count(node, memory_mib)

    def at(self, node: str) -> list[str]:
        """The machines on a node."""
        return [one["name"] for one in self.servers if one["OS-EXT-SRV-ATTR:host"] == node]

    def service(self, node: str) -> dict[str, Any]:
        """A node's compute process."""
        return next(one for one in self.services if one["host"] == node)

    def answer(self, service: str, path: list[str], query: dict[str, list[str]]) -> Any:
        """What one of the services says; None if there is no such thing."""
        if self.is_silent and service == "compute" and path[:1] == ["servers"]:
            return None
        match service, *path:
            case "compute", "servers", server if server != "detail":
                return {"server": self._step(self._server(server))}
            case "compute", "servers", _, "migrations":
                return {"migrations": []}
            case "compute", "servers", _, "os-instance-actions":
                failed = {"action": "live-migration", "request_id": "req"}
                return {"instanceActions": [failed]}
            case "compute", "servers", _, "os-instance-actions", _:
                events = [{"event": "compute_live_migration", "details": "No port is bound"}]
                return {"instanceAction": {"request_id": "req", "events": events}}
            case "compute", "os-services":
                self.heartbeats += 1
                for one in self.services:
                    one["updated_at"] = f"2026-01-01T00:00:{self.heartbeats:02}.000000"
                wanted = query.get("host", [one["host"] for one in self.services])
                return {"services": [one for one in self.services if one["host"] in wanted]}
            case "compute", "os-hypervisors", "detail":
                return {
                    "hypervisors": [
                        {"id": identity, "hypervisor_hostname": f"demo-{name}"}
                        | {"service": {"host": name}}
                        for name, identity in self.kinds.items()
                    ]
                }
            case "compute", "os-migrations":
                (server,) = query["instance_uuid"]
                found = [one for one in self.migrations if one["instance_uuid"] == server]
                for one in found:
                    one["asked"] = one.get("asked", 0) + (one["status"] == "post-migrating")
                    if one["asked"] == 2:
                        one["status"] = "completed"
                return {"migrations": found}
            case "network", "networks":
                return {"networks": self.networks}
        return super().answer(service, path, query)

    def change_service(self, identity: str, body: dict[str, Any]) -> dict[str, Any]:
        """Nova: disable or enable a compute process."""
        found = next(one for one in self.services if one["id"] == identity)
        found |= {"disabled_reason": None} | body
        self.asked.append(f"{body['status']} {found['host']}")
        return {"service": found}

    def move(self, server: str, body: dict[str, Any]) -> None:
        """Nova: begin to move a machine to the roomiest of the nodes that are enabled."""
        assert body == {"os-migrateLive": {"host": None, "block_migration": "auto"}}
        machine = self._server(server)
        source = machine["OS-EXT-SRV-ATTR:host"]
        taking = [
            one["host"]
            for one in self.services
            if one["host"] != source and (one["status"], one["state"]) == ("enabled", "up")
        ]
        target = max(taking, key=lambda name: -self.providers[name]["usages"]["MEMORY_MB"])
        machine |= {"status": "MIGRATING", "OS-EXT-STS:task_state": "migrating", "steps": 2}
        self.asked.append(f"move {server}")
        self.migrations.append(
            {"uuid": str(uuid.uuid4()), "instance_uuid": server, "status": "running"}
            | {"created_at": f"2026-01-01T00:00:{len(self.migrations):02}", "dest_compute": target}
        )

    def _step(self, machine: dict[str, Any]) -> dict[str, Any]:
        if machine["status"] != "MIGRATING":
            return machine
        machine["steps"] -= 1
        if machine["steps"]:
            return machine
        machine |= {"status": "ACTIVE", "OS-EXT-STS:task_state": None}
        migration = next(one for one in self.migrations[::-1] if one["status"] == "running")
        if machine["id"] in self.refused:
            migration["status"] = "failed"
            return machine
        migration["status"] = "post-migrating"
        memory = machine["flavor"]["ram"]
        self._count(machine["OS-EXT-SRV-ATTR:host"], -memory)
        machine["OS-EXT-SRV-ATTR:host"] = migration["dest_compute"]
        self._count(machine["OS-EXT-SRV-ATTR:host"], memory)
        return machine

    def _count(self, node: str, memory_mib: int) -> None:
        usages = self.providers[node]["usages"]
        sign = 1 if memory_mib > 0 else -1
        for name, amount in (("MEMORY_MB", memory_mib), ("DISK_GB", sign), ("VCPU", sign)):
            usages[name] += amount

    def _server(self, identity: str) -> dict[str, Any]:
        return next(one for one in self.servers if one["id"] == identity)


class _OvercloudHandler(_Handler):
    server: FakeOvercloud

    def do_GET(self) -> None:
        if self.server.hang_ups and "os-migrations" in self.path:
            # The connection ends without a word.
            self.server.hang_ups -= 1
            return
        super().do_GET()

    def do_POST(self) -> None:
        *_, servers, identity, action = self.path.split("/")
        assert (servers, action) == ("servers", "action")
        self.server.move(identity, json.loads(self._content()))
        self._send(202)

    def do_PUT(self) -> None:
        *_, services, identity = self.path.split("/")
        assert services == "os-services"
        self._send(200, self.server.change_service(identity, json.loads(self._content())))


@contextlib.contextmanager
def running() -> collections.abc.Iterator[FakeOvercloud]:
    """An overcloud that answers until the test is over."""
    with FakeOvercloud() as fake:
        thread = threading.Thread(target=fake.serve_forever, args=(0.02,))
        thread.start()
        yield fake
        fake.shutdown()
        thread.join()
