"""The network by which other containers of this machine are joined to the undercloud's control bridge.

A plain bridge of the Docker Engine's: it carries the flat control network, and tagged the others.
"""

import json

import docker
import docker.errors
import docker.types

from altostratus import errors, model, systemcontainer, undercloud

NETWORK = "altostratus-nodes"
# The engine gives NICs addresses; none of them is used.
_CIDR = model.TRUNK_CIDR
_BRIDGE = "alto1"
# What the engine calls the undercloud's NIC on it when the undercloud boots; later ones it counts on.
_NIC_AT_BOOT = "eth1"
_NICS = "eth"


def create(engine: docker.DockerClient) -> None:
    """Make it unless it is there, and have the undercloud join it."""
    if not engine.networks.list(names=[f"^{NETWORK}$"]):
        _create(engine)
    connect(engine, undercloud.CONTAINER)
    nic = _nic(engine)
    undercloud.execute("ip", "address", "flush", "dev", nic)
    undercloud.execute("ip", "link", "set", nic, "up")
    bridge = model.ControlNetwork().bridge
    # Open vSwitch takes one that is not there yet when it comes.
    for port in dict.fromkeys((nic, _NIC_AT_BOOT)):
        undercloud.execute("ovs-vsctl", "--may-exist", "add-port", bridge, port)


def connect(engine: docker.DockerClient, container: str) -> None:
    """Give a container a NIC on it."""
    network = engine.networks.get(NETWORK)
    if container not in {one.name for one in network.containers}:
        network.connect(container)


def leave(engine: docker.DockerClient) -> None:
    """Remove it if nobody but the undercloud is on it any more."""
    found = engine.networks.list(names=[f"^{NETWORK}$"])
    if not found:
        return
    network = engine.networks.get(NETWORK)
    # Those that do not run are not among the network's own.
    others = engine.containers.list(all=True, filters={"network": NETWORK})
    if {one.name for one in (*network.containers, *others)} - {undercloud.CONTAINER}:
        return
    if undercloud.status() in ("configured", "configuring"):
        _part()
    for container in network.containers:
        network.disconnect(container, force=True)
    systemcontainer.remove_if_there(network.remove, "network of the undercloud's nodes")


def _nic(engine: docker.DockerClient) -> str:
    """What the undercloud's NIC on it is called there now."""
    container = engine.containers.get(undercloud.CONTAINER)
    address = container.attrs["NetworkSettings"]["Networks"][NETWORK]["MacAddress"]
    links = json.loads(undercloud.execute("ip", "-json", "link", "show"))
    return str(next(one["ifname"] for one in links if one["address"] == address))


def _part() -> None:
    """Have the undercloud's bridge no longer be joined to it."""
    bridge = model.ControlNetwork().bridge
    for port in undercloud.execute("ovs-vsctl", "list-ports", bridge).split():
        if port.startswith(_NICS):
            undercloud.execute("ovs-vsctl", "--if-exists", "del-port", port)


def _create(engine: docker.DockerClient) -> None:
    pool = docker.types.IPAMPool(subnet=_CIDR)
    options = {
        "com.docker.network.bridge.name": _BRIDGE,
        "com.docker.network.bridge.enable_ip_masquerade": "false",
    }
    try:
        engine.networks.create(
            NETWORK,
            driver="bridge",
            ipam=docker.types.IPAMConfig(pool_configs=[pool]),
            options=options,
        )
    except docker.errors.APIError as exc:
        raise errors.Error(
            f"the network of the undercloud's nodes {_CIDR} cannot be made: {exc.explanation}",
            hint="another network of this machine overlaps it: see 'ip route'",
        ) from exc
