"""This machine as the one node of an undercloud: how it is divided among the hypervisors."""

import json

from altostratus import hypervisors, machine, metadata
from altostratus.model import Undercloud


def undercloud() -> Undercloud:
    """The undercloud of this machine; one that is there keeps the shares it was made with.

    Free disk shrinks as it is used: computed anew, the shares would shrink with it.
    Raises :class:`errors.Error` if the machine is too small.
    """
    kept = machine.state_dir() / "undercloud" / "local-data" / "undercloud.json"
    if kept.exists():
        return Undercloud(metadata.shares_of(json.loads(kept.read_text())))
    size = machine.size()
    return Undercloud(hypervisors.shares(size.memory_mib, size.disk_gib, size.vcpus))
