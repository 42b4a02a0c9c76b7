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
import time
from typing import Any

import docker
import docker.errors
import docker.models.containers
import docker.types
import requests

from altostratus import (
    baseline,
    capabilities,
    certificates,
    cloud,
    credentials,
    errors,
    images,
    log,
    machine,
    metadata,
    model,
    run,
    sections,
    survey,
)

CONTAINER = "altostratus-undercloud"
NETWORK = "altostratus"
BRIDGE = model.MACHINE_BRIDGE
VOLUME = "altostratus-undercloud"
IMAGE = "altostratus/undercloud"
MANAGEMENT_CIDR = "192.168.23.0/24"
MANAGEMENT_GATEWAY = "192.168.23.1"
MANAGEMENT_ADDRESS = "192.168.23.2"
LOCAL_DATA = "/var/lib/os-collect-config/local-data"
CONFIGURED = "/var/lib/altostratus/configured"
FAILED = "/var/lib/altostratus/failed"
CONFIGURE_S = 1500
LAST_LINES = 25
_SECRETS = "secrets.json"

# How the kernel names the files of instances, relative to a volume that is gone.
_OF_INSTANCES = re.compile(r"/(nova-[a-z]+/instances|state-disks)/.* \(deleted\)$")
_BEGUN = re.compile(r"Running /usr/libexec/os-refresh-config/(\S+)")


def up(undercloud: model.Undercloud) -> None:
    """Bring up the undercloud; a second run finds everything in place and changes nothing."""
    _refuse_collisions(undercloud)
    image = images.undercloud_image()
    archive = images.build(image)
    engine = _engine()
    tag = _load_image(engine, archive, images.digest(image))
    tree, secrets = _write_metadata(undercloud)
    _create_network(engine)
    _start_container(engine, tag)
    _add_route(undercloud)
    _follow_configuration(engine, tree["altostratus"]["digest"])
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
        _remove_from_engine(_engine())
    _release_loop_devices()
    shutil.rmtree(machine.state_dir() / "undercloud", ignore_errors=True)
    for name in ("undercloud", "overcloud"):
        credentials.remove(name)


def _remove_from_engine(engine: docker.DockerClient) -> None:
    container = _container(engine)
    if container is not None:
        # Nothing of it is to be kept, so nothing has to end well.
        with log.step("remove the undercloud instance"):
            container.remove(force=True)
    _remove_if_there(
        lambda: engine.volumes.get(VOLUME).remove(force=True), "state of the undercloud"
    )
    _remove_if_there(lambda: engine.networks.get(NETWORK).remove(), "management network")
    _remove_images(engine)


def _remove_images(engine: docker.DockerClient) -> None:
    """Remove the undercloud's images but those that somebody else's container uses."""
    for image in engine.images.list(name=IMAGE):
        try:
            engine.images.remove(str(image.id), force=True)
        except docker.errors.APIError as exc:
            if exc.status_code != requests.codes.conflict:
                raise errors.Error(
                    f"the image {image.short_id} cannot be removed: {exc.explanation}"
                ) from exc
            log.info(f"the image {image.short_id} stays: {exc.explanation}")


def status() -> str | None:
    """The state of the undercloud instance: Docker's word for it, None where there is none."""
    if not machine.ENGINE_SOCKET.exists():
        return None
    try:
        container = _engine().containers.get(CONTAINER)
    except docker.errors.NotFound:
        return None
    if container.status == "running":
        return "configured" if _exists(container, CONFIGURED) else "configuring"
    return str(container.status)


def shown_certificates() -> tuple[certificates.Certificate, ...]:
    """The certificates of its front."""
    return certificates.described(_known_secrets())


def shell(command: collections.abc.Sequence[str] = ("bash", "-l")) -> None:
    """Replace this process by a shell in the undercloud instance."""
    if status() is None:
        raise errors.Error("there is no undercloud here", hint="./altostratus undercloud up")
    terminal = ["--tty"] if sys.stdin.isatty() else []
    os.execvp("docker", ["docker", "exec", "--interactive", *terminal, CONTAINER, *command])


