"""The undercloud instance on this machine: a system container with systemd, booted from the undercloud image.

The container's configuration is metadata that os-collect-config reads inside it
(``metadata.undercloud``); what is here boots the container, follows its
configuration, and has ``baseline`` make what no service configures by itself.
"""

import collections.abc
import datetime
import ipaddress
import json
import os
import pathlib
import re
import shutil
import sys
from typing import Any

import docker
import docker.errors
import docker.models.containers
import docker.types

from altostratus import (
    baseline,
    certificates,
    cloud,
    credentials,
    errors,
    images,
    imagespec,
    machine,
    metadata,
    model,
    run,
    sections,
    survey,
    systemcontainer,
)

CONTAINER = "altostratus-undercloud"
NETWORK = "altostratus"
BRIDGE = model.MACHINE_BRIDGE
VOLUME = "altostratus-undercloud"
IMAGE = "altostratus/undercloud"
MANAGEMENT_CIDR = model.MANAGEMENT_CIDR
MANAGEMENT_GATEWAY = "192.168.23.1"
MANAGEMENT_ADDRESS = "192.168.23.2"
_SECRETS = "secrets.json"

# How the kernel names the files of instances, relative to a volume that is gone.
_OF_INSTANCES = re.compile(r"/(nova-[a-z]+/instances|state-disks)/.* \(deleted\)$")


def the_box() -> systemcontainer.Box:
    """The container that the undercloud is in."""
    return systemcontainer.Box(
        what="undercloud",
        name=CONTAINER,
        hostname="undercloud",
        image=IMAGE,
        volume=VOLUME,
        network=NETWORK,
        address=MANAGEMENT_ADDRESS,
        metadata=_folder() / "local-data",
        shell="./altostratus undercloud shell",
    )


def _folder() -> pathlib.Path:
    return machine.state_dir() / "undercloud"


def up(undercloud: model.Undercloud) -> None:
    """Bring up the undercloud; a second run finds everything in place and changes nothing."""
    _refuse_nic(undercloud)
    _refuse_collisions(undercloud)
    image = imagespec.undercloud_image(among=undercloud.hypervisors)
    archive = images.build(image)
    engine, box = systemcontainer.connect(), the_box()
    tag = systemcontainer.load_image(engine, box, archive, imagespec.digest(image))
    tree, secrets = _write_metadata(undercloud)
    _create_network(engine)
    systemcontainer.start(engine, box, tag)
    _add_route(undercloud)
    systemcontainer.follow_configuration(engine, box, tree["altostratus"]["digest"])
    credentials.write(
        "undercloud",
        auth_url=tree["keystone"]["public_url"],
        username="admin",
        password=tree["keystone"]["admin_password"],
        project="admin",
        registry=_registry(tree),
        authority=certificates.trusted(secrets),
    )
    # It was configured long ago where the machine has only booted again.
    cloud.wait_serving("undercloud", hint="./altostratus undercloud shell systemctl --failed")
    baseline.make(undercloud)


def down() -> None:
    """Remove the undercloud with everything in it; the images stay in the cache."""
    if machine.start_installed_engine():
        engine = systemcontainer.connect()
        systemcontainer.remove(engine, the_box())
        systemcontainer.remove_if_there(
            lambda: engine.networks.get(NETWORK).remove(), "management network"
        )
    release_loop_devices()
    shutil.rmtree(_folder(), ignore_errors=True)
    for name in ("undercloud", "overcloud"):
        credentials.remove(name)


def status() -> str | None:
    """The state of the undercloud instance: Docker's word for it, None where there is none."""
    if not machine.ENGINE_SOCKET.exists():
        return None
    return systemcontainer.state(systemcontainer.connect(), CONTAINER)


def shown_certificates() -> tuple[certificates.Certificate, ...]:
    """The certificates of its front."""
    return certificates.described(known_secrets())


def shell(
    command: collections.abc.Sequence[str] = ("bash", "-l"), container: str = CONTAINER
) -> None:
    """Replace this process by a shell in the undercloud instance, or in another container."""
    if status() is None:
        raise errors.Error("there is no undercloud here", hint="./altostratus undercloud up")
    terminal = ["--tty"] if sys.stdin.isatty() else []
    os.execvp("docker", ["docker", "exec", "--interactive", *terminal, container, *command])


