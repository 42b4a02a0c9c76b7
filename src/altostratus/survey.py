"""Looks at the undercloud, at the overcloud and at this machine; reads and changes nothing."""

import collections.abc
import concurrent.futures
import dataclasses
import ipaddress
import json
import socket
from typing import Any

import openstack
import openstack.exceptions

from altostratus import (
    administrator,
    certificates,
    credentials,
    drift,
    errors,
    history,
    hypervisors,
    images,
    imagespec,
    log,
    metalproviders,
    observed,
    placement,
    plan,
    releases,
    rollout,
    run,
    stack,
)
from altostratus.model import CONTROL, Hypervisor, Overcloud

OWNER = "altostratus"
IMAGE_OWNER = "altostratus:owner"
IMAGE_DIGEST = "altostratus:digest"
_NETWORK_OWNER = f"{OWNER}:overcloud="
_SSH_PORT = 22
_ANSWER_S = 3.0
_AT_ONCE = 16

Connection = openstack.connection.Connection


@dataclasses.dataclass(frozen=True, slots=True)
class Survey:
    """What was observed, and the secrets that the stack keeps."""

    observed: observed.Observed
    secrets: dict[str, str]


def read(undercloud: Connection, overcloud: Overcloud, *, inside: bool = True) -> Survey:
    """Observe everything that matters to one overcloud, and ``inside`` its instances what differs."""
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        # Most of the time is spent waiting for answers: what needs no other is asked at once.
        asked_stack = pool.submit(find_stack, undercloud, overcloud.name)
        asked_servers = pool.submit(lambda: list(_own_servers(undercloud, overcloud.name)))
        control = pool.submit(_control, undercloud)
        loaded = pool.submit(glance_images, undercloud)
        found_networks = pool.submit(lambda: tuple(networks(undercloud)))
        shapes = pool.submit(lambda: frozenset(one.name for one in flavors(undercloud)))
        pair = pool.submit(undercloud.compute.find_keypair, stack.keypair(overcloud.name))
        cached = pool.submit(_built, overcloud)
        found = asked_stack.result()
        secrets: dict[str, str] = _outputs(found).get(stack.OUTPUT_SECRETS) or {} if found else {}
        log.hide(secrets.values())
        described = _stack(found) if found else None
        known = described.instances if described else {}
        said = pool.submit(administrator.read, known, secrets)
        servers = asked_servers.result()
        shares = pool.submit(providers, undercloud, servers)
        entry = credentials.read("overcloud")
        seen = observed.Observed(
            control=control.result(),
            stack=described,
            servers=_servers(overcloud.name, servers, known, loaded.result(), inside=inside),
            images=loaded.result(),
            built=cached.result(),
            networks=found_networks.result(),
            flavors=shapes.result(),
            has_keypair=pair.result() is not None,
            providers=shares.result(),
            machine_networks=machine_networks(),
            endpoints=said.result().endpoints,
            machines=said.result().machines,
            credentials=_credentials_digest(entry) if entry else None,
            certificates=certificates.described(secrets),
            authority=credentials.trusted(credentials.read("undercloud") or {}) or "",
        )
    return Survey(seen, secrets)


def _built(overcloud: Overcloud) -> frozenset[str]:
    """The digests of the overcloud's images that are in the cache."""
    specs = image_specs(overcloud).values()
    return frozenset(imagespec.digest(one) for one in specs if images.path(one).exists())


def find_stack(undercloud: Connection, name: str) -> Any:
    """The stack of this name with its outputs, or None."""
    return undercloud.orchestration.find_stack(name, ignore_missing=True)


def public_urls(undercloud: Connection, name: str) -> dict[str, str]:
    """Where users reach the services of a deployed overcloud."""
    return observed.public_urls(deployed(undercloud, name))


def deployed(undercloud: Connection, name: str) -> dict[str, observed.Deployed]:
    """The instances of an overcloud as its stack was last told to make them."""
    found = find_stack(undercloud, name)
    about = _outputs(found).get(stack.OUTPUT) if found else None
    return _deployed(about) if about else {}


def deployments(undercloud: Connection, name: str) -> tuple[history.Entry, ...]:
    """The history of an overcloud that is there; it is empty where there is none."""
    found = find_stack(undercloud, name)
    return history.parse(_outputs(found).get(stack.OUTPUT_HISTORY)) if found else ()


