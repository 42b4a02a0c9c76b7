"""A stateful double of Ironic, as the SDK shows it: BMCs that answer, refuse or are not there."""

import types
import uuid
from typing import Any

import openstack.exceptions

UNREACHABLE = (
    "Failed to get power state. Error: Redfish exception occurred. Error: Unable to connect to"
    " https://192.0.2.9/redfish/v1/. Error: HTTPSConnectionPool: Max retries exceeded"
)
REFUSED = "Redfish exception occurred. Error: HTTP GET https://192.0.2.1/ returned code 401. Nope."


class FakeIronic:
    """Its nodes and ports; ``bmcs`` are the passwords of those that can be reached."""

    def __init__(self, bmcs: dict[str, str]) -> None:
        self.bmcs = bmcs
        self.all: dict[str, Any] = {}
        self.all_ports: list[Any] = []
        self.found_macs: dict[str, str] = {}
        self.tells = {"cpu_arch": "x86_64", "memory_mb": 2048, "local_gb": 9}
        self.inspected: set[str] = set()
        self.clean_error: str | None = None
        self.writes = 0

    def nodes(self, **_: Any) -> list[Any]:
        return [self._shown(node) for node in self.all.values()]

    def find_node(self, name: str, **_: Any) -> Any:
        return next((one for one in self.nodes() if one.name == name), None)

    def get_node(self, identity: str) -> Any:
        return self._shown(self.all[identity])

    def ports(self, node_id: str | None = None, **_: Any) -> list[Any]:
        return [one for one in self.all_ports if node_id in (None, one.node_id)]

    def create_node(self, **given: Any) -> Any:
        self.writes += 1
        node = types.SimpleNamespace(
            id=str(uuid.uuid4()),
            provision_state="enroll",
            target_provision_state=None,
            power_state=None,
            last_error=None,
            instance_id=None,
            is_maintenance=False,
            fault=None,
            maintenance_reason=None,
            inspect_interface="redfish",
            properties={},
            traits=[],
            **given,
        )
        self.all[node.id] = node
        return self._shown(node)

    def update_node(self, node: Any, **changes: Any) -> Any:
        self.writes += 1
        vars(self.all[node.id]).update(changes)
        return self._shown(self.all[node.id])

    def delete_node(self, node: Any) -> None:
        self.writes += 1
        del self.all[node.id]
        self.all_ports = [one for one in self.all_ports if one.node_id != node.id]

    def add_node_trait(self, node: Any, trait: str) -> None:
        self.all[node.id].traits.append(trait)

    def create_port(self, node_id: str, address: str) -> None:
        port = types.SimpleNamespace(
            node_id=node_id,
            address=address,
            created_at=f"2026-11-28T00:00:{len(self.all_ports):02d}",
            # A BMC does not tell which NIC boots.
            is_pxe_enabled=False,
            physical_network=None,
        )
        self.all_ports.append(port)

    def update_port(self, port: Any, **changes: Any) -> None:
        vars(port).update(changes)

    def validate_node(self, node: Any, required: None) -> dict[str, Any]:
        names = ("inspect", "management", "network", "power")
        found = {name: types.SimpleNamespace(result=True, reason=None) for name in names}
        # It has no image yet.
        return found | {"boot": types.SimpleNamespace(result=False, reason="no image_source")}

    def set_node_provision_state(self, node: Any, verb: str) -> None:
        self.writes += 1
        verbs = {"manage": self._manage, "inspect": self._inspect, "provide": self._clean}
        verbs[verb](self.all[node.id])

    def set_node_power_state(self, node: Any, wanted: str, **_: Any) -> None:
        self.writes += 1
        self.all[node.id].power_state = wanted

    def unset_node_maintenance(self, node: Any) -> None:
        self.writes += 1
        self.all[node.id].is_maintenance = False

    def _manage(self, node: Any) -> None:
        info = node.driver_info
        if info["redfish_address"] not in self.bmcs:
            node.last_error = UNREACHABLE
        elif self.bmcs[info["redfish_address"]] != info["redfish_password"]:
            node.last_error = REFUSED
        else:
            node.provision_state = "manageable"
            node.power_state = node.power_state or "power off"
            node.target_provision_state = None

    def _clean(self, node: Any) -> None:
        assert node.provision_state == "manageable"
        # One that runs has an agent whose token is no longer known.
        said = "it is silent" if node.power_state == "power on" else self.clean_error
        node.power_state = "power on" if said else "power off"
        if said is None:
            node.provision_state = "available"
            return
        node.provision_state, node.target_provision_state = "clean failed", "available"
        node.last_error = node.maintenance_reason = said
        node.is_maintenance, node.fault = True, "clean failure"

    def _inspect(self, node: Any) -> None:
        if node.provision_state != "manageable":
            raise openstack.exceptions.ConflictException(f"it is in state {node.provision_state}")
        # The agent sees its disk, whatever its BMC tells.
        seen = {"local_gb": 9} if node.inspect_interface == "agent" else {}
        node.properties = node.properties | self.tells | seen
        if node.id in self.inspected:
            return
        mac = self.found_macs.get(node.name, f"52:54:00:00:00:{len(self.all_ports):02x}")
        if mac in {port.address for port in self.all_ports}:
            node.provision_state, node.target_provision_state = "inspect failed", "manageable"
            node.last_error = f"A port with MAC address {mac} already exists."
            return
        self.create_port(node.id, mac)
        self.inspected.add(node.id)

    @staticmethod
    def _shown(node: Any) -> Any:
        """Passwords go in and never come out."""
        shown = types.SimpleNamespace(**vars(node))
        shown.driver_info = node.driver_info | {"redfish_password": "******"}
        return shown
