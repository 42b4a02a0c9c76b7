"""The roots of an instance under libvirt: disks in its folder, told apart by their names."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

from oslo_log import log as logging

LOG = logging.getLogger(__name__)

_KEPT = re.compile(r"disk\.kept-(\d+)\.(.+)")
_UNKNOWN = "unknown"


class DiskRoots:
    """The disk of an instance, the next one, the old one and previous ones.

    What is made for a disk when it starts goes aside with it: the config drive, and the record of
    the image that it is from. While there is an old disk, the instance has not changed: it leaves
    its place first, and comes back last.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.current = directory / "disk"
        self.new = directory / "disk.new"
        self.next = directory / "disk.next"
        self.old = directory / "disk.old"
        self.image = directory / "disk.image"
        self.besides = [directory / name for name in ("disk.config", "config_drive", "disk.image")]

    def record(self, image: str) -> None:
        """Write down what image the disk is from, unless that is known."""
        if self.current.exists() and not self.image.exists():
            new = self.directory / "disk.image.new"
            new.write_text(image)
            new.rename(self.image)

    def prepare(self, image: str, size: int, make: Callable[[Path], None]) -> None:
        """Make the next disk, or take a previous one that is the same.

        :param size: in bytes, or 0 for any
        :param make: makes a disk, which may take long
        """
        # Nova's own word is about the next one already.
        self.record(_UNKNOWN)
        # There is none from the current one's image, which is to be made anew: see `trim`.
        kept = self._kept_from(image, size)
        if kept:
            LOG.info("Taking up previous root %s", kept)
            kept.rename(self.next)
            return
        _remove(self.new)
        make(self.new)
        self.new.rename(self.next)

    def is_cut_off(self) -> bool:
        """Return whether a rebuild is under way, or was cut off."""
        return any(one.exists() for one in (self.new, self.next, self.old))

    def is_swapped(self) -> bool:
        """Return whether there is an old disk."""
        return self.old.exists()

    def swap(self) -> None:
        """Put the next disk in the place of the current one, which becomes the old one."""
        if self.current.exists():
            self.current.rename(self.old)
        for one in self.besides:
            if one.exists():
                one.rename(_old(one))
        self.next.rename(self.current)

    def keep(self) -> None:
        """Make the old disk the latest previous one."""
        if self.old.exists():
            latest = max((number for number, _image, _path in self._kept()), default=0)
            image = _read(_old(self.image)) or _UNKNOWN
            self.old.rename(self.directory / f"disk.kept-{latest + 1}.{image}")

    def go_back(self) -> None:
        """Put the old disk in its place again, if it is not there, and forget the next one."""
        if self.old.exists():
            if self.current.exists():
                for one in self.besides:
                    if not _old(one).exists():
                        _remove(one)
                self.current.unlink()
            for one in self.besides:
                if _old(one).exists():
                    _remove(one)
                    _old(one).rename(one)
            self.old.rename(self.current)
        _remove(self.next)
        _remove(self.new)

    def trim(self, count: int) -> None:
        """Remove all but `count` previous disks, and those from the current one's image."""
        now = _read(self.image)
        kept = self._kept()
        same = [path for _number, image, path in kept if image == now]
        others = [path for _number, image, path in kept if image != now]
        for path in (*same, *others[count:]):
            LOG.info("Removing previous root %s", path)
            path.unlink()
        for one in self.besides if not self.is_swapped() else ():
            _remove(_old(one))

    def _kept(self) -> list[tuple[int, str, Path]]:
        """Return number, image and path of previous disks, the latest first."""
        found = [(_KEPT.fullmatch(path.name), path) for path in self.directory.glob("disk.kept-*")]
        return sorted(((int(m[1]), m[2], path) for m, path in found if m), reverse=True)

    def _kept_from(self, image: str, size: int) -> Path | None:
        for _number, found, path in self._kept():
            if found == image and size in (0, path.stat().st_size):
                return path
        return None


def _old(path: Path) -> Path:
    return path.with_name(f"{path.name}.old")


def _read(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
