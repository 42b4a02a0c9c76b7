"""This machine as the one node of an undercloud: how it is divided among the hypervisors."""

import json

from altostratus import hypervisors, machine, metadata
from altostratus.model import Overcloud, Undercloud


def undercloud(overcloud: Overcloud | None = None) -> Undercloud:
    """The undercloud of this machine, with room for an overcloud where it can be made.

    One that is there keeps the sum of its shares: free disk shrinks as it is used, and computed
    anew they would shrink with it. Raises :class:`errors.Error` if the machine is too small.
    """
    wanted = hypervisors.needs(overcloud) if overcloud else {}
    kept = machine.state_dir() / "undercloud" / "local-data" / "undercloud.json"
    if kept.exists():
        shares = metadata.shares_of(json.loads(kept.read_text()))
        return Undercloud(hypervisors.fit(shares, wanted))
    size = machine.size()
    return Undercloud(hypervisors.shares(size.memory_mib, size.disk_gib, size.vcpus, wanted))
