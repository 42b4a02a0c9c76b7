"""Bare-metal machines in the undercloud's Ironic: enrolled, checked, inspected, shown.

Who enrols several gets all of them or none: what cannot be reached is told with its BMC and the
cause, and nothing of it stays.
"""

import collections.abc
import contextlib
import dataclasses
import hashlib
import os
import pathlib
from typing import Any

import openstack
import openstack.exceptions

from altostratus import cloud, errors, hypervisors, log, metalnode, model
from altostratus.nodesfile import Wanted

Connection = openstack.connection.Connection

DRIVER = "redfish"
# What a node was enrolled with, so that the same again changes nothing: no password, no plain hash.
_DIGEST = "altostratus:credentials"
_VERIFY_S = 180
_FORGET_S = 120
_INSPECT_S = 300
_BOOT_S = 1800


@dataclasses.dataclass(frozen=True, slots=True)
class Node:
    """A machine as Ironic knows it."""

    name: str
    bmc: str
    state: str
    power: str
    properties: dict[str, Any]
    macs: tuple[str, ...]
    trouble: str = ""


def connect() -> Connection:
    """The undercloud with its Ironic. Raises :class:`errors.Error` if it has none."""
    connection = cloud.connect_system("undercloud")
    if not connection.session.get_endpoint(service_type="baremetal", interface="public"):
        raise errors.Error(
            "the undercloud has no bare metal",
            hint="./altostratus undercloud up examples/undercloud/baremetal.yaml",
        )
    return connection


def enrol(
    connection: Connection, wanted: collections.abc.Sequence[Wanted], images: dict[str, str]
) -> tuple[str, ...]:
    """Have Ironic manage these machines; returns the names of those that were new or changed.

    ``images`` are kernel and ramdisk that they boot, by Ironic's names for them. Raises
    :class:`errors.Error` if one cannot be managed: then none is enrolled that was not before.
    """
    passwords = {one.name: _password(one) for one in wanted}
    log.hide(passwords.values())
    metal = connection.baremetal
    there = {node.name: node for node in metal.nodes(details=True)}
    _refuse_known(metal, wanted, there)
    changed: list[str] = []
    with contextlib.ExitStack() as undo:
        for one in wanted:
            info = _driver_info(one, passwords[one.name]) | images
            node = there.get(one.name)
            if node is not None and _is_same(node, info, one):
                continue
            changed.append(one.name)
            if node is not None:
                metal.update_node(node, driver_info=info, extra=_extra(one, info))
            else:
                node = _create(metal, one, info)
                undo.callback(_forget, metal, node)
            _manage(metal, node, one)
        undo.pop_all()
    return tuple(changed)


def inspect(connection: Connection, name: str, *, by_agent: bool = False) -> Node:
    """Have Ironic find out what a machine has: from its BMC, or from what it boots for that.

    Raises :class:`errors.Error` that names the node, its BMC and the cause.
    """
    metal = connection.baremetal
    node = metalnode.find(metal, name)
    metalnode.validate(metal, node)
    # A machine that boots gets an address by the NIC that its BMC told of.
    if not by_agent or not any(metal.ports(node_id=node.id)):
        node = _inspect(metal, node, DRIVER, _INSPECT_S)
    if by_agent:
        node = _inspect(metal, node, "agent", _BOOT_S)
    return _node(metal, node)


def listed(connection: Connection) -> list[Node]:
    """All machines, by their names."""
    metal = connection.baremetal
    ports: dict[str, list[str]] = {}
    for port in metal.ports(details=True):
        ports.setdefault(port.node_id, []).append(port.address)
    found = sorted(metal.nodes(details=True), key=lambda node: node.name or node.id)
    return [_described(node, ports.get(node.id, [])) for node in found]


def rows(nodes: collections.abc.Iterable[Node]) -> list[tuple[str, ...]]:
    """Machines as they are shown, with a heading."""
    heading = ("NAME", "STATE", "POWER", "ARCH", "MEMORY", "DISK", "MACS", "BMC", "TROUBLE")
    return [heading, *map(_row, nodes)]


def _inspect(metal: Any, node: Any, interface: str, timeout_s: float) -> Any:
    if node.inspect_interface != interface:
        node = metal.update_node(node, inspect_interface=interface)
    with log.step(f"inspect {node.name}") as step:
        node = metalnode.change(metal, node, "inspect", timeout_s, step)
    if node.provision_state not in ("manageable", "available", "active"):
        said = node.last_error or node.provision_state
        raise metalnode.failure(node, "the inspection failed", said)
    _place_nics(metal, node)
    return node


def _row(node: Node) -> tuple[str, ...]:
    has = node.properties
    return (
        node.name,
        node.state,
        node.power or "-",
        has.get("cpu_arch") or "-",
        f"{has['memory_mb']} MiB" if has.get("memory_mb") else "-",
        f"{has['local_gb']} GiB" if has.get("local_gb") else "-",
        " ".join(node.macs) or "-",
        node.bmc,
        node.trouble or "-",
    )


