"""The container of an instance: pure functions from instance, flavor and image to its spec."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oslo_privsep import capabilities

from nova_altostratus import configdrive, statedisk
from nova_altostratus.conf import CONF

LABEL = "altostratus.instance"
LABEL_HOST = "altostratus.host"
LABEL_NAME = "altostratus.name"
LABEL_MEMORY = "altostratus.memory_mb"
LABEL_DISK = "altostratus.disk_gb"
LABEL_VCPUS = "altostratus.vcpus"
LABEL_IMAGE = "altostratus.image"
LABEL_NUMBER = "altostratus.number"
LABEL_DIGEST = "altostratus.digest"

PRIVILEGED = "altostratus:privileged"

GATE = "/run/altostratus.gate"
_CPU_PERIOD_US = 100_000
_DEVICES = ("/dev/net/tun", "/dev/kvm")

# PID 1 waits until its network is there, and only then becomes the init. Shells that cannot
# read the gate must not start an init without a network: `&&`.
INIT = f"read -r _ < {GATE} && exec /sbin/init"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the machine keeps what belongs to one instance."""

    directory: Path

    @property
    def gate(self) -> Path:
        """The pipe through which PID 1 is told to go on."""
        return self.directory / "gate"

    @property
    def state(self) -> Path:
        """Where the state disk is mounted while the container starts."""
        return self.directory / "state"

    def config_drive(self, number: int) -> Path:
        """The config drive's content: each of an instance's containers has its own."""
        return self.directory / (f"config_drive.{number}" if number else "config_drive")


def place(instance: Any) -> Place:
    """Return where the machine keeps what belongs to an instance."""
    return place_of(instance.uuid)


def place_of(uuid: str) -> Place:
    """Return the same by an instance's id."""
    return Place(Path(CONF.instances_path, uuid))


def name(uuid: str) -> str:
    """Return the name of an instance's container."""
    return f"nova-{uuid}"


def is_privileged(instance: Any) -> bool:
    """Return whether an instance may run machines and containers of its own.

    A flavor says so: users cannot make one.
    """
    return (instance.flavor.extra_specs or {}).get(PRIVILEGED) == "true"


def given_away(labels: list[dict[str, str]]) -> dict[str, int]:
    """Return what instances have of the node, in the words of get_available_resource."""
    words = {
        "memory_mb_used": LABEL_MEMORY,
        "local_gb_used": LABEL_DISK,
        "vcpus_used": LABEL_VCPUS,
    }
    return {word: sum(int(one[label]) for one in labels) for word, label in words.items()}


def spec(instance: Any, image: str, nameservers: list[str], number: int = 0) -> dict[str, Any]:
    """Return what the engine is asked to create for an instance.

    :param image: the engine's id of the image
    :param number: which of the instance's containers it is
    """
    found = _spec(instance, image, nameservers, number)
    digest = hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()
    found["Labels"][LABEL_DIGEST] = digest
    return found


def _spec(instance: Any, image: str, nameservers: list[str], number: int) -> dict[str, Any]:
    flavor = instance.flavor
    return {
        "Image": image,
        "Hostname": instance.hostname,
        **_process(),
        "Labels": _labels(instance, flavor, number),
        "HostConfig": {
            "NetworkMode": "none",
            "Dns": nameservers,
            "RestartPolicy": {"Name": "no"},
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "2"}},
            **_limits(flavor),
            **(_all_privileges() if is_privileged(instance) else _privileges()),
            **_filesystems(instance, number),
        },
    }


def _process() -> dict[str, Any]:
    return {
        "Entrypoint": ["/bin/sh", "-c", INIT],
        "Cmd": [],
        "User": "0:0",
        "Env": ["container=docker"],
        "Tty": True,
        "StopSignal": "SIGRTMIN+3",
    }


def _labels(instance: Any, flavor: Any, number: int) -> dict[str, str]:
    return {
        LABEL: instance.uuid,
        LABEL_HOST: CONF.host,
        LABEL_NAME: instance.name,
        LABEL_MEMORY: str(flavor.memory_mb),
        LABEL_DISK: str(flavor.root_gb),
        LABEL_VCPUS: str(flavor.vcpus),
        LABEL_IMAGE: instance.image_ref,
        LABEL_NUMBER: str(number),
    }


def _limits(flavor: Any) -> dict[str, Any]:
    memory = flavor.memory_mb << 20
    return {
        "Memory": memory,
        "MemorySwap": memory,  # with swap: none beyond the memory
        "CpuPeriod": _CPU_PERIOD_US,
        "CpuQuota": flavor.vcpus * _CPU_PERIOD_US,
        "PidsLimit": CONF.altostratus.pids_limit,
    }


def _privileges() -> dict[str, Any]:
    # An engine's default seccomp profile stays in force because none is named here.
    security = ["no-new-privileges"] if CONF.altostratus.no_new_privileges else []
    return {
        "Privileged": False,
        "CapDrop": ["ALL"],
        "CapAdd": sorted(CONF.altostratus.capabilities),
        "SecurityOpt": security,
        "CgroupnsMode": "private",
        "IpcMode": "private",
    }


def _all_privileges() -> dict[str, Any]:
    """Return what its own networks, mounts and machines take.

    Not the engine's own `Privileged`: that knows no user namespace, and fails where the machine
    itself lacks a capability. In its user namespace the instance's root stays nobody outside.
    """
    return {
        **_privileges(),
        "CapAdd": _bounding(),
        "SecurityOpt": ["seccomp=unconfined", "apparmor=unconfined"],
        "MaskedPaths": [],
        "ReadonlyPaths": [],
        "Devices": [
            {"PathOnHost": path, "PathInContainer": path, "CgroupPermissions": "rwm"}
            for path in _DEVICES
            if Path(path).exists()
        ],
    }


def _bounding() -> list[str]:
    """Return the capabilities that this machine can hand on."""
    status = Path("/proc/self/status").read_text().splitlines()
    (mask,) = (int(line.split()[1], 16) for line in status if line.startswith("CapBnd:"))
    names = capabilities.CAPS_BYVALUE
    # Later ones are unknown to the engine of Debian 12, which then refuses all.
    known = [bit for bit in sorted(names) if bit <= capabilities.CAP_AUDIT_READ]
    return [names[bit].removeprefix("CAP_") for bit in known if mask >> bit & 1]


def _filesystems(instance: Any, number: int) -> dict[str, Any]:
    at = place(instance)
    mounts = [_bind(at.gate, GATE, read_only=True)]
    mounts.append(_bind(at.config_drive(number), configdrive.TARGET, read_only=True))
    if statedisk.wanted(instance):
        mounts.append(_bind(at.state, statedisk.TARGET, read_only=False))
    return {
        "Mounts": mounts,
        "Tmpfs": {
            "/run": "rw,nosuid,nodev,mode=755",
            "/run/lock": "rw,nosuid,nodev,noexec,mode=1777,size=8m",
            "/tmp": "rw,nosuid,nodev,exec,mode=1777",
        },
    }


def _bind(source: Path, target: str, *, read_only: bool) -> dict[str, Any]:
    return {
        "Type": "bind",
        "Source": str(source),
        "Target": target,
        "ReadOnly": read_only,
        "BindOptions": {"Propagation": "rprivate"},
    }
