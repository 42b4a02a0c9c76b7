"""An overcloud's compute nodes: looked at, closed to machines, emptied of them, and opened again."""

import collections.abc
from typing import Any

import keystoneauth1.exceptions
import openstack
import openstack.exceptions

from altostratus import administrator, cloud, departures, errors, log, placement
from altostratus.departures import Machine, Node, Size
from altostratus.services import COMPUTE

# Why a node is disabled by this program: by it, an interrupted run's is known.
CLOSED = "altostratus: its instance changes"
# What the element nova-compute has Placement say of its nodes.
ABLE = "CUSTOM_ALTOSTRATUS_LIVE_MIGRATION"
# Networks that every compute node is on; others are tunnels, which end at their node.
_EVERYWHERE = ("flat", "vlan")
_FAILED = ("error", "failed", "cancelled")
_MIB = 2**20
# Nova gives up a machine that does not get across in 800 s for each GiB.
_PER_GIB_S = 900
_PREPARE_S = 300
_HEARD_S = 180

Connection = openstack.connection.Connection
_Look = collections.abc.Callable[[], tuple[bool | None, str]]


def read(overcloud: Connection) -> dict[str, Node]:
    """The compute nodes by the names of their instances, with the machines that run there."""
    shares = {one.id: one for one in placement.providers(overcloud)}
    processes = {one.host: one for one in overcloud.compute.services(binary=COMPUTE)}
    machines = _machines(overcloud)
    found = {}
    for hypervisor in overcloud.compute.hypervisors(details=True):
        host = hypervisor.service_details["host"]
        share, process = shares.get(hypervisor.id), processes.get(host)
        if share is None or process is None:
            continue
        is_closed = process.status == "disabled" and process.disabled_reason != CLOSED
        found[host] = Node(
            name=host,
            free=Size(
                share.memory_mib - share.used_memory_mib,
                share.disk_gib - share.used_disk_gib,
                share.vcpus - share.used_vcpus,
            ),
            machines=machines.get(host, ()),
            is_up=process.state == "up",
            closed=(process.disabled_reason or "") if is_closed else None,
            is_able=ABLE in share.traits,
        )
    return found


def close(overcloud: Connection, name: str) -> bool:
    """Have a node take no machines; returns whether it is this program's to open it again."""
    process = _process(overcloud, name)
    if process.status != "disabled":
        overcloud.compute.disable_service(process, disabled_reason=CLOSED)
        return True
    return bool(process.disabled_reason == CLOSED)


def open_again(overcloud: Connection, name: str) -> None:
    """Have a node take machines again that :func:`close` has closed."""
    if name in closed(overcloud):
        overcloud.compute.enable_service(_process(overcloud, name))


def closed(overcloud: Connection) -> tuple[str, ...]:
    """The nodes that :func:`close` has closed."""
    return tuple(
        str(process.host)
        for process in overcloud.compute.services(binary=COMPUTE)
        if process.status == "disabled" and process.disabled_reason == CLOSED
    )


def move(overcloud: Connection, machine: Machine, source: str, step: log.Step) -> None:
    """Have Nova move a machine that runs to another node, and wait until it is there.

    Raises :class:`errors.NotMoved` if it does not get there.
    """
    known = _asked(overcloud, machine, source)

    def arrived() -> tuple[bool | None, str]:
        server = cloud.or_none(lambda: overcloud.compute.get_server(machine.id))
        # Its user may have stopped or deleted it meanwhile.
        if server is None or not administrator.runs(server):
            return True, ""
        made = _migrations(overcloud, machine.id)
        latest = next((one for one in made if one.uuid not in known), None)
        status = "asked for" if latest is None else str(latest.status)
        if server.status == "ERROR" or (status in _FAILED and server.task_state is None):
            raise _not_moved(machine, source, _reason(overcloud, machine))
        # Until it is completed the node that it has left clears up what it had of it.
        is_done = server.compute_host != source and status == "completed"
        return is_done or None, _progress(overcloud, machine, status)

    gib = machine.size.memory_mib / 1024 + machine.size.disk_gib
    hint = f"openstack --os-cloud overcloud server migration list --server {machine.id}"
    timeout_s = _PREPARE_S + _PER_GIB_S * gib
    try:
        cloud.wait(f"moving {machine.name}", _patient(arrived), timeout_s, hint=hint, step=step)
    except errors.NotMoved:
        raise
    except errors.Error as exc:
        raise errors.NotMoved(exc.message, exc.hint) from exc