def _password(one: Wanted) -> str:
    if one.password_env:
        found = os.environ.get(one.password_env, "")
        where = f"the variable {one.password_env}"
    else:
        where = one.password_file
        try:
            found = pathlib.Path(where).read_text().strip()
        except OSError as exc:
            raise errors.Error(f"node {one.name}: the password cannot be read: {exc}") from exc
    if not found:
        raise errors.Error(f"node {one.name}: there is no password in {where}")
    return found


def _driver_info(one: Wanted, password: str) -> dict[str, Any]:
    info: dict[str, Any] = {
        "redfish_address": one.bmc,
        "redfish_username": one.user,
        "redfish_password": password,
        "redfish_verify_ca": one.verify,
    }
    return info | ({"redfish_system_id": one.system} if one.system else {})


def _extra(one: Wanted, info: dict[str, Any]) -> dict[str, str]:
    return {_DIGEST: _stretched(one, info["redfish_password"])}


def _stretched(one: Wanted, password: str) -> str:
    salt = f"{one.name} {one.bmc}{one.system} {one.user}".encode()
    return hashlib.scrypt(password.encode(), salt=salt, n=1 << 14, r=8, p=1).hex()


def _is_same(node: Any, info: dict[str, Any], one: Wanted) -> bool:
    known = dict(node.driver_info)
    same = all(known.get(key) == info[key] for key in info if key != "redfish_password")
    managed = node.provision_state not in ("enroll", "verifying")
    return same and managed and node.extra.get(_DIGEST) == _stretched(one, info["redfish_password"])


def _refuse_known(
    metal: Any, wanted: collections.abc.Sequence[Wanted], there: dict[str, Any]
) -> None:
    """A BMC or a NIC that another node has already."""
    bmcs = {metalnode.bmc(node): name for name, node in there.items()}
    names = {node.id: name for name, node in there.items()}
    macs = {port.address: names.get(port.node_id, "?") for port in metal.ports(details=True)}
    for one in wanted:
        other = bmcs.get(f"{one.bmc}{one.system}")
        if other not in (None, one.name):
            raise errors.Error(f"node {one.name}: its BMC {one.bmc}{one.system} is that of {other}")
        for mac in one.macs:
            if macs.get(mac, one.name) != one.name:
                raise errors.Error(
                    f"node {one.name} (BMC {one.bmc}): the MAC address {mac} is that of the node"
                    f" {macs[mac]}"
                )


def _create(metal: Any, one: Wanted, info: dict[str, Any]) -> Any:
    node = metal.create_node(
        name=one.name,
        driver=DRIVER,
        driver_info=info,
        extra=_extra(one, info),
        resource_class=hypervisors.RESOURCE_CLASS,
    )
    metal.add_node_trait(node, hypervisors.entry(hypervisors.BAREMETAL).trait)
    for mac in one.macs:
        metal.create_port(node_id=node.id, address=mac)
    return node


def _place_nics(metal: Any, node: Any) -> None:
    """The first NIC is on the control network: it alone boots, and gets an address for that."""
    ports = sorted(metal.ports(details=True, node_id=node.id), key=lambda port: port.created_at)
    for port in ports:
        wanted = port is ports[0]
        if wanted and port.physical_network != model.CONTROL:
            metal.update_port(port, physical_network=model.CONTROL)
        if port.is_pxe_enabled != wanted:
            metal.update_port(port, is_pxe_enabled=wanted)


def _forget(metal: Any, node: Any) -> None:
    """Delete a node, which Ironic may still be at: while it is, the node is locked."""

    def look() -> tuple[bool | None, str]:
        try:
            metal.delete_node(node)
        except openstack.exceptions.ConflictException as exc:
            return None, str(exc)
        return True, ""

    cloud.wait(f"node {node.name}: to delete it again", look, _FORGET_S)


def _manage(metal: Any, node: Any, one: Wanted) -> None:
    with log.step(f"reach the BMC of {one.name}") as step:
        if node.provision_state not in ("enroll", "verifying"):
            metalnode.validate(metal, node)
            return
        node = metalnode.change(metal, node, "manage", _VERIFY_S, step)
    if node.provision_state != "manageable":
        raise metalnode.failure(node, "it cannot be managed", node.last_error or "")


def _node(metal: Any, node: Any) -> Node:
    macs = [port.address for port in metal.ports(details=True, node_id=node.id)]
    return _described(metal.get_node(node.id), macs)


def _described(node: Any, macs: list[str]) -> Node:
    said = node.maintenance_reason if node.is_maintenance else node.last_error
    properties = node.properties or {}
    return Node(
        node.name or node.id,
        metalnode.bmc(node),
        node.provision_state,
        node.power_state or "",
        properties,
        tuple(sorted(macs)),
        metalnode.cause(said or ""),
    )
