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
import re
from typing import Any

import openstack
import openstack.exceptions

from altostratus import cloud, errors, hypervisors, log, model
from altostratus.nodesfile import Wanted

Connection = openstack.connection.Connection

DRIVER = "redfish"
RESOURCE_CLASS = "baremetal"
# What a node was enrolled with, so that the same again changes nothing: no password, no plain hash.
_DIGEST = "altostratus:credentials"
_VERIFY_S = 180
_FORGET_S = 120
_INSPECT_S = 300
_BOOT_S = 1800
# Booting and deploying are checked with an image, which a machine without an instance has not.
_NEEDED = ("inspect", "management", "network", "power")
# What Ironic's message means, the first that fits.
_CAUSES = (
    (r"returned code 401|[Aa]ccess ?[Ee]rror|[Ii]ncorrect username|Unauthorized",
     "it refuses the user or the password"),
    (r"certificate verify failed|CERTIFICATE_VERIFY", "its certificate is not trusted"),
    (r"returned code 404|Resource \S+ not found", "it has no such system"),
    (r"Unable to connect|Connection ?Error|Max retries|timed? ?out|No route to host|refused",
     "it cannot be reached from the undercloud"),
)  # fmt: skip


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
    node = _find(metal, name)
    _validate(metal, node)
    interface = "agent" if by_agent else DRIVER
    if node.inspect_interface != interface:
        node = metal.update_node(node, inspect_interface=interface)
    with log.step(f"inspect {name}") as step:
        node = _do(metal, node, "inspect", _BOOT_S if by_agent else _INSPECT_S, step)
    if node.provision_state not in ("manageable", "available", "active"):
        raise _failure(node, "the inspection failed", node.last_error or node.provision_state)
    _place_nics(metal, node)
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
    bmcs = {_bmc(node): name for name, node in there.items()}
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
        resource_class=RESOURCE_CLASS,
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
            _validate(metal, node)
            return
        node = _do(metal, node, "manage", _VERIFY_S, step)
    if node.provision_state != "manageable":
        raise _failure(node, "it cannot be managed", node.last_error or "")


def _do(metal: Any, node: Any, verb: str, timeout_s: float, step: log.Step) -> Any:
    """Ask for a change of state, and wait until the node is in a state in which it stays."""
    try:
        metal.set_node_provision_state(node, verb)
    except openstack.exceptions.ConflictException as exc:
        raise _failure(node, f"it cannot {verb} now", str(exc)) from exc

    def look() -> tuple[Any, str]:
        found = metal.get_node(node.id)
        state = str(found.provision_state)
        # One that failed still has where it was to come to.
        ended = not found.target_provision_state or state.endswith("failed")
        return (found if ended else None), state

    hint = f"openstack --os-cloud undercloud baremetal node show {node.name}"
    what = f"node {node.name} (BMC {_bmc(node)}): {verb}"
    return cloud.wait(what, look, timeout_s, hint=hint, step=step)


def _validate(metal: Any, node: Any) -> None:
    found = metal.validate_node(node, required=None)
    wrong = {name: found[name].reason for name in _NEEDED if not found[name].result}
    if wrong:
        causes = "; ".join(f"{name}: {reason}" for name, reason in sorted(wrong.items()))
        raise _failure(node, "Ironic cannot use it", causes)


def _find(metal: Any, name: str) -> Any:
    node = metal.find_node(name, details=True)
    if node is None:
        known = [one.name or one.id for one in metal.nodes()]
        raise errors.Error(*errors.unknown("node", name, known))
    return node


def _node(metal: Any, node: Any) -> Node:
    macs = [port.address for port in metal.ports(details=True, node_id=node.id)]
    return _described(metal.get_node(node.id), macs)


def _described(node: Any, macs: list[str]) -> Node:
    trouble = node.maintenance_reason if node.is_maintenance else cause(node.last_error or "")
    properties = node.properties or {}
    return Node(
        node.name or node.id,
        _bmc(node),
        node.provision_state,
        node.power_state or "",
        properties,
        tuple(sorted(macs)),
        trouble or "",
    )


def _bmc(node: Any) -> str:
    info = node.driver_info or {}
    return f"{info.get('redfish_address', '')}{info.get('redfish_system_id', '')}"


def _failure(node: Any, what: str, said: str) -> errors.Error:
    return errors.Error(
        f"node {node.name} (BMC {_bmc(node)}): {what}: {cause(said)}",
        hint="look at what the undercloud says: ./altostratus undercloud shell journalctl -u ironic",
    )


def cause(said: str) -> str:
    """What a message of Ironic's means, in a few words where it is known."""
    known = next((words for pattern, words in _CAUSES if re.search(pattern, said)), None)
    return known or " ".join(said.split())
