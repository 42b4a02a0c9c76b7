"""Containers of this machine's Docker Engine with systemd as their init, each an instance that is
configured from metadata in a folder of this machine."""

import collections
import collections.abc
import dataclasses
import json
import os
import pathlib
import re
import time
from typing import Any

import docker
import docker.errors
import docker.models.containers
import requests

from altostratus import capabilities, errors, log

LOCAL_DATA = "/var/lib/os-collect-config/local-data"
STATE = "/mnt/state"
CONFIGURED = "/var/lib/altostratus/configured"
FAILED = "/var/lib/altostratus/failed"
CONFIGURE_S = 1500
LAST_LINES = 25
_BEGUN = re.compile(r"Running /usr/libexec/os-refresh-config/(\S+)")

Container = docker.models.containers.Container


@dataclasses.dataclass(frozen=True, slots=True)
class Box:
    """A system container; ``what`` it is in words, ``shell`` the command that opens one in it.

    ``image`` is the name of its image in the engine, ``address`` its own on ``network``, if that
    matters, ``volume`` its state, and ``metadata`` the folder of what it is configured with.
    """

    what: str
    name: str
    hostname: str
    image: str
    volume: str
    network: str
    address: str | None
    metadata: pathlib.Path
    shell: str


def connect() -> docker.DockerClient:
    """The engine. Raises :class:`errors.Error` if it does not answer."""
    try:
        return docker.from_env()
    except docker.errors.DockerException as exc:
        raise errors.Error(
            f"the Docker Engine does not answer: {exc}",
            hint="look at /var/log/dockerd.log or 'journalctl -u docker', and at DOCKER_HOST",
        ) from exc


def find(engine: docker.DockerClient, name: str) -> Container | None:
    """The container of this name, if there is one."""
    try:
        return engine.containers.get(name)
    except docker.errors.NotFound:
        return None


def state(engine: docker.DockerClient, name: str) -> str | None:
    """What a container is at: Docker's word for it, None where there is none."""
    container = find(engine, name)
    if container is None:
        return None
    if container.status == "running":
        return "configured" if exists(container, CONFIGURED) else "configuring"
    return str(container.status)


def load_image(engine: docker.DockerClient, box: Box, archive: pathlib.Path, digest: str) -> str:
    """Load an image unless the engine has it; returns its tag."""
    tag = f"{box.image}:{digest[:12]}"
    try:
        engine.images.get(tag)
    except docker.errors.ImageNotFound:
        with log.step(f"load the {box.what} image into the engine"), archive.open("rb") as stream:
            (loaded,) = engine.images.load(stream)
            loaded.tag(box.image, digest[:12])
    return tag


def start(engine: docker.DockerClient, box: Box, tag: str) -> None:
    """Start the container; one of another image is replaced, and its state stays."""
    existing = find(engine, box.name)
    if existing is not None and existing.attrs["Config"]["Image"] == tag:
        existing.start()
        return
    if existing is not None:
        with log.step(f"replace the {box.what} instance: its image changed"):
            existing.stop(timeout=60)
            existing.remove(force=True)
    with log.step(f"boot the {box.what} instance"):
        low_level = engine.api
        options = low_level.create_host_config(**_host_options(engine, box))
        # What the command line calls systempaths=unconfined; the library knows no word for it.
        options |= {"MaskedPaths": [], "ReadonlyPaths": []}
        created = low_level.create_container(
            tag,
            name=box.name,
            hostname=box.hostname,
            host_config=options,
            stop_signal="SIGRTMIN+3",
            networking_config=low_level.create_networking_config(
                {box.network: low_level.create_endpoint_config(ipv4_address=box.address)}  # type: ignore[arg-type]
            ),
        )
        low_level.start(created["Id"])


def _host_options(engine: docker.DockerClient, box: Box) -> dict[str, Any]:
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
            box.volume: {"bind": STATE, "mode": "rw"},
            str(box.metadata): {"bind": LOCAL_DATA, "mode": "ro"},
        },
        "sysctls": {"net.ipv4.conf.all.arp_ignore": "1", "net.ipv4.ip_forward": "1"},
        "restart_policy": {"Name": "unless-stopped"},
        "shm_size": "256m",
        "log_config": {"Type": "json-file", "Config": {"max-size": "8m", "max-file": "2"}},
    }


def follow_configuration(engine: docker.DockerClient, box: Box, digest: str) -> None:
    """Wait until the container has this configuration."""
    container = engine.containers.get(box.name)
    if _configuration(container) == digest:
        return
    with log.step(f"configure the {box.what}") as step:
        _wait_for_journal(container)
        if exists(container, FAILED) or exists(container, CONFIGURED):
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
            if exists(container, FAILED) or time.monotonic() > deadline:
                raise errors.Error(
                    f"the {box.what} could not be configured; its last words:\n" + "\n".join(last),
                    hint=f"{box.shell}, then 'journalctl -u os-collect-config'",
                )


def _configuration(container: Container) -> str | None:
    """The digest of the configuration that the instance has, None while it has none."""
    status, content = container.exec_run(["cat", CONFIGURED])
    return content.decode().strip() if isinstance(content, bytes) and status == 0 else None


def _wait_for_journal(container: Container) -> None:
    for _ in range(300):
        if container.exec_run(["test", "-S", "/run/systemd/journal/socket"]).exit_code == 0:
            return
        time.sleep(0.1)
    raise errors.Error(
        f"systemd does not start in {container.name}", hint=f"docker logs {container.name}"
    )


def exists(container: Container, path: str) -> bool:
    """Whether there is such a file in a container."""
    return bool(container.exec_run(["test", "-e", path]).exit_code == 0)


def execute(engine: docker.DockerClient, box: Box, *command: str) -> str:
    """What a command in it says; raises :class:`errors.Error` if it fails."""
    code, output = engine.containers.get(box.name).exec_run(list(command))
    said = output.decode(errors="replace") if isinstance(output, bytes) else ""
    if code:
        raise errors.Error(f"{' '.join(command)} failed in the {box.what}: {said.strip()}")
    return said


def remove(engine: docker.DockerClient, box: Box) -> None:
    """Remove a container with its state and its images."""
    container = find(engine, box.name)
    if container is not None:
        # Nothing of it is to be kept, so nothing has to end well.
        with log.step(f"remove the {box.what} instance"):
            container.remove(force=True)
    remove_if_there(
        lambda: engine.volumes.get(box.volume).remove(force=True), f"state of the {box.what}"
    )
    _remove_images(engine, box.image)


def remove_if_there(remove_it: collections.abc.Callable[[], None], what: str) -> None:
    """Remove something of the engine's that may be gone."""
    try:
        remove_it()
    except docker.errors.NotFound:
        return
    except docker.errors.APIError as exc:
        raise errors.Error(f"the {what} cannot be removed: {exc.explanation}") from exc


def _remove_images(engine: docker.DockerClient, name: str) -> None:
    """Remove images but those that somebody else's container uses."""
    for image in engine.images.list(name=name):
        try:
            engine.images.remove(str(image.id), force=True)
        except docker.errors.APIError as exc:
            if exc.status_code != requests.codes.conflict:
                raise errors.Error(
                    f"the image {image.short_id} cannot be removed: {exc.explanation}"
                ) from exc
            log.info(f"the image {image.short_id} stays: {exc.explanation}")


def write_private(path: pathlib.Path, content: Any) -> None:
    """Write plain data that only root may read; a reader sees it whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump(content, stream, indent=2, sort_keys=True)
    partial.rename(path)