def execute(*command: str) -> str:
    """What a command in the undercloud instance says; raises :class:`errors.Error` if it fails."""
    return systemcontainer.execute(systemcontainer.connect(), the_box(), *command)


def _refuse_nic(undercloud: model.Undercloud) -> None:
    """Raise :class:`errors.Error` where a NIC is asked for: the container has none of the machine's."""
    if undercloud.site.nic is not None:
        raise errors.Error(
            f"the undercloud of this machine is a container, which has no NIC {undercloud.site.nic}",
            hint="leave 'bridge_mappings' out of its file: it is for an undercloud that is a machine",
        )


def _refuse_collisions(undercloud: model.Undercloud) -> None:
    """Raise :class:`errors.Error` where the machine has networks that the undercloud's would hide."""
    wanted = (ipaddress.IPv4Network(MANAGEMENT_CIDR), undercloud.control.cidr)
    for found in survey.machine_networks():
        if found.device != BRIDGE and any(cidr.overlaps(found.cidr) for cidr in wanted):
            raise errors.Error(
                f"this machine's network {found.cidr} on {found.device} overlaps the undercloud's"
                f" ({' and '.join(map(str, wanted))})",
                hint="use another machine, or another network there: see 'ip route'",
            )


def _write_metadata(undercloud: model.Undercloud) -> tuple[dict[str, Any], dict[str, str]]:
    """The undercloud's metadata, and its secrets: made on the first run, kept on this machine only."""
    folder = _folder()
    (folder / "local-data").mkdir(mode=0o700, parents=True, exist_ok=True)
    now = datetime.datetime.now(datetime.UTC)
    generated = certificates.renewed(
        metadata.undercloud_secrets(known_secrets(), undercloud.hypervisors, undercloud.nodes),
        undercloud.name,
        {undercloud.name: [str(undercloud.control.address), *undercloud.site.tls_names]},
        now,
    )
    systemcontainer.write_private(folder / _SECRETS, generated)
    tree = metadata.undercloud(undercloud, generated)
    systemcontainer.write_private(folder / "local-data" / "undercloud.json", tree)
    return tree, generated


def known_secrets() -> dict[str, str]:
    """The secrets of the undercloud of this machine; none where there is none."""
    kept = _folder() / _SECRETS
    return json.loads(kept.read_text()) if kept.exists() else {}


def _registry(tree: dict[str, Any]) -> dict[str, str]:
    """Where images' layers are brought to; only this machine reaches it."""
    return {
        "url": f"http://{MANAGEMENT_ADDRESS}:{sections.REGISTRY_PORT}",
        "username": tree["registry"]["user"],
        "password": tree["registry"]["password"],
    }


def _create_network(engine: docker.DockerClient) -> None:
    if engine.networks.list(names=[f"^{NETWORK}$"]):
        return
    pool = docker.types.IPAMPool(subnet=MANAGEMENT_CIDR, gateway=MANAGEMENT_GATEWAY)
    try:
        engine.networks.create(
            NETWORK,
            driver="bridge",
            ipam=docker.types.IPAMConfig(pool_configs=[pool]),
            options={"com.docker.network.bridge.name": BRIDGE},
        )
    except docker.errors.APIError as exc:
        raise errors.Error(
            f"the management network {MANAGEMENT_CIDR} cannot be made: {exc.explanation}",
            hint="another network of this machine overlaps it: see 'ip route'",
        ) from exc


def _add_route(undercloud: model.Undercloud) -> None:
    cidr = str(undercloud.control.cidr)
    run.run(["ip", "route", "replace", cidr, "via", MANAGEMENT_ADDRESS])


def release_loop_devices() -> None:
    """Detach loop devices whose file went with the volume of a node: Nova's do not go alone."""
    listing = run.run(["losetup", "--list", "--noheadings", "--output", "NAME,BACK-FILE"]).stdout
    for line in listing.splitlines():
        name, _, backing = line.partition(" ")
        if _OF_INSTANCES.search(backing):
            run.run(["losetup", "--detach", name], check=False)