def execute(*command: str) -> str:
    """What a command in the undercloud instance says; raises :class:`errors.Error` if it fails."""
    code, output = _engine().containers.get(CONTAINER).exec_run(list(command))
    said = output.decode(errors="replace") if isinstance(output, bytes) else ""
    if code:
        raise errors.Error(f"{' '.join(command)} failed in the undercloud: {said.strip()}")
    return said


def _engine() -> docker.DockerClient:
    try:
        return docker.from_env()
    except docker.errors.DockerException as exc:
        raise errors.Error(
            f"the Docker Engine does not answer: {exc}",
            hint="look at /var/log/dockerd.log or 'journalctl -u docker', and at DOCKER_HOST",
        ) from exc


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


def _load_image(engine: docker.DockerClient, archive: pathlib.Path, digest: str) -> str:
    tag = f"{IMAGE}:{digest[:12]}"
    try:
        engine.images.get(tag)
    except docker.errors.ImageNotFound:
        with log.step("load the undercloud image into the engine"), archive.open("rb") as stream:
            (loaded,) = engine.images.load(stream)
            loaded.tag(IMAGE, digest[:12])
    return tag


def _write_metadata(undercloud: model.Undercloud) -> tuple[dict[str, Any], dict[str, str]]:
    """The undercloud's metadata, and its secrets: made on the first run, kept on this machine only."""
    folder = machine.state_dir() / "undercloud"
    (folder / "local-data").mkdir(mode=0o700, parents=True, exist_ok=True)
    now = datetime.datetime.now(datetime.UTC)
    generated = certificates.renewed(
        metadata.undercloud_secrets(_known_secrets()),
        undercloud.name,
        {undercloud.name: [str(undercloud.control.address)]},
        now,
    )
    _write_private(folder / _SECRETS, generated)
    tree = metadata.undercloud(undercloud, generated)
    _write_private(folder / "local-data" / "undercloud.json", tree)
    return tree, generated


def _known_secrets() -> dict[str, str]:
    kept = machine.state_dir() / "undercloud" / _SECRETS
    return json.loads(kept.read_text()) if kept.exists() else {}


def _registry(tree: dict[str, Any]) -> dict[str, str]:
    """Where images' layers are brought to; only this machine reaches it."""
    return {
        "url": f"http://{MANAGEMENT_ADDRESS}:{sections.REGISTRY_PORT}",
        "username": tree["registry"]["user"],
        "password": tree["registry"]["password"],
    }


