"""Further nodes of the undercloud: compute processes alone, each node in a container of its own.

What is decided about them is in ``nodes``. The undercloud's metadata records them, so that whatever
was interrupted is carried on by doing it again.
"""

import collections.abc
import pathlib
import shutil
from typing import Any

import openstack
import openstack.exceptions

from altostratus import (
    baseline,
    cloud,
    errors,
    hypervisors,
    images,
    imagespec,
    log,
    machine,
    metadata,
    node,
    nodemetadata,
    nodes,
    outages,
    placement,
    survey,
    systemcontainer,
    trunk,
    undercloud,
)
from altostratus.hypervisors import Need, Needs
from altostratus.model import Hypervisor, Node, Share, Undercloud
from altostratus.outages import Outage

_CONTAINER = "altostratus-node-"
_ALIVE_S = 180
_BEING_REMOVED = "altostratus: its node is being removed"
_WIRES = "neutron-openvswitch-agent"
_MAP = (
    "runuser",
    "-u",
    "nova",
    "--",
    "/opt/openstack/bin/nova-manage",
    "--config-file",
    "/etc/nova/nova.conf",
    "cell_v2",
    "discover_hosts",
    "--by-service",
)

_RABBIT = ("rabbitmqctl", "-q")

Connection = openstack.connection.Connection


def add(name: str, asked: nodes.Asked) -> None:
    """Have the undercloud have a node of this name; a second run changes nothing.

    Raises :class:`errors.Error` where there is no undercloud, where a node cannot be called so, or
    where the undercloud has too little for it.
    """
    nodes.refuse_name(name)
    there = _there()
    found = nodes.find(there, name)
    used = _used(there) if found is None else {}
    there = nodes.with_all(there, {name: asked}, used, machine.size().vcpus)
    wanted = nodes.known(there, name)
    # Before anything is changed: it can fail.
    images.build(_image(wanted))
    undercloud.up(there)
    _register(wanted, _boot(there, wanted))


def up(wanted: Undercloud, asked: collections.abc.Mapping[str, nodes.Asked], least: Needs) -> None:
    """Bring up an undercloud with its nodes and with those that are asked for; a second run changes
    nothing. ``least`` is what its own shares keep in any case.

    Raises :class:`errors.Error` where it has a node otherwise, or too little for one that it has not.
    """
    new = [name for name in asked if nodes.find(wanted, name) is None]
    vcpus = machine.size().vcpus
    # What is there otherwise, or is too much of a whole machine, is said before anything is changed.
    there = nodes.with_all(wanted, asked, least, vcpus)
    for image in dict.fromkeys(map(_image, there.nodes)):
        images.build(image)
    kept = node.kept()
    if new and kept is not None:
        # It alone can say what of its shares is used. Nothing of it is changed until then.
        if undercloud.status() != "configured":
            undercloud.up(kept)
        cloud.wait_serving("undercloud", hint="./altostratus undercloud status")
        there = nodes.with_all(wanted, asked, hypervisors.most(_used(wanted), least), vcpus)
    undercloud.up(there)
    again()


def again() -> None:
    """Make what is missing of each node, for an undercloud that has just been brought up."""
    there = _there()
    booted = {one: _boot(there, one) for one in there.nodes}
    for one, digest in booted.items():
        _register(one, digest)


def _boot(there: Undercloud, wanted: Node) -> str:
    """Start a node with its metadata, whose digest is returned."""
    image = _image(wanted)
    archive = images.build(image)
    engine, box = systemcontainer.connect(), box_of(wanted.name)
    trunk.create(engine)
    tag = systemcontainer.load_image(engine, box, archive, imagespec.digest(image))
    tree = metadata.undercloud_node(there, wanted, undercloud.known_secrets())
    box.metadata.mkdir(mode=0o700, parents=True, exist_ok=True)
    systemcontainer.write_private(box.metadata / "node.json", tree)
    systemcontainer.start(engine, box, tag)
    return str(tree["altostratus"]["digest"])


def _register(wanted: Node, digest: str) -> None:
    """Follow the configuration of a node that has been started, and have the undercloud know it."""
    engine, box = systemcontainer.connect(), box_of(wanted.name)
    systemcontainer.follow_configuration(engine, box, digest)
    connection = cloud.connect("undercloud")
    _wait_alive(connection, wanted)
    undercloud.execute(*_MAP)
    baseline.node(wanted.name, wanted.shares)
    for service in _services(connection, wanted):
        if service.disabled_reason == _BEING_REMOVED:
            connection.compute.enable_service(service, service.host, service.binary)


