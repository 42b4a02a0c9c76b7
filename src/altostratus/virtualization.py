"""What the undercloud found out about hardware virtualisation on its machine."""

import dataclasses
import json

from altostratus import run, undercloud

_FOUND = "/var/lib/altostratus/found.json"


@dataclasses.dataclass(frozen=True, slots=True)
class Virtualization:
    """Whether machines of the hypervisor kvm have it, and why."""

    works: bool
    reason: str


def read() -> Virtualization | None:
    """What a configured undercloud found; None if it has no such hypervisor."""
    command = ["docker", "exec", undercloud.CONTAINER, "cat", _FOUND]
    said = run.run(command, check=False).stdout
    found = json.loads(said).get("libvirt") if said else None
    return Virtualization(found["virt_type"] == "kvm", found["reason"]) if found else None


def to_text(found: Virtualization | None) -> str:
    """For people, in a line."""
    if found is None:
        return "kvm: not on this node"
    how = "hardware virtualisation" if found.works else "emulated, and slow"
    return f"kvm: {how} ({found.reason})"
