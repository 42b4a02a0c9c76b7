"""Another root for an instance: the next one is made while it runs, and the old one is kept.

Both drivers go this way, each with its own kind of roots. A root takes its name when it is
complete, and until the instance is up on the next one the old one is marked: a nova-compute that
dies anywhere leaves it to `recover` to finish or to undo.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Protocol

from nova import context as nova_context
from nova import objects
from nova.compute import task_states, vm_states
from oslo_log import log as logging

from nova_altostratus.conf import CONF

LOG = logging.getLogger(__name__)

_ATTRIBUTES = ["flavor", "info_cache", "metadata", "system_metadata"]


class Roots(Protocol):
    """The roots of one instance: the current one, perhaps the next, and previous ones."""

    def is_cut_off(self) -> bool:
        """Return whether a rebuild is under way, or was cut off."""

    def swap(self) -> None:
        """Put the next root in the place of the current one, which becomes the old one."""

    def keep(self) -> None:
        """Make the old root a previous one."""

    def go_back(self) -> None:
        """Put the old root in its place again, if it is not there, and forget the next one."""

    def trim(self, count: int) -> None:
        """Remove all but `count` previous roots, and those from the current one's image."""


@dataclass(frozen=True, slots=True)
class Power:
    """How an instance stops, starts from its next root, and starts again from the old one."""

    stop: Callable[[], None]
    start: Callable[[], None]
    start_again: Callable[[], None]


def announce(instance: Any) -> None:
    """Tell Nova that all is fetched: the state that it expects when a driver has rebuilt."""
    instance.task_state = task_states.REBUILD_SPAWNING
    instance.save(expected_task_state=[task_states.REBUILDING])


def change_root(instance: Any, roots: Roots, power: Power) -> None:
    """Stop an instance and start it from its next root, or bring the old one back."""
    with ExitStack() as failed:
        failed.callback(_bring_back, instance, roots, power)
        power.stop()
        roots.swap()
        power.start()
        failed.pop_all()
    try:
        roots.keep()
        roots.trim(CONF.altostratus.previous_roots)
    except Exception:
        # The instance is up on its new root; the next start of nova-compute takes this up again.
        LOG.exception("Cannot put the old root away", instance=instance)


def _bring_back(instance: Any, roots: Roots, power: Power) -> None:
    LOG.warning("The rebuild failed; bringing the old root back", instance=instance)
    try:
        roots.go_back()
        power.start_again()
    except Exception:
        # What made the rebuild fail is what Nova must hear.
        LOG.exception("The old root cannot be brought back", instance=instance)


def recover(roots: Roots, is_up: bool) -> None:
    """Put a rebuild right that was cut off: it has happened if the new root is up, or has not."""
    if roots.is_cut_off():
        if is_up:
            roots.keep()
        roots.go_back()
    roots.trim(CONF.altostratus.previous_roots)


def instance(uuid: str) -> Any:
    """Return what Nova knows of an instance."""
    return objects.Instance.get_by_uuid(nova_context.get_admin_context(), uuid, _ATTRIBUTES)


def is_to_run(instance: Any) -> bool:
    """Return whether an instance whose rebuild was cut off ran before it."""
    return bool(instance.vm_state == vm_states.ACTIVE)
