"""The state disks of an overcloud's servers, which the drivers keep until they are told otherwise."""

from typing import Any

import openstack

from altostratus import cloud, stack

_SERVER_S = 180

Connection = openstack.connection.Connection


def release(undercloud: Connection, overcloud: str) -> None:
    """Have the drivers remove the state disks together with the servers."""
    for server in undercloud.compute.servers():
        if (server.metadata or {}).get(stack.OVERCLOUD) == overcloud:
            release_one(undercloud, _built(undercloud, server.id))


def release_one(undercloud: Connection, server: Any) -> None:
    """Have the driver remove a state disk together with its server.

    It is told twice: of a server that is deleted while its node is down Nova has no metadata when the
    node comes back, and still has the description.
    """
    if server.status == "ERROR":
        # Nova changes the metadata of no such server. One without a host has no disk.
        if not server.compute_host:
            return
        undercloud.compute.reset_server_state(server, "active")
    undercloud.compute.set_server_metadata(server, **{stack.STATE_RELEASE: "true"})
    disk = server.metadata.get(stack.STATE_DISK)
    if disk:
        undercloud.compute.update_server(server, description=f"{stack.STATE_RELEASE}={disk}")


def _built(undercloud: Connection, identity: str) -> Any:
    """A server when Nova has built it, or failed to: until then it changes no metadata."""

    def look() -> tuple[Any, str]:
        found = undercloud.compute.get_server(identity)
        return (None if found.status == "BUILD" else found), "it is being built"

    return cloud.wait(f"the server {identity}", look, _SERVER_S)