def ids_and_deployments(
    undercloud: Connection, name: str
) -> tuple[stack.Ids, tuple[history.Entry, ...]]:
    """What Heat is asked for a stack with: the ids of images and networks, and the history so far."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        loaded = pool.submit(glance_images, undercloud)
        found = pool.submit(network_ids, undercloud, name)
        entries = pool.submit(deployments, undercloud, name)
        return stack.Ids(loaded.result(), found.result()), entries.result()


def kept_for_rollback(undercloud: Connection) -> frozenset[str]:
    """The digests of the images that a rollback of some overcloud would go back to."""
    names = [str(one.name) for one in undercloud.orchestration.stacks()]
    found = (rollout.kept_for_rollback(deployments(undercloud, name)) for name in names)
    return frozenset[str]().union(*found)


def image_specs(overcloud: Overcloud) -> dict[str, imagespec.ImageSpec]:
    """The image of each instance."""
    return {
        found.name: imagespec.wanted(found.services, found.hypervisor, release=overcloud.release)
        for found in overcloud.instances
    }


def network_owner(overcloud: str) -> str:
    """What the description of an overcloud's networks says."""
    return f"{_NETWORK_OWNER}{overcloud}"


def glance_images(undercloud: Connection) -> dict[str, str]:
    """The ids of our complete images in Glance, by digest."""
    return {
        image.properties[IMAGE_DIGEST]: image.id
        for image in undercloud.image.images(status="active")
        if (image.properties or {}).get(IMAGE_OWNER) == OWNER and IMAGE_DIGEST in image.properties
    }


def flavors(undercloud: Connection) -> collections.abc.Iterator[Any]:
    """All flavors, those included that only some projects may use."""
    yield from undercloud.compute.flavors(is_public="None")


def answers(address: str, port: int = _SSH_PORT, timeout_s: float = _ANSWER_S) -> bool:
    """Whether something listens there."""
    try:
        with socket.create_connection((address, port), timeout_s):
            return True
    except OSError:
        return False


def _outputs(found: Any) -> dict[str, Any]:
    return {one["output_key"]: one.get("output_value") for one in found.outputs or ()}


def _stack(found: Any) -> observed.Stack:
    about = _outputs(found).get(stack.OUTPUT)
    if about is None:
        if not found.status.endswith("_IN_PROGRESS"):
            raise errors.Error(
                f"the undercloud's stack {found.name!r} is not one of Altostratus",
                hint="give the overcloud another name",
            )
        about = {"digest": "", "instances": {}}
    reason = found.status_reason or ""
    return observed.Stack(found.id, found.status, reason, about["digest"], _deployed(about))


def _deployed(about: dict[str, Any]) -> dict[str, observed.Deployed]:
    return {
        name: observed.Deployed(
            hypervisor=Hypervisor(one["hypervisor"]),
            services=tuple(one["services"]),
            addresses=one["addresses"],
            flavor=one["flavor"],
            state_gib=one["state_gib"],
            image=one["image"],
            digest=one["digest"],
            # There was one only before it was kept.
            release=one.get("release", releases.LATEST),
            zone=one.get("zone"),
        )
        for name, one in about["instances"].items()
    }


def _own_servers(undercloud: Connection, overcloud: str) -> collections.abc.Iterator[Any]:
    for server in undercloud.compute.servers():
        if (server.metadata or {}).get(stack.OVERCLOUD) == overcloud:
            yield server


def _servers(
    overcloud: str,
    servers: list[Any],
    deployed: collections.abc.Mapping[str, observed.Deployed],
    images_by_digest: collections.abc.Mapping[str, str],
    *,
    inside: bool,
) -> tuple[observed.Server, ...]:
    """The servers, each asked at its control address: Nova learns late of a dead container."""
    digests = {image: digest for digest, image in images_by_digest.items()}

    def look(server: Any) -> observed.Server:
        name = server.metadata[stack.INSTANCE]
        known = deployed.get(name)
        alive = server.status == "ACTIVE" and (known is None or answers(known.addresses[CONTROL]))
        differs: tuple[str, ...] = ()
        if inside and alive and known:
            differs = drift.read(overcloud, server.id, known.addresses[CONTROL])
        return observed.Server(
            name,
            server.id,
            "ERROR" if server.vm_state == "error" else server.status,
            alive,
            bool(server.launched_at),
            differs,
            digests.get(server.image.id) if server.image else None,
            server.compute_host or None,
        )

    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        return tuple(sorted(pool.map(look, servers), key=lambda found: found.instance))


def networks(undercloud: Connection) -> collections.abc.Iterator[observed.NeutronNetwork]:
    """The undercloud's networks, those of overclouds included."""
    cidrs: dict[str, list[ipaddress.IPv4Network]] = {}
    for subnet in undercloud.network.subnets(ip_version=4):
        cidrs.setdefault(subnet.network_id, []).append(ipaddress.IPv4Network(subnet.cidr))
    for network in undercloud.network.networks():
        text = network.description or ""
        is_ours = text.startswith(_NETWORK_OWNER)
        yield observed.NeutronNetwork(
            name=network.name,
            vlan=network.provider_segmentation_id,
            cidrs=tuple(sorted(cidrs.get(network.id, []))),
            owner=text.removeprefix(_NETWORK_OWNER) if is_ours else None,
            physical_network=network.provider_physical_network,
        )