def wait_heard(overcloud: Connection, name: str) -> None:
    """Wait until a node's compute process, which started anew, is heard of again.

    What Nova last knew of it looks alive for a minute more: only another word of it counts.
    """
    before = _process(overcloud, name).updated_at

    def heard() -> tuple[bool | None, str]:
        process = _process(overcloud, name)
        is_new = process.updated_at != before and process.state == "up"
        return is_new or None, f"{process.state}, last heard of at {process.updated_at}"

    with log.step("wait for its compute process", name) as step:
        cloud.wait(f"the compute process of {name}", _patient(heard), _HEARD_S, step=step)


def _asked(overcloud: Connection, machine: Machine, source: str) -> collections.abc.Set[str]:
    """Ask Nova to move a machine that is not on its way; the ids of the times before."""
    if machine.status == departures.MIGRATING:
        return frozenset()
    known = {str(one.uuid) for one in _migrations(overcloud, machine.id)}
    try:
        overcloud.compute.live_migrate_server(machine.id)
    except openstack.exceptions.HttpException as exc:
        raise _not_moved(machine, source, str(exc)) from exc
    return known


def _patient(look: _Look) -> _Look:
    """Look again where no answer came: nodes that copy machines may be slow to give one."""

    def patient() -> tuple[bool | None, str]:
        try:
            return look()
        except keystoneauth1.exceptions.ConnectFailure as exc:
            log.debug(f"the overcloud's Nova: {exc}")
            return None, "the overcloud's Nova does not answer"

    return patient


def _process(overcloud: Connection, name: str) -> Any:
    found = next(iter(overcloud.compute.services(binary=COMPUTE, host=name)), None)
    if found is None:
        raise errors.Error(f"the overcloud's Nova knows no compute process of {name}")
    return found


def _machines(overcloud: Connection) -> dict[str, tuple[Machine, ...]]:
    apart = _apart(overcloud)
    found: dict[str, tuple[Machine, ...]] = {}
    for server in overcloud.compute.servers(all_projects=True):
        if administrator.runs(server):
            machine = Machine(
                id=server.id,
                name=server.name,
                status=server.status,
                size=_size(server.flavor),
                apart=tuple(sorted(apart.get(server.id, ()))),
                target=_target(overcloud, server),
            )
            found[server.compute_host] = (*found.get(server.compute_host, ()), machine)
    return found


def _target(overcloud: Connection, server: Any) -> str:
    """Where a machine is on its way to, if Nova has decided on it."""
    if server.status != departures.MIGRATING:
        return ""
    latest = next(iter(_migrations(overcloud, server.id)), None)
    return str(latest.dest_compute or "") if latest is not None else ""


def _apart(overcloud: Connection) -> dict[str, set[str]]:
    """The networks of each machine that it would lose on another node, by its id."""
    network: Any = overcloud.network
    tunnels = {
        one.id: one.name
        for one in network.networks()
        if one.provider_network_type not in _EVERYWHERE
    }
    found: dict[str, set[str]] = {}
    for port in network.ports():
        if port.network_id in tunnels and port.device_id:
            found.setdefault(port.device_id, set()).add(tunnels[port.network_id])
    return found


def _size(flavor: Any) -> Size:
    disk_gib = (flavor.disk or 0) + (flavor.ephemeral or 0) + -(-(flavor.swap or 0) // 1024)
    return Size(flavor.ram or 0, disk_gib, flavor.vcpus or 0)


def _migrations(overcloud: Connection, machine: str) -> list[Any]:
    """The times that the machine of an id was moved, the last one first."""
    found = overcloud.compute.migrations(server_id=machine, migration_type="live-migration")
    return sorted(found, key=lambda one: str(one.created_at), reverse=True)


def _progress(overcloud: Connection, machine: Machine, status: str) -> str:
    left = 0
    for one in overcloud.compute.server_migrations(machine.id):
        left += (one.memory_remaining_bytes or 0) + (one.disk_remaining_bytes or 0)
    return f"{status}, {left // _MIB} MiB are left"


def _reason(overcloud: Connection, machine: Machine) -> str:
    """Why Nova has not moved a machine, as far as it says."""
    actions: Any = overcloud.compute.server_actions(machine.id)
    for action in actions:
        if action.action == "live-migration":
            found: Any = overcloud.compute.get_server_action(action.request_id, machine.id)
            said = [one.details for one in found.events or () if one.details]
            if said:
                return str(said[0])
            break
    return "Nova does not say why; the journal of nova-compute in both instances does"


def _not_moved(machine: Machine, source: str, reason: str) -> errors.NotMoved:
    return errors.NotMoved(
        f"the machine {machine.name} ({machine.id}) does not move away from {source}: {reason}",
        hint=f"stop or delete it, or let it stop while {source} changes: --stop-machines {source}",
    )
