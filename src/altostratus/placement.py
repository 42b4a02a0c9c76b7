"""Placement: what compute processes have and what of it is used, and where it would place."""

import collections.abc
import dataclasses
from typing import Any

import openstack
import openstack.exceptions
import requests

_VERSION = "1.39"

Connection = openstack.connection.Connection


@dataclasses.dataclass(frozen=True, slots=True)
class ResourceProvider:
    """A compute process's share of a node, what all use of it, and its traits."""

    id: str
    name: str
    memory_mib: int = 0
    disk_gib: int = 0
    used_memory_mib: int = 0
    used_disk_gib: int = 0
    vcpus: int = 0
    used_vcpus: int = 0
    traits: frozenset[str] = frozenset()


def providers(undercloud: Connection) -> collections.abc.Iterator[ResourceProvider]:
    """All resource providers."""
    for one in _get(undercloud, "/resource_providers")["resource_providers"]:
        path = f"/resource_providers/{one['uuid']}"
        inventory = _get(undercloud, f"{path}/inventories")["inventories"]
        usages = _get(undercloud, f"{path}/usages")["usages"]
        yield ResourceProvider(
            id=one["uuid"],
            name=one["name"],
            memory_mib=_usable(inventory, "MEMORY_MB"),
            disk_gib=_usable(inventory, "DISK_GB"),
            used_memory_mib=usages.get("MEMORY_MB", 0),
            used_disk_gib=usages.get("DISK_GB", 0),
            vcpus=_usable(inventory, "VCPU"),
            used_vcpus=usages.get("VCPU", 0),
            traits=frozenset(_get(undercloud, f"{path}/traits")["traits"]),
        )


def aggregates(undercloud: Connection, provider: str) -> frozenset[str]:
    """The ids of the aggregates that a provider is in."""
    return frozenset(_get(undercloud, f"/resource_providers/{provider}/aggregates")["aggregates"])


def named(undercloud: Connection, name: str) -> str | None:
    """The id of the provider of this name, if there is one."""
    found = _get(undercloud, "/resource_providers", [("name", name)])["resource_providers"]
    return str(found[0]["uuid"]) if found else None


def consumers(undercloud: Connection, provider: str) -> frozenset[str]:
    """The ids of the servers that have something of a provider, or are to have it."""
    return frozenset(_get(undercloud, f"/resource_providers/{provider}/allocations")["allocations"])


def remove(undercloud: Connection, provider: str) -> None:
    """Remove a provider that is still there."""
    path = f"/resource_providers/{provider}"
    response = undercloud.placement.delete(path, microversion=_VERSION)
    if response.status_code != requests.codes.not_found:
        openstack.exceptions.raise_from_response(response)


def free(undercloud: Connection, provider: str, resource: str) -> int | None:
    """How much of a resource a provider has that is not used; None if it has none of that at all."""
    path = f"/resource_providers/{provider}"
    response = undercloud.placement.get(f"{path}/inventories", microversion=_VERSION)
    if response.status_code == requests.codes.not_found:
        return None
    openstack.exceptions.raise_from_response(response)
    inventory = response.json()["inventories"]
    if resource not in inventory:
        return None
    used = _get(undercloud, f"{path}/usages")["usages"].get(resource, 0)
    return _usable(inventory, resource) - int(used)


def candidates(undercloud: Connection, query: list[tuple[str, str]]) -> frozenset[str]:
    """The ids of the providers that Placement offers for a query."""
    found = _get(undercloud, "/allocation_candidates", query)["allocation_requests"]
    return frozenset(provider for one in found for provider in one["allocations"])


def restore_allocation(
    undercloud: Connection, server: Any, resources: collections.abc.Mapping[str, int]
) -> None:
    """Have Placement count a server again, if it does not, on the compute process where it is.

    Nova forgets the allocation of a server whose rebuild has failed, and leaves the server there.
    """
    path = f"/allocations/{server.id}"
    if _get(undercloud, path)["allocations"]:
        return
    query = [("name", server.compute_host)]
    (provider,) = _get(undercloud, "/resource_providers", query)["resource_providers"]
    content = {
        "allocations": {provider["uuid"]: {"resources": dict(resources)}},
        "project_id": server.project_id,
        "user_id": server.user_id,
        "consumer_generation": None,
        "consumer_type": "INSTANCE",
    }
    response = undercloud.placement.put(path, json=content, microversion=_VERSION)
    openstack.exceptions.raise_from_response(response)


def _get(undercloud: Connection, path: str, query: list[tuple[str, str]] | None = None) -> Any:
    response = undercloud.placement.get(path, params=query, microversion=_VERSION)
    openstack.exceptions.raise_from_response(response)
    return response.json()


def _usable(inventory: dict[str, Any], name: str) -> int:
    one = inventory.get(name)
    return int((one["total"] - one["reserved"]) * one["allocation_ratio"]) if one else 0
