"""What an undercloud has before any overcloud: the hypervisors' aggregates, the control network."""

from altostratus import cloud, hypervisors, model

METADATA_CIDR = "169.254.169.254/32"
# Neutron's DHCP agent takes a port with this device rather than make one (neutron-lib).
RESERVED_DHCP_PORT = "reserved_dhcp_port"


def make(undercloud: model.Undercloud) -> None:
    """Make what is missing of it."""
    _aggregates(undercloud)
    _control_network(undercloud)


def _aggregates(undercloud: model.Undercloud) -> None:
    """One aggregate per hypervisor, whose trait an image must ask for to be placed there."""
    compute = cloud.connect("undercloud").compute
    aggregates = {found.name: found for found in compute.aggregates()}
    for share in undercloud.shares:
        entry = hypervisors.entry(share.hypervisor)
        host = f"{undercloud.name}-{share.hypervisor}"
        name = f"hypervisor-{share.hypervisor}"
        aggregate = aggregates.get(name) or compute.create_aggregate(name=name)
        wanted = {f"trait:{entry.trait}": "required"}
        if not wanted.items() <= (aggregate.metadata or {}).items():
            compute.set_aggregate_metadata(aggregate, wanted)
        if host not in (aggregate.hosts or []):
            compute.add_host_to_aggregate(aggregate, host)


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
        enable_dhcp=False,
    )
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
