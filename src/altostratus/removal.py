"""Takes overclouds down: everything of one that is in the undercloud, and what leads there."""

import openstack

from altostratus import (
    cloud,
    credentials,
    heat,
    keypair,
    lock,
    log,
    networks,
    reach,
    statedisks,
    survey,
)


def delete(overcloud: str) -> bool:
    """Remove an overcloud with its state; returns whether there was anything of it."""
    undercloud = cloud.connect("undercloud")
    with lock.held(undercloud, overcloud):
        return _delete(undercloud, overcloud)


def _delete(undercloud: openstack.connection.Connection, overcloud: str) -> bool:
    found = heat.find(undercloud, overcloud)
    if found is not None:
        statedisks.release(undercloud, overcloud)
        with log.step(f"delete stack {overcloud}") as step:
            heat.delete(undercloud, found, step)
    for network in survey.networks(undercloud):
        if network.owner == overcloud and network.vlan is not None:
            reach.close(network.vlan, network.cidrs)
    removed = networks.delete(undercloud, overcloud)
    _delete_flavors(undercloud)
    has_key = keypair.delete(undercloud, overcloud)
    had_credentials = _remove_credentials(undercloud)
    return bool(found or removed or has_key or had_credentials)


def _remove_credentials(undercloud: openstack.connection.Connection) -> bool:
    """Remove the entry of overclouds unless it is that of one which is there."""
    entry = credentials.read("overcloud")
    urls = {
        survey.public_urls(undercloud, one.name).get("keystone")
        for one in undercloud.orchestration.stacks()
    }
    if entry is None or entry["auth"].get("auth_url") in urls:
        return False
    return credentials.remove("overcloud")


def _delete_flavors(undercloud: openstack.connection.Connection) -> None:
    """Remove our flavors that no server has."""
    used = {server.flavor.get("original_name") for server in undercloud.compute.servers()}
    for flavor in survey.flavors(undercloud):
        if flavor.name.startswith("altostratus-") and flavor.name not in used:
            undercloud.compute.delete_flavor(flavor, ignore_missing=True)
