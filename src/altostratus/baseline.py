"""What an undercloud has before any overcloud: aggregates, zones, the control network."""

import collections.abc
from typing import Any

import openstack.exceptions

from altostratus import cloud, hypervisors, log, model

METADATA_CIDR = "169.254.169.254/32"
# Neutron's DHCP agent takes a port with this device rather than make one (neutron-lib).
RESERVED_DHCP_PORT = "reserved_dhcp_port"


def make(undercloud: model.Undercloud) -> None:
    """Make what is missing of it."""
    node(undercloud.name, undercloud.shares)
    _control_network(undercloud)


def node(name: str, shares: collections.abc.Iterable[model.Share]) -> None:
    """Place the compute hosts of a node: per hypervisor one aggregate, whose trait an image must
    ask for to be placed there, and per node one availability zone."""
    compute = cloud.connect("undercloud").compute
    there = {found.name: found for found in compute.aggregates()}
    hosts = []
    for share in shares:
        host = hypervisors.compute_host(name, share.hypervisor)
        wanted = {f"trait:{hypervisors.entry(share.hypervisor).trait}": "required"}
        _aggregate(compute, there, f"hypervisor-{share.hypervisor}", wanted, (host,))
        hosts.append(host)
    _aggregate(compute, there, name, {"availability_zone": name}, hosts)


def remove_zone(name: str) -> None:
    """Remove the availability zone of a node that has no hosts any more."""
    compute = cloud.connect("undercloud").compute
    for found in compute.aggregates():
        if found.name == name:
            compute.delete_aggregate(found)


def _aggregate(
    compute: Any,
    there: collections.abc.Mapping[str, Any],
    name: str,
    metadata: dict[str, str],
    hosts: collections.abc.Iterable[str],
) -> None:
    """Have an aggregate with these properties, and these hosts among its own."""
    found = there.get(name) or compute.create_aggregate(name=name)
    if not metadata.items() <= (found.metadata or {}).items():
        compute.set_aggregate_metadata(found, metadata)
    for host in hosts:
        if host in (found.hosts or []):
            continue
        try:
            compute.add_host_to_aggregate(found, host)
        except openstack.exceptions.ConflictException as exc:
            # Nova moves no instance to another zone, and has those that were there before ours.
            log.info(f"{host} does not come into {name}: {exc.details or exc}")


def _control_network(undercloud: model.Undercloud) -> None:
    """The flat network; its DHCP port has an address of its own, for a route to the metadata API.

    Instances have their addresses from the config drive, so they hear of no route by DHCP.
    """
    network = cloud.connect("undercloud").network
    control = undercloud.control
    found = network.find_network("control") or network.create_network(
        name="control",
        provider_network_type="flat",
        provider_physical_network="control",
    )
    subnet = network.find_subnet("control") or network.create_subnet(
        name="control",
        network_id=found.id,
        ip_version=4,
        cidr=str(control.cidr),
        gateway_ip=str(control.address),
        allocation_pools=[{"start": str(control.pool_start), "end": str(control.pool_end)}],
        host_routes=[{"destination": METADATA_CIDR, "nexthop": str(control.dhcp_address)}],
        dns_nameservers=list(undercloud.site.dns),
        enable_dhcp=False,
    )
    if list(subnet.dns_nameservers or ()) != list(undercloud.site.dns):
        network.update_subnet(subnet, dns_nameservers=list(undercloud.site.dns))
    if subnet.is_dhcp_enabled:
        return
    if not list(network.ports(network_id=found.id, device_id=RESERVED_DHCP_PORT)):
        network.create_port(
            network_id=found.id,
            device_owner="network:dhcp",
            device_id=RESERVED_DHCP_PORT,
            fixed_ips=[{"subnet_id": subnet.id, "ip_address": str(control.dhcp_address)}],
        )
    network.update_subnet(subnet, enable_dhcp=True)