def network_ids(undercloud: Connection, overcloud: str) -> dict[str, str]:
    """Neutron's ids of the networks that an overcloud's instances may be on, by their names there."""
    found = {one.name: one.id for one in undercloud.network.networks()}
    return {
        name.removeprefix(stack.network(overcloud, "")): identity
        for name, identity in found.items()
    }


def _control(undercloud: Connection) -> observed.Control:
    network = undercloud.network.find_network(CONTROL)
    subnets = list(undercloud.network.subnets(network_id=network.id)) if network else []
    if network is None or not subnets:
        raise errors.Error(
            f"the undercloud has no network {CONTROL!r}", hint="./altostratus undercloud up"
        )
    (pool,) = subnets[0].allocation_pools
    used = {
        fixed["ip_address"]
        for port in undercloud.network.ports(network_id=network.id)
        for fixed in port.fixed_ips
    }
    return observed.Control(
        cidr=ipaddress.IPv4Network(subnets[0].cidr),
        pool_start=ipaddress.IPv4Address(pool["start"]),
        pool_end=ipaddress.IPv4Address(pool["end"]),
        used=frozenset(used),
        gateway=ipaddress.IPv4Address(subnets[0].gateway_ip),
    )


def providers(
    undercloud: Connection, own_servers: collections.abc.Iterable[Any] = ()
) -> tuple[observed.Provider, ...]:
    """The compute processes of our hypervisors; what these servers use is not others'."""
    own: dict[str, list[tuple[int, int]]] = {}
    ids = set()
    for server in own_servers:
        own.setdefault(server.compute_host or "", []).append(_shape(server))
        ids.add(server.id)
    by_trait = {hypervisors.entry(name).trait: Hypervisor(name) for name in hypervisors.names()}
    processes = {one.host: one for one in undercloud.compute.services(binary="nova-compute")}
    offered = tuple(placement.providers(undercloud))
    shares = (
        provider(by_trait[trait], found, processes.get(found.name), own.get(found.name, ()))
        for found in offered
        if not metalproviders.is_machine(found)
        for trait in sorted(found.traits & by_trait.keys())
    )
    return (*shares, *metalproviders.read(offered, processes, ids).values())


def provider(
    hypervisor: Hypervisor,
    found: placement.ResourceProvider,
    process: Any,
    ours: collections.abc.Iterable[tuple[int, int]] = (),
) -> observed.Provider:
    """A compute process as Nova and Placement have it; ``ours`` are memory and disk of servers."""
    shapes = list(ours)
    return observed.Provider(
        name=found.name,
        hypervisor=hypervisor,
        memory_mib=found.memory_mib,
        disk_gib=found.disk_gib,
        others_memory_mib=max(found.used_memory_mib - sum(memory for memory, _ in shapes), 0),
        others_disk_gib=max(found.used_disk_gib - sum(disk for _, disk in shapes), 0),
        trouble=_trouble(process),
        is_disabled=process is not None and process.status == "disabled",
        zone=str(process.availability_zone or "") if process is not None else "",
        silent_since=_silent_since(process),
    )


def _trouble(process: Any) -> str | None:
    """Why a compute process takes no instances, or None if it does."""
    if process is None:
        return "its compute process is not there"
    if process.status == "disabled":
        return f"its compute process is disabled: {process.disabled_reason or 'no reason is given'}"
    if process.state != "up":
        return f"its compute process is {process.state}, last heard of at {process.updated_at}"
    return None


def _silent_since(process: Any) -> str | None:
    if process is None or process.state == "up":
        return None
    return str(process.updated_at or "never")


def _shape(server: Any) -> tuple[int, int]:
    return int(server.flavor.get("ram") or 0), int(server.flavor.get("disk") or 0)


def machine_networks() -> tuple[observed.MachineNetwork, ...]:
    """The networks that this machine reaches other than by its default route."""
    routes = json.loads(run.run(["ip", "-json", "-4", "route", "show"]).stdout or "[]")
    return tuple(
        observed.MachineNetwork(
            ipaddress.IPv4Network(route["dst"], strict=False), route.get("dev", "?")
        )
        for route in routes
        if route["dst"] != "default"
    )


def _credentials_digest(entry: dict[str, Any]) -> str:
    auth = entry["auth"]
    authority = credentials.trusted(entry)
    return plan.credentials_digest(auth.get("auth_url", ""), auth.get("password", ""), authority)
