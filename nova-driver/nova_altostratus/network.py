"""An instance's network interfaces: veth pairs from its network namespace to Open vSwitch."""

import copy
import re
import time
from dataclasses import dataclass
from typing import Any

import os_vif
from nova import exception
from nova.network import os_vif_util
from oslo_concurrency import processutils
from oslo_log import log as logging

from nova_altostratus.root import Root

LOG = logging.getLogger(__name__)

_DATAPATH_OF_KERNEL = "system"
_ADOPTED_TIMEOUT_S = 10
_ADOPTED_POLL_S = 0.05
_PLAIN_NAME = re.compile(r"\w[\w.-]*", re.ASCII)  # that `ip -batch` takes as it is


@dataclass(frozen=True, slots=True)
class Nic:
    """One network interface: all that is needed to make it."""

    name: str
    port: str
    outer: str  # the machine's end, which is plugged into the switch
    inner: str  # the instance's end before it moved in and got its name
    mac: str
    mtu: int
    addresses: tuple[str, ...]
    routes: tuple[tuple[str, str], ...]
    metric: int  # the first interface's routes come first where several lead to the same place
    offload: bool


@dataclass(frozen=True, slots=True)
class Kept:
    """The interfaces of an instance whose container ends: their outer ends stay plugged."""

    namespace: str
    names: dict[str, str]  # of the inner ends, by port


def nics(network_info: Any, first: int = 0) -> list[Nic]:
    """Return the interfaces of an instance, `eth<first>` and up."""
    return [_nic(vif, number) for number, vif in enumerate(network_info, start=first)]


def nameservers(network_info: Any) -> list[str]:
    """Return the addresses of the networks' name servers, each once."""
    found = [
        server["address"]
        for vif in network_info
        for subnet in vif["network"]["subnets"]
        for server in subnet["dns"]
    ]
    return list(dict.fromkeys(found))


def offload_is_safe(vif: Any) -> bool:
    """Return whether the switch completes checksums that a guest left to the hardware.

    Open vSwitch's user-space datapath does not on a veth: TCP dies silently while ping works.
    """
    details = vif.get("details") or {}
    return details.get("datapath_type") == _DATAPATH_OF_KERNEL


def awaited(network_info: Any) -> Any:
    """Return the same ports as ones that are not up yet, whatever Nova last heard of them.

    Nova waits only for those. Neutron reports each port that is unplugged and plugged again: its
    server has it built anew when the agent asks for it.
    """
    found = copy.deepcopy(network_info)
    for vif in found:
        vif["active"] = False
    return found


def raise_outer_end(device: str, root: Root) -> None:
    """Set a device up that somebody else plugged into Open vSwitch's user-space datapath.

    The switch makes a device promiscuous from what it last knew of its flags: a device that was
    set up in between goes down again. So this waits until the switch has done that.
    """
    deadline = time.monotonic() + _ADOPTED_TIMEOUT_S
    while "PROMISC" not in root.run("ip", "-o", "link", "show", "dev", device):
        if time.monotonic() > deadline:
            LOG.warning("Open vSwitch did not take %s within %d s", device, _ADOPTED_TIMEOUT_S)
            break
        time.sleep(_ADOPTED_POLL_S)
    root.run("ip", "link", "set", "dev", device, "up")


def _nic(vif: Any, number: int) -> Nic:
    network = vif["network"]
    return Nic(
        name=f"eth{number}",
        metric=number * 100,
        port=vif["id"],
        outer=vif["devname"] or f"tap{vif['id']}"[:14],
        inner=f"ngu{vif['id']}"[:14],
        mac=vif["address"],
        mtu=network.get_meta("mtu") or 1500,
        addresses=tuple(
            f"{ip['address']}/{subnet.as_netaddr().prefixlen}"
            for subnet in network["subnets"]
            for ip in subnet["ips"]
        ),
        routes=tuple(_routes(network["subnets"])),
        offload=offload_is_safe(vif),
    )


def _routes(subnets: Any) -> list[tuple[str, str]]:
    found = []
    for subnet in subnets:
        gateway = (subnet["gateway"] or {}).get("address")
        if gateway:
            found.append(("::/0" if subnet["version"] == 6 else "0.0.0.0/0", gateway))  # noqa: PLR2004
        found += [(route["cidr"], route["gateway"]["address"]) for route in subnet["routes"]]
    return found


class Switch:
    """Open vSwitch through os-vif."""

    def prepare(self) -> None:
        """Load os-vif's plugins."""
        os_vif.initialize()

    def plug(self, instance: Any, vif: Any) -> None:
        """Make the port of an interface's outer end, which exists."""
        port = os_vif_util.nova_to_osvif_vif(vif)
        if hasattr(port.port_profile, "create_port"):
            # Nobody else makes it: there is no libvirt here.
            port.port_profile.create_port = True
        os_vif.plug(port, os_vif_util.nova_to_osvif_instance(instance))

    def unplug(self, instance: Any, vif: Any) -> None:
        """Remove the port of an interface's outer end."""
        port = os_vif_util.nova_to_osvif_vif(vif)
        os_vif.unplug(port, os_vif_util.nova_to_osvif_instance(instance))


