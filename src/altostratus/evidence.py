"""Reads all that bears on where an instance is: from Nova, Placement, Neutron, Glance and Heat.

It changes nothing. The scheduler's own record is in the undercloud's journal alone, which is
reached where the undercloud is on this machine.
"""

import collections.abc
import dataclasses
from typing import Any

import openstack

from altostratus import (
    cloud,
    errors,
    hypervisors,
    metalproviders,
    placement,
    scheduling,
    stack,
    survey,
    undercloud,
)
from altostratus.model import Hypervisor, Instance, Overcloud
from altostratus.scheduling import Aggregate, Demand, Facts, Process, Record, Server

_JOURNAL = ("journalctl", "--unit=nova-scheduler", "--output=cat", "--no-pager", "--lines=5000")
_RUNNING = ("configuring", "configured")
_WIRES = "neutron-openvswitch-agent"
_BINDING_FAILED = "binding_failed"

Connection = openstack.connection.Connection


@dataclasses.dataclass(frozen=True, slots=True)
class Journal:
    """What the scheduler wrote; ``silence`` is why it cannot be read, if so."""

    lines: tuple[str, ...] = ()
    silence: str | None = None


def journal() -> Journal:
    """The scheduler's journal, where the undercloud is on this machine."""
    try:
        if undercloud.status() not in _RUNNING:
            return Journal(silence="its journal is out of reach: the undercloud is not here")
        return Journal(tuple(undercloud.execute(*_JOURNAL).splitlines()))
    except errors.Error as exc:
        return Journal(silence=f"its journal is out of reach: {exc.message}")


def read(
    connection: Connection, overcloud: Overcloud, instance: Instance, written: Journal
) -> Facts:
    """What bears on an instance of an overcloud in the undercloud of this connection."""
    found = _find(connection, overcloud.name, instance.name)
    deployed = survey.deployed(connection, overcloud.name).get(instance.name)
    if deployed is not None:
        instance = dataclasses.replace(instance, zone=instance.zone or deployed.zone)
    aggregates = tuple(_aggregates(connection))
    wanted = _demand(connection, instance, found)
    processes = list(_processes(connection, found))
    names = {identity: process.provider.name for identity, process in processes}
    offered = placement.candidates(connection, scheduling.query(wanted, aggregates, instance.zone))
    return Facts(
        overcloud=overcloud.name,
        instance=_as_deployed(instance, found),
        demand=wanted,
        processes=tuple(process for _, process in processes),
        aggregates=aggregates,
        candidates=frozenset(
            process.provider.name for identity, process in processes if identity in offered
        ),
        server=_server(connection, found, names) if found else None,
        record=_record(connection, found, written),
        is_deployed=deployed is not None,
    )


def _find(connection: Connection, overcloud: str, instance: str) -> Any:
    """The server of an instance, or None."""
    for server in connection.compute.servers():
        metadata = server.metadata or {}
        if (metadata.get(stack.OVERCLOUD), metadata.get(stack.INSTANCE)) == (overcloud, instance):
            return server
    return None


def _aggregates(connection: Connection) -> collections.abc.Iterator[Aggregate]:
    for one in connection.compute.aggregates():
        traits = scheduling.required_traits(one.metadata or {})
        yield Aggregate(one.uuid, one.name, traits, one.availability_zone)


def _demand(connection: Connection, instance: Instance, server: Any) -> Demand:
    """What the server's flavor and image want, or what those of the file would."""
    entry = hypervisors.entry(instance.hypervisor)
    if server is None:
        return scheduling.demand(
            instance.memory_mib,
            instance.vcpus,
            instance.disk_gib,
            hypervisors.flavor_properties(instance),
            entry.image_properties,
        )
    image = cloud.or_none(lambda: connection.image.get_image(server.image.id))
    properties = entry.image_properties
    if image is not None:
        properties = {**(image.properties or {}), "hypervisor_type": image.hypervisor_type}
    flavor = server.flavor
    return scheduling.demand(
        *(flavor.ram, flavor.vcpus, flavor.disk),
        flavor.extra_specs or {},
        properties,
        image.name if image else None,
    )


