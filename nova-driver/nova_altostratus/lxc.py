"""What containers under libvirt have besides what Nova gives them."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lxml import etree
from nova.virt.libvirt import config as vconfig


class MountedDirectory(vconfig.LibvirtConfigGuestFilesys):
    """A directory of the machine's at a path in the instance."""

    def __init__(self, source: Path, target: str, read_only: bool) -> None:
        super().__init__()
        self.source_dir = str(source)
        self.target_dir = target
        self.read_only = read_only

    def format_dom(self) -> Any:
        """Return the XML, with the one element that Nova's class lacks."""
        element = super().format_dom()
        if self.read_only:
            element.append(etree.Element("readonly"))
        return element


class UserIds(vconfig.LibvirtConfigGuestUIDMap):
    """A range of user ids which can also be unpacked: nova.privsep.idmapshift takes it for that."""

    def __iter__(self) -> Iterator[int]:
        return iter((self.start, self.target, self.count))


class GroupIds(vconfig.LibvirtConfigGuestGIDMap):
    """A range of group ids which can also be unpacked."""

    def __iter__(self) -> Iterator[int]:
        return iter((self.start, self.target, self.count))


def unpackable(found: Any) -> UserIds | GroupIds:
    """Return a range of Nova's as one that can be unpacked."""
    ids = UserIds() if isinstance(found, vconfig.LibvirtConfigGuestUIDMap) else GroupIds()
    ids.start, ids.target, ids.count = found.start, found.target, found.count
    return ids


def first_process(controller: int) -> int:
    """Return the init of a container, the one child of its libvirt_lxc process.

    :raises ProcessLookupError: it has ended
    """
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal() and _parent(int(entry.name)) == controller:
            return int(entry.name)
    raise ProcessLookupError(f"libvirt_lxc process {controller} has no child")


def _parent(pid: int) -> int | None:
    try:
        # The name in brackets may hold anything, brackets and blanks too.
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(after_name.split()[1])
