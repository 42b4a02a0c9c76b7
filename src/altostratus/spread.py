"""In which zone instances are to be: those of a group in different ones, as far as there is room.

Pure. A zone is a node. Nova's own way, a server group, keeps compute hosts apart, and two hypervisors
of one node are two of these.
"""

import collections.abc
import dataclasses

from altostratus import hypervisors
from altostratus.hypervisors import Need
from altostratus.model import Instance, Overcloud
from altostratus.observed import Observed, Provider

_FEWEST = 2

Names = collections.abc.Collection[str]


def place(overcloud: Overcloud, observed: Observed, moving: Names = ()) -> Overcloud:
    """The overcloud, its instances with their zones.

    The file's word comes first, and then the zone where an instance was deployed: it stays there. A
    new one of a group, and one that is ``moving``, gets the zone with the fewest of its group among
    those that have room; where a group has no choice, Nova has it.
    """
    zones = {one.name: _settled(one, observed, moving) for one in overcloud.instances}
    room = _Room(overcloud, observed, zones, moving)
    choosing = [one for one in overcloud.instances if _chooses(one, zones, observed, moving)]
    choice = {one.group: room.choice(one.group, choosing) for one in choosing}
    # Those first that can be in the fewest, or others would have taken these.
    for one in sorted(choosing, key=lambda one: len(room.zones(one))):
        offered = room.zones(one)
        if offered and (one.name in moving or len(choice[one.group]) >= _FEWEST):
            mates = room.zones_of(one.group)
            zone = min(offered, key=lambda zone: (mates.count(zone), zone))
            zones[one.name] = zone
            room.take(one, zone)
    return dataclasses.replace(
        overcloud,
        instances=tuple(
            dataclasses.replace(one, zone=zones[one.name]) for one in overcloud.instances
        ),
    )


def left(overcloud: Overcloud, observed: Observed, moving: Names) -> tuple[Provider, ...]:
    """The compute processes, with all that is used of them as others': by instances with a zone, too."""
    zones = {one.name: one.zone for one in overcloud.instances}
    return _Room(overcloud, observed, zones, moving).providers()


def _settled(one: Instance, observed: Observed, moving: Names) -> str | None:
    deployed = observed.deployed(one.name)
    if one.zone or deployed is None or one.name in moving:
        return one.zone
    return deployed.zone


def _chooses(
    one: Instance,
    zones: collections.abc.Mapping[str, str | None],
    observed: Observed,
    moving: Names,
) -> bool:
    is_new = one.group is not None and observed.deployed(one.name) is None
    has_node = hypervisors.entry(one.hypervisor).has_share
    return has_node and zones[one.name] is None and (is_new or one.name in moving)


class _Room:
    """What compute processes have left, and where instances are already."""

    def __init__(
        self,
        overcloud: Overcloud,
        observed: Observed,
        zones: collections.abc.Mapping[str, str | None],
        moving: Names,
    ) -> None:
        self._left = {
            one: Need(one.memory_mib - one.others_memory_mib, one.disk_gib - one.others_disk_gib)
            for one in observed.providers
            if one.zone and hypervisors.entry(one.hypervisor).has_share
        }
        self._groups: list[tuple[str | None, str]] = []
        for one in overcloud.instances:
            server = None if one.name in moving else observed.server_of(one.name)
            here = next(
                (found for found in self._left if server and found.name == server.host), None
            )
            zone = here.zone if here else zones[one.name]
            if zone:
                self.take(one, zone)

    def zones(self, one: Instance) -> list[str]:
        """The zones that take an instance and have room for it."""
        return sorted({found.zone for found in self._left if self._takes(found, one)})

    def providers(self) -> tuple[Provider, ...]:
        """The compute processes, as if all that is used of them were others'."""
        return tuple(
            dataclasses.replace(
                one,
                others_memory_mib=one.memory_mib - has.memory_mib,
                others_disk_gib=one.disk_gib - has.disk_gib,
            )
            for one, has in self._left.items()
        )

    def zones_of(self, group: str | None) -> list[str]:
        """The zone of each instance of a group that has one."""
        return [zone for of, zone in self._groups if group is not None and of == group]

    def choice(self, group: str | None, choosing: list[Instance]) -> set[str]:
        """The zones that a group is in, or could be."""
        offered = (self.zones(one) for one in choosing if one.group == group)
        return set(self.zones_of(group)).union(*offered)

    def take(self, one: Instance, zone: str) -> None:
        """Count an instance in a zone."""
        self._groups.append((one.group, zone))
        for found in self._left:
            if (found.zone, found.hypervisor) == (zone, one.hypervisor):
                has = self._left[found]
                self._left[found] = Need(
                    has.memory_mib - one.memory_mib, has.disk_gib - one.disk_gib
                )
                return

    def _takes(self, found: Provider, one: Instance) -> bool:
        has = self._left[found]
        return (
            found.hypervisor == one.hypervisor
            and found.trouble is None
            and one.memory_mib <= has.memory_mib
            and one.disk_gib <= has.disk_gib
        )