class Network:
    """Makes, plugs and removes the interfaces of instances."""

    def __init__(self, root: Root, switch: Any) -> None:
        self.root = root
        self.switch = switch

    def plug(self, instance: Any, vif: Any, nic: Nic) -> None:
        """Make an interface and plug its outer end; its inner end waits for the instance.

        :raises VirtualInterfacePlugException: it cannot be made or plugged
        """
        try:
            self.root.run("ip", "-batch", "-", stdin=_pair(nic, self.exists(nic.outer)))
            self.switch.plug(instance, vif)
        except Exception as error:
            reason = getattr(error, "stderr", None) or error
            raise exception.VirtualInterfacePlugException(
                f"Port {nic.port} of instance {instance.uuid}: {reason}"
            ) from error

    def replug(self, instance: Any, vif: Any, nic: Nic) -> None:
        """Plug again the outer end of an interface that a running instance has."""
        if not self.exists(nic.outer):
            raise exception.VirtualInterfacePlugException(
                f"Port {nic.port} of instance {instance.uuid}: its interface {nic.outer} is gone; "
                "a hard reboot makes it again"
            )
        self.switch.plug(instance, vif)

    def enter(self, pid: int, nic: Nic, kept: Kept | None = None) -> None:
        """Move an interface's inner end to a process's network namespace and set it up there.

        :param kept: where it is, if a process that has ended had it
        :raises VirtualInterfacePlugException: it cannot be moved or set up
        """
        try:
            if kept:
                leaving = _leaving(kept.names[nic.port], pid, nic)
                self.root.in_network(kept.namespace, "ip", "-batch", "-", stdin=leaving)
            else:
                self.root.run("ip", "link", "set", nic.inner, "netns", str(pid))
            self.root.in_network_of(pid, "ip", "-batch", "-", stdin=_inside(nic))
            if not nic.offload:
                self.root.in_network_of(pid, "ethtool", "-K", nic.name, "tx", "off")
        except processutils.ProcessExecutionError as error:
            raise exception.VirtualInterfacePlugException(
                f"Port {nic.port}: cannot set up {nic.name} in the instance: {error.stderr}"
            ) from error

    def kept(self, namespace: str, wanted: list[Nic]) -> Kept | None:
        """Return the interfaces that a network namespace has, or None if it has not all of them.

        They are known by their outer ends, because their names are the instance's to change.
        """
        lines = self.root.in_network(namespace, "ip", "-o", "link", "show").splitlines()
        names = {line.split(":")[0]: _name(line) for line in lines}
        found = {nic.port: names.get(self._peer(nic.outer), "") for nic in wanted}
        if not all(_PLAIN_NAME.fullmatch(name) for name in found.values()):
            return None
        return Kept(namespace, found)

    def unplug(self, instance: Any, vif: Any, nic: Nic) -> None:
        """Remove an interface; what is not there is removed already."""
        try:
            self.switch.unplug(instance, vif)
        except Exception:
            # The interface itself must go all the same, and so must the instance.
            LOG.exception("Port %s cannot be unplugged", nic.port, instance=instance)
        if self.exists(nic.outer):
            self.root.run("ip", "link", "delete", nic.outer, ok=(0, 1))

    def exists(self, device: str) -> bool:
        """Return whether the machine has a network device."""
        return bool(self.root.run("ip", "-o", "link", "show", "dev", device, ok=(0, 1)).strip())

    def names(self, pid: int) -> list[str]:
        """Return the names of the interfaces in a process's network namespace."""
        lines = self.root.in_network_of(pid, "ip", "-o", "link", "show").splitlines()
        return [_name(line) for line in lines]

    def _peer(self, outer: str) -> str:
        shown = self.root.run("ip", "-o", "link", "show", "dev", outer, ok=(0, 1))
        found = re.search(r"@if(\d+):", shown)
        return found[1] if found else ""


def _name(line: str) -> str:
    """Return a device's name from its line of `ip -o link`."""
    return line.split(":")[1].strip().partition("@")[0]


def _pair(nic: Nic, leftover: bool) -> str:
    remove = [f"link delete dev {nic.outer}"] if leftover else []
    return _batch(
        *remove,
        f"link add name {nic.outer} mtu {nic.mtu} type veth peer name {nic.inner} mtu {nic.mtu}",
        f"link set dev {nic.outer} up",
    )


def _leaving(name: str, pid: int, nic: Nic) -> str:
    return _batch(
        f"link set dev {name} down",
        f"link set dev {name} name {nic.inner}",
        f"link set dev {nic.inner} netns {pid}",
    )


def _inside(nic: Nic) -> str:
    return _batch(
        "link set dev lo up",
        f"link set dev {nic.inner} name {nic.name}",
        f"link set dev {nic.name} address {nic.mac} mtu {nic.mtu}",
        *(f"address add {address} dev {nic.name}{_nodad(address)}" for address in nic.addresses),
        f"link set dev {nic.name} up",
        *(
            f"route add {target} via {gateway} dev {nic.name} metric {nic.metric}"
            for target, gateway in nic.routes
        ),
    )


def _nodad(address: str) -> str:
    # Neutron has given the address to nobody else, and duplicate detection would delay it.
    return " nodad" if ":" in address else ""


def _batch(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)