def remove(name: str) -> None:
    """Remove a node and all that the undercloud has for it.

    Raises :class:`errors.Error` while instances are on it.
    """
    there = _there()
    found = nodes.known(there, name)
    _empty(cloud.connect("undercloud"), found)
    engine = systemcontainer.connect()
    systemcontainer.remove(engine, box_of(name))
    _forget(cloud.connect("undercloud"), found)
    trunk.leave(engine)
    undercloud.release_loop_devices()
    shutil.rmtree(_folder() / name, ignore_errors=True)
    # Its accounts, its secrets and its ways in are gone with this, and its share is given back.
    undercloud.up(nodes.removed(there, name))


def down() -> None:
    """Remove the containers of all nodes, as the undercloud goes."""
    if not machine.start_installed_engine():
        return
    engine = systemcontainer.connect()
    for container in engine.containers.list(all=True, filters={"name": f"^{_CONTAINER}"}):
        name = str(container.name).removeprefix(_CONTAINER)
        systemcontainer.remove(engine, box_of(name))
    trunk.leave(engine)


def lines() -> list[str]:
    """What each node is at, for people."""
    found = node.kept()
    if found is None or not found.nodes:
        return []
    engine = systemcontainer.connect()
    processes, down = _seen(found.nodes)
    shown = [
        f"node {one.name}: {systemcontainer.state(engine, box_of(one.name).name) or 'not there'},"
        f" {one.address}; " + ", ".join(_process(one, share, processes) for share in one.shares)
        for one in found.nodes
    ]
    return shown + [f"warning: {outages.to_text(one)}" for one in down]


def down_among(
    connection: Connection, wanted: collections.abc.Iterable[Node]
) -> collections.abc.Iterator[Outage]:
    """Those of these nodes that are down, with all servers on them."""
    for one in wanted:
        services = _services(connection, one)
        if services and all(service.state != "up" for service in services):
            since = max(str(service.updated_at or "never") for service in services)
            yield Outage(one.name, since, tuple(instances(connection, one)))


def instances(connection: Connection, found: Node) -> list[str]:
    """The servers that are on a node, or about to come."""
    hosts = nodes.hosts(found)
    providers = [placement.named(connection, host) for host in hosts]
    ids = [placement.consumers(connection, one) for one in providers if one is not None]
    expected = frozenset[str]().union(*ids)
    servers = list(connection.compute.servers(all_projects=True))
    here = {one.id: one.name for one in servers if one.compute_host in hosts or one.id in expected}
    return sorted([*here.values(), *(expected - here.keys())])


def container_of(name: str) -> str:
    """The name of the container of a node that is known; raises :class:`errors.Error` if it is not."""
    return box_of(nodes.known(_there(), name).name).name


def box_of(name: str) -> systemcontainer.Box:
    """The container that a node is in."""
    container = f"{_CONTAINER}{name}"
    return systemcontainer.Box(
        what=f"node {name}",
        name=container,
        hostname=name,
        image=f"altostratus/{imagespec.UNDERCLOUD_NODE}",
        volume=container,
        network=trunk.NETWORK,
        # Its own is on the bridge inside.
        address=None,
        metadata=_folder() / name / "local-data",
        shell=f"./altostratus undercloud shell --node {name}",
    )


def _there() -> Undercloud:
    machine.refuse_without_root()
    found = node.kept()
    if found is None or undercloud.status() is None:
        raise errors.Error("there is no undercloud here", hint="./altostratus undercloud up")
    return found


def _image(wanted: Node) -> imagespec.ImageSpec:
    return imagespec.undercloud_node_image(one.hypervisor for one in wanted.shares)


def _folder() -> pathlib.Path:
    return machine.state_dir() / "undercloud" / "nodes"


def _used(there: Undercloud) -> dict[Hypervisor, Need]:
    """What of the undercloud's own shares is used; all of those that Placement does not know."""
    providers = {one.name: one for one in survey.providers(cloud.connect("undercloud"))}
    found = {
        share: providers.get(hypervisors.compute_host(there.name, share.hypervisor))
        for share in there.shares
    }
    return {
        share.hypervisor: Need(one.others_memory_mib, one.others_disk_gib)
        if one
        else Need(share.memory_mib, share.disk_gib)
        for share, one in found.items()
    }


