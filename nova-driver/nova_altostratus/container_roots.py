"""The roots of an instance under Docker: containers, told apart by their names."""

import re
import shutil
from collections.abc import Callable
from typing import Any

from oslo_log import log as logging

from nova_altostratus import container, rebuild
from nova_altostratus.engine import Engine, Root

LOG = logging.getLogger(__name__)


class ContainerRoots:
    """The container of an instance, the next one, the old one and previous ones.

    A rename is the engine's own step that is done or not. Where no container has the instance's
    name, the old one is it.
    """

    def __init__(self, engine: Engine, uuid: str) -> None:
        self.engine = engine
        self.uuid = uuid
        self.current = container.name(uuid)
        self.next = f"{self.current}.next"
        self.old = f"{self.current}.old"

    def prepare(
        self,
        instance: Any,
        nameservers: list[str],
        fetch: Callable[[], tuple[str, bool]],
        write: Callable[[int], None],
    ) -> None:
        """Make the next container, or take a previous one that is the same.

        :param fetch: gives the engine's id of the instance's image, which may take long
        :param write: writes the config drive of one of the instance's containers
        """
        found = self._all()
        kept = self._kept_from(instance.image_ref, found)
        image = kept.image if kept else fetch()[0]
        if kept and _is_made_by(kept, instance, nameservers):
            LOG.info("Taking up previous root %s", kept.name, instance=instance)
            write(_number(kept))
            self.engine.rename(kept.name, self.next)
            return
        used = {_number(one) for one in found.values()}
        number = next(number for number in range(len(used) + 1) if number not in used)
        write(number)
        self.engine.create(self.next, container.spec(instance, image, nameservers, number))

    def recover(self) -> bool:
        """Put a rebuild right that was cut off; return whether one was."""
        cut_off = self.is_cut_off()
        now = self.engine.find(self.uuid)
        rebuild.recover(self, is_up=bool(now and now.running))
        return cut_off

    def is_cut_off(self) -> bool:
        """Return whether a rebuild is under way, or was cut off."""
        return bool({self.next, self.old} & self._all().keys())

    def swap(self) -> None:
        """Give the next container the instance's name; the one that had it is the old one."""
        if self.current in self._all():
            self.engine.rename(self.current, self.old)
        self.engine.rename(self.next, self.current)

    def keep(self) -> None:
        """Make the old container the latest previous one."""
        found = self._all()
        if self.old in found:
            latest = max((self._age(name) for name in self._kept(found)), default=0)
            self.engine.rename(self.old, f"{self.current}.kept-{latest + 1}")

    def go_back(self) -> None:
        """Give the old container the instance's name again, and remove the next one."""
        found = self._all()
        if self.old in found:
            self._remove(found.get(self.current))
            self.engine.rename(self.old, self.current)
        self._remove(found.get(self.next))

    def trim(self, count: int) -> None:
        """Remove all but `count` previous containers, and those from the current one's image."""
        found = self._all()
        now = _image(found.get(self.current))
        kept = [found[name] for name in self._kept(found)]
        same = [one for one in kept if now and _image(one) == now]
        others = [one for one in kept if one not in same]
        for one in (*same, *others[count:]):
            LOG.info("Removing previous root %s", one.name)
            self._remove(one)

    def remove(self) -> None:
        """Remove all containers of the instance."""
        for one in self._all().values():
            self.engine.remove(one.name)

    def _all(self) -> dict[str, Root]:
        return {one.name: one for one in self.engine.roots(self.uuid)}

    def _kept(self, found: dict[str, Root]) -> list[str]:
        """Return the names of previous containers, the latest first."""
        return sorted((name for name in found if self._age(name)), key=self._age, reverse=True)

    def _age(self, name: str) -> int:
        """Return the number that a previous container has in its name, or 0."""
        found = re.fullmatch(rf"{re.escape(self.current)}\.kept-(\d+)", name)
        return int(found[1]) if found else 0

    def _kept_from(self, image: str, found: dict[str, Root]) -> Root | None:
        # There is none from the current one's image, which is to be made anew: see `trim`.
        kept = (found[name] for name in self._kept(found))
        return next((one for one in kept if _image(one) == image), None)

    def _remove(self, one: Root | None) -> None:
        if one:
            # First, so that no config drive outlives what it belongs to.
            config_drive = container.place_of(self.uuid).config_drive(_number(one))
            shutil.rmtree(config_drive, ignore_errors=True)
            self.engine.remove(one.name)


def recover(engine: Engine) -> list[str]:
    """Put rebuilds right that were cut off; return the ids of their instances."""
    uuids = {one.labels[container.LABEL] for one in engine.roots()}
    return [uuid for uuid in sorted(uuids) if ContainerRoots(engine, uuid).recover()]


def _image(one: Root | None) -> str | None:
    return one.labels.get(container.LABEL_IMAGE) if one else None


def _number(one: Root) -> int:
    return int(one.labels.get(container.LABEL_NUMBER, 0))


def _is_made_by(one: Root, instance: Any, nameservers: list[str]) -> bool:
    """Return whether a container is what would be made for an instance now."""
    wanted = container.spec(instance, one.image, nameservers, _number(one))
    digest = wanted["Labels"][container.LABEL_DIGEST]
    return one.labels.get(container.LABEL_DIGEST) == digest