def _write_private(path: pathlib.Path, content: Any) -> None:
    partial = path.with_name(f".{path.name}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump(content, stream, indent=2, sort_keys=True)
    partial.rename(path)


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


def _start_container(engine: docker.DockerClient, tag: str) -> None:
    existing = _container(engine)
    if existing is not None and existing.attrs["Config"]["Image"] == tag:
        existing.start()
        return
    if existing is not None:
        with log.step("replace the undercloud instance: its image changed"):
            _stop_container(engine)
    with log.step("boot the undercloud instance"):
        low_level = engine.api
        options = low_level.create_host_config(**_host_options(engine))
        # What the command line calls systempaths=unconfined; the library knows no word for it.
        options |= {"MaskedPaths": [], "ReadonlyPaths": []}
        created = low_level.create_container(
            tag,
            name=CONTAINER,
            hostname="undercloud",
            host_config=options,
            stop_signal="SIGRTMIN+3",
            networking_config=low_level.create_networking_config(
                {NETWORK: low_level.create_endpoint_config(ipv4_address=MANAGEMENT_ADDRESS)}  # type: ignore[arg-type]
            ),
        )
        low_level.start(created["Id"])


def _host_options(engine: docker.DockerClient) -> dict[str, Any]:
    """A system container that runs containers and machines of its own.

    Not ``privileged``: that asks for every capability there is, and fails where the
    machine itself lacks one.
    """
    unified = engine.info().get("CgroupVersion") == "2"
    return {
        "cap_add": capabilities.bounding(),
        "cgroupns": "private" if unified else "host",
        "security_opt": ["seccomp=unconfined", "apparmor=unconfined"],
        "device_cgroup_rules": ["a *:* rwm"],
        "devices": [
            f"{path}:{path}:rwm" for path in ("/dev/net/tun", "/dev/kvm") if os.path.exists(path)
        ],
        "tmpfs": {"/run": "exec,mode=755", "/run/lock": "", "/tmp": "exec,mode=1777"},
        "binds": {
            "/sys/fs/cgroup": {"bind": "/sys/fs/cgroup", "mode": "rw"},
            VOLUME: {"bind": "/mnt/state", "mode": "rw"},
            str(machine.state_dir() / "undercloud" / "local-data"): {
                "bind": LOCAL_DATA,
                "mode": "ro",
            },
        },
        "sysctls": {"net.ipv4.conf.all.arp_ignore": "1", "net.ipv4.ip_forward": "1"},
        "restart_policy": {"Name": "unless-stopped"},
        "shm_size": "256m",
        "log_config": {"Type": "json-file", "Config": {"max-size": "8m", "max-file": "2"}},
    }


def _add_route(undercloud: model.Undercloud) -> None:
    cidr = str(undercloud.control.cidr)
    run.run(["ip", "route", "replace", cidr, "via", MANAGEMENT_ADDRESS])


def _follow_configuration(engine: docker.DockerClient, digest: str) -> None:
    """Show the steps of os-refresh-config inside the instance until it has this configuration."""
    container = engine.containers.get(CONTAINER)
    if _configuration(container) == digest:
        return
    with log.step("configure the undercloud") as step:
        _wait_for_journal(container)
        if _exists(container, FAILED) or _exists(container, CONFIGURED):
            # It looks seldom once it is configured, and later after every failure.
            container.exec_run(["rm", "-f", FAILED])
            container.exec_run(["systemctl", "restart", "os-collect-config"])
        _, lines = container.exec_run(
            ["journalctl", "--follow", "--lines=all", "--output=cat", "--unit=os-collect-config"],
            stream=True,
        )
        deadline = time.monotonic() + CONFIGURE_S
        last: collections.deque[str] = collections.deque(maxlen=LAST_LINES)
        for chunk in lines:
            for line in bytes(chunk).decode(errors="replace").splitlines():
                last.append(line)
                begun = _BEGUN.search(line)
                if begun:
                    step.progress(begun[1])
            if _configuration(container) == digest:
                return
            if _exists(container, FAILED) or time.monotonic() > deadline:
                raise errors.Error(
                    "the undercloud could not be configured; its last words:\n" + "\n".join(last),
                    hint="./altostratus undercloud shell, then 'journalctl -u os-collect-config'",
                )


def _configuration(container: docker.models.containers.Container) -> str | None:
    """The digest of the configuration that the instance has, None while it has none."""
    status, content = container.exec_run(["cat", CONFIGURED])
    return content.decode().strip() if isinstance(content, bytes) and status == 0 else None


def _wait_for_journal(container: docker.models.containers.Container) -> None:
    for _ in range(300):
        if container.exec_run(["test", "-S", "/run/systemd/journal/socket"]).exit_code == 0:
            return
        time.sleep(0.1)
    raise errors.Error(
        "systemd does not start in the undercloud instance", hint=f"docker logs {CONTAINER}"
    )


def _container(engine: docker.DockerClient) -> docker.models.containers.Container | None:
    try:
        return engine.containers.get(CONTAINER)
    except docker.errors.NotFound:
        return None


def _stop_container(engine: docker.DockerClient) -> None:
    container = _container(engine)
    if container is not None:
        with log.step("stop the undercloud instance"):
            container.stop(timeout=60)
            container.remove(force=True)


def _exists(container: docker.models.containers.Container, path: str) -> bool:
    return bool(container.exec_run(["test", "-e", path]).exit_code == 0)


def _remove_if_there(remove: collections.abc.Callable[[], None], what: str) -> None:
    try:
        remove()
    except docker.errors.NotFound:
        return
    except docker.errors.APIError as exc:
        raise errors.Error(f"the {what} cannot be removed: {exc.explanation}") from exc


def _release_loop_devices() -> None:
    """Detach loop devices whose file went with the undercloud's volume: Nova's do not go alone."""
    listing = run.run(["losetup", "--list", "--noheadings", "--output", "NAME,BACK-FILE"]).stdout
    for line in listing.splitlines():
        name, _, backing = line.partition(" ")
        if _OF_INSTANCES.search(backing):
            run.run(["losetup", "--detach", name], check=False)