def _wait_alive(connection: Connection, wanted: Node) -> None:
    def alive() -> tuple[bool | None, str]:
        missing = _missing(connection, wanted)
        return (None, f"not yet: {', '.join(missing)}") if missing else (True, "")

    what = f"the registration of {wanted.name}"
    box = box_of(wanted.name)
    with log.step(f"wait for {what}") as step:
        cloud.wait(
            what,
            alive,
            _ALIVE_S,
            hint=f"{box.shell} journalctl -u 'nova-compute@*' -u {_WIRES}",
            step=step,
        )


def _missing(connection: Connection, wanted: Node) -> list[str]:
    """The hosts of a node's compute processes and of its agent that are not alive."""
    up = {one.host for one in _services(connection, wanted) if one.state == "up"}
    agents = connection.network.agents(host=wanted.name, binary=_WIRES)
    wires = {wanted.name for one in agents if one.is_alive}
    # A compute process is alive before it has registered what it has.
    processes = [
        host
        for host in nodes.hosts(wanted)
        if host not in up or placement.named(connection, host) is None
    ]
    return [*processes, *({wanted.name} - wires)]


def _services(connection: Connection, wanted: Node) -> list[Any]:
    """The compute processes of a node, as Nova has them."""
    hosts = nodes.hosts(wanted)
    found = connection.compute.services(binary="nova-compute")
    return [one for one in found if one.host in hosts]


def _empty(connection: Connection, found: Node) -> None:
    """Have no instance come to a node any more; raises :class:`errors.Error` if some are on it."""
    _refuse_with_instances(connection, found)
    disabled = [one for one in _services(connection, found) if one.status != "disabled"]
    for service in disabled:
        connection.compute.disable_service(service, service.host, service.binary, _BEING_REMOVED)
    try:
        # One may have come meanwhile.
        _refuse_with_instances(connection, found)
    except errors.Error:
        for service in disabled:
            connection.compute.enable_service(service, service.host, service.binary)
        raise


def _refuse_with_instances(connection: Connection, found: Node) -> None:
    names = instances(connection, found)
    if names:
        raise errors.Error(
            f"the node {found.name} cannot be removed, instances are on it: {', '.join(names)}",
            hint="delete them, or deploy them elsewhere; './altostratus overcloud status' says"
            " whose they are",
        )


def _forget(connection: Connection, found: Node) -> None:
    """Remove what Nova, Placement, Neutron and Keystone have of a node whose container is gone."""
    # Nova takes them from their aggregates, and their providers from Placement.
    for service in _services(connection, found):
        connection.compute.delete_service(service)
    for host in nodes.hosts(found):
        provider = placement.named(connection, host)
        if provider is not None:
            placement.remove(connection, provider)
    for agent in connection.network.agents(host=found.name):
        connection.network.delete_agent(agent)
    baseline.remove_zone(found.name)
    _remove_queues(found)
    # Any: the SDK's type is a union with version 2.
    identity: Any = connection.identity
    account = identity.find_user(nodemetadata.user(found.name))
    if account is not None:
        identity.delete_user(account)


def _remove_queues(found: Node) -> None:
    """Remove what RabbitMQ keeps of messages to a node's compute processes and agent."""
    ends = tuple(f".{host}" for host in (*nodes.hosts(found), found.name))
    for vhost in nodemetadata.VHOSTS:
        there = undercloud.execute(
            *_RABBIT, "list_queues", "-p", vhost, "--no-table-headers", "name"
        )
        for queue in there.split():
            if queue.endswith(ends):
                undercloud.execute(*_RABBIT, "delete_queue", "-p", vhost, queue)


def _seen(wanted: tuple[Node, ...]) -> tuple[dict[str, str], list[Outage]]:
    """What Nova says of each compute process, and which nodes are down; nothing where it does not
    answer."""
    try:
        connection = cloud.connect("undercloud")
        found = connection.compute.services(binary="nova-compute")
        states = {one.host: one.state if one.status == "enabled" else one.status for one in found}
        return states, list(down_among(connection, wanted))
    except (errors.Error, openstack.exceptions.SDKException) as exc:
        log.debug(f"the undercloud's compute processes: {exc}")
        return {}, []


def _process(found: Node, share: Share, states: collections.abc.Mapping[str, str]) -> str:
    host = hypervisors.compute_host(found.name, share.hypervisor)
    return f"{share.hypervisor} {states.get(host, 'unknown')}"
