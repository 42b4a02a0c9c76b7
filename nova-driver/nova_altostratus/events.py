"""Tells Nova at once what happens to containers, from the engine's stream of events."""

import threading
from collections.abc import Callable
from typing import Any

from nova import exception
from nova.compute import power_state
from nova.virt import event as virtevent
from oslo_log import log as logging

from nova_altostratus import container
from nova_altostratus.engine import Engine

LOG = logging.getLogger(__name__)

TRANSITIONS = {
    "start": virtevent.EVENT_LIFECYCLE_STARTED,
    "die": virtevent.EVENT_LIFECYCLE_STOPPED,
    "pause": virtevent.EVENT_LIFECYCLE_PAUSED,
    "unpause": virtevent.EVENT_LIFECYCLE_RESUMED,
}
_OF_STATE = {
    power_state.RUNNING: virtevent.EVENT_LIFECYCLE_STARTED,
    power_state.PAUSED: virtevent.EVENT_LIFECYCLE_PAUSED,
}
_RETRY_S = 2.0
_REBOOTED = "129"  # what a PID namespace ends with when its init calls reboot(2): SIGHUP


class Watcher:
    """A thread that follows the engine's events, through restarts of the engine too."""

    def __init__(
        self,
        engine: Engine,
        emit: Callable[[virtevent.Event], None],
        start_again: Callable[[str], None],
    ) -> None:
        self.engine = engine
        self.emit = emit
        self.start_again = start_again
        self._known: dict[str, int] = {}
        self._ended = threading.Event()
        self._stream: Any = None
        self._thread = threading.Thread(target=self._follow, name="docker-events", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Stop to watch."""
        self._ended.set()
        if self._stream is not None:
            self._stream.close()
        if self._thread.is_alive():
            self._thread.join(_RETRY_S)

    def _follow(self) -> None:
        while not self._ended.is_set():
            try:
                with self.engine.events() as self._stream:
                    # The stream is open: what happened before it was is seen here, once.
                    self._catch_up()
                    for message in self._stream:
                        self._tell(message)
            except Exception as error:
                # Whatever broke the stream, watching goes on.
                LOG.warning("Docker events ended (%s); asking again", error)
            self._ended.wait(_RETRY_S)

    def _tell(self, message: dict[str, Any]) -> None:
        action = message.get("Action", "")
        attributes = message.get("Actor", {}).get("Attributes", {})
        uuid = attributes.get(container.LABEL)
        if uuid and attributes.get("name") != container.name(uuid):
            return  # It is not the instance's own container, but a next or a previous one.
        transition = TRANSITIONS.get(action)
        if uuid and action == "destroy":
            self._known.pop(uuid, None)
        if transition is None or not uuid:
            return
        resumed = transition == virtevent.EVENT_LIFECYCLE_RESUMED
        self._known[uuid] = virtevent.EVENT_LIFECYCLE_STARTED if resumed else transition
        if action == "die" and attributes.get("exitCode") == _REBOOTED:
            # On a thread of its own: to start takes long, and is seen as an event itself.
            threading.Thread(target=self._start_again, args=(uuid,), daemon=True).start()
            return
        self.emit(virtevent.LifecycleEvent(uuid, transition))

    def _start_again(self, uuid: str) -> None:
        try:
            self.start_again(uuid)
        except Exception:
            LOG.exception("Instance %s rebooted itself and cannot be started again", uuid)
            self.emit(virtevent.LifecycleEvent(uuid, virtevent.EVENT_LIFECYCLE_STOPPED))

    def _catch_up(self) -> None:
        """Tell what an engine that was away did not: containers die with it."""
        for labels in self.engine.containers():
            uuid = labels[container.LABEL]
            try:
                state = self.engine.get(uuid).power_state
            except exception.InstanceNotFound:
                continue
            now = _OF_STATE.get(state, virtevent.EVENT_LIFECYCLE_STOPPED)
            before = self._known.get(uuid)
            self._known[uuid] = now
            if before is not None and before != now:
                self.emit(virtevent.LifecycleEvent(uuid, now))