def _as_deployed(instance: Instance, server: Any) -> Instance:
    """The instance with hypervisor and size of its server, which the file may have left behind."""
    if server is None:
        return instance
    return dataclasses.replace(
        instance,
        hypervisor=Hypervisor(server.metadata[stack.HYPERVISOR]),
        memory_mib=server.flavor.ram,
        vcpus=server.flavor.vcpus,
        disk_gib=server.flavor.disk,
    )


def _processes(
    connection: Connection, server: Any
) -> collections.abc.Iterator[tuple[str, Process]]:
    """The compute processes with the ids of their resource providers: of a process with whole
    machines each of these."""
    known = {one.name: one for one in placement.providers(connection)}
    services = {one.host: one for one in connection.compute.services(binary="nova-compute")}
    types = {
        one.name: (one.hypervisor_type or "").lower()
        for one in connection.compute.hypervisors(details=True)
    }
    agents = {one.host: one for one in connection.network.agents(binary=_WIRES)}
    machines = metalproviders.read(known.values(), services, {server.id} if server else ())
    for name in sorted({*known, *services}):
        provider = known.get(name, placement.ResourceProvider("", name))
        if provider.id in machines:
            machine, types_of = machines[provider.id], types.get(name, "")
            yield (
                provider.id,
                Process(machine, machine.name, types_of, provider.traits, frozenset()),
            )
            continue
        hypervisor = _hypervisor(provider.traits, types.get(name, ""))
        node = hypervisors.node_of(name, hypervisor) if hypervisor in hypervisors.TABLE else name
        in_aggregates = placement.aggregates(connection, provider.id) if provider.id else ()
        yield (
            provider.id,
            Process(
                provider=survey.provider(hypervisor, provider, services.get(name)),
                node=node,
                hypervisor_type=types.get(name, ""),
                traits=provider.traits,
                aggregates=frozenset(in_aggregates),
                network_trouble=_network_trouble(node, agents.get(node)),
            ),
        )


def _hypervisor(traits: frozenset[str], hypervisor_type: str) -> Hypervisor:
    """Ours by its trait, or by Nova's type where the trait is lost; else Nova's word for it."""
    for name, entry in hypervisors.TABLE.items():
        if entry.trait in traits:
            return Hypervisor(name)
    for name, entry in hypervisors.TABLE.items():
        if entry.hypervisor_type == hypervisor_type:
            return Hypervisor(name)
    return Hypervisor(hypervisor_type or "unknown")


def _network_trouble(node: str, agent: Any) -> str | None:
    if agent is None:
        return f"no network agent on {node}"
    if not agent.is_admin_state_up:
        return f"the network agent of {node} is disabled"
    if not agent.is_alive:
        return f"the network agent of {node} is down, last heard of at {agent.last_heartbeat_at}"
    return None


def _server(connection: Connection, found: Any, names: collections.abc.Mapping[str, str]) -> Server:
    """The server; ``names`` are those of whole machines, among others, by their ids."""
    ports = connection.network.ports(device_id=found.id)
    fault = (found.fault or {}).get("message")
    return Server(
        id=found.id,
        name=found.name,
        status=found.status,
        host=names.get(found.hypervisor_hostname) or found.compute_host or None,
        failed_on=_failed_on(connection, found) if found.status == "ERROR" else None,
        fault=str(fault).strip() if fault else None,
        unbound=tuple(one.name for one in ports if one.binding_vif_type == _BINDING_FAILED),
    )


def _failed_on(connection: Connection, found: Any) -> str | None:
    """The compute process that failed last to do what was asked of this server.

    Nova forgets the host of a server that could not be started, but not what happened there.
    """
    for action in connection.compute.server_actions(found.id):
        told = connection.compute.get_server_action(action.request_id, found.id)
        for event in told.events or ():
            if event.result == "Error" and event.host and event.event.startswith("compute_"):
                return str(event.host)
    return None


def _record(connection: Connection, found: Any, written: Journal) -> Record:
    if found is None:
        return Record(silence="was not asked")
    if written.silence:
        return Record(silence=written.silence)
    requests = [one.request_id for one in connection.compute.server_actions(found.id)]
    return scheduling.record(written.lines, found.id, requests)
