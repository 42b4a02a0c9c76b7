"""Starting and stopping an instance's container: wired before its init runs, or not at all."""

import contextlib
import errno
import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from nova import exception
from oslo_concurrency import lockutils, processutils
from oslo_log import log as logging

from nova_altostratus import container, delegate, network, rebuild, statedisk
from nova_altostratus.conf import CONF
from nova_altostratus.engine import Container, Engine
from nova_altostratus.root import Root

LOG = logging.getLogger(__name__)

_GATE_TIMEOUT_S = 30.0


class StartError(exception.NovaException):
    """An instance's container did not come as far as its init."""

    msg_fmt = "Instance %(uuid)s cannot be started: %(reason)s"


class Lifecycle:
    """What happens between a created container and a running instance, and back.

    Docker cannot start a container paused, so PID 1 waits at a gate (`container.INIT`). Meanwhile
    its interfaces are moved in, and its cgroup is handed over. Then the gate opens.
    """

    def __init__(self, engine: Engine, net: network.Network, root: Root, virtapi: Any) -> None:
        self.engine = engine
        self.network = net
        self.root = root
        self.virtapi = virtapi

    def boot(
        self,
        instance: Any,
        network_info: Any,
        *,
        wait: bool = False,
        kept: network.Kept | None = None,
    ) -> None:
        """Wire and start an instance's container, or leave it stopped and unwired.

        :param wait: for Neutron to say that the ports work, where they do not yet
        :param kept: the interfaces of the container before, in place of new ones
        :raises VirtualInterfaceCreateException: a port did not come up and
            `vif_plugging_is_fatal` is set
        """
        with lockutils.lock(f"altostratus-{instance.uuid}"), ExitStack() as undo:
            undo.callback(self.unwire, instance, network_info)
            undo.callback(self._kill, instance.uuid)
            make_gate(container.place(instance).gate)
            try:
                with self._plugged(instance, network_info if wait else ()):
                    started = self._start(instance, network_info, kept)
            except exception.InstanceEventTimeout as error:
                _refuse_if_fatal(instance, error)
            self._open_gate(instance, started)
            undo.pop_all()

    def stop(self, instance: Any, network_info: Any, timeout_s: int) -> None:
        """Shut an instance down, killing it after `timeout_s`, and take its wires away."""
        with lockutils.lock(f"altostratus-{instance.uuid}"):
            if self.engine.get(instance.uuid).status == "paused":
                # A frozen process cannot obey.
                self.engine.unpause(instance.uuid)
            self.engine.stop(instance.uuid, timeout_s)
            self.unwire(instance, network_info)

    def change_root(
        self,
        instance: Any,
        network_info: Any,
        roots: rebuild.Roots,
        between: Callable[[], object],
    ) -> None:
        """Stop an instance and start it from its next root, or bring the old one back.

        :param between: is done while it is stopped
        """
        old = self.engine.find(instance.uuid)
        with ExitStack() as held:
            kept = self._kept(old, network_info, held)
            timeout_s = CONF.altostratus.shutdown_timeout

            def stop() -> None:
                if old:
                    self.stop(instance, () if kept else network_info, timeout_s)

            def start() -> None:
                between()
                expected = network_info if kept else network.awaited(network_info)
                self.boot(instance, expected, wait=kept is None, kept=kept)

            def start_again() -> None:
                if old and old.running and not self.engine.get(instance.uuid).running:
                    self.boot(instance, network_info)

            rebuild.change_root(instance, roots, rebuild.Power(stop, start, start_again))

    def _kept(
        self, old: Container | None, network_info: Any, held: ExitStack
    ) -> network.Kept | None:
        """Keep the interfaces of a running container, so that its ports stay up.

        Making them anew takes the switch, its agent and Neutron seconds.
        """
        if old is None or not old.running:
            return None
        namespace = held.enter_context(self.root.network_held(old.pid))
        return self.network.kept(namespace, network.nics(network_info))

    def unwire(self, instance: Any, network_info: Any) -> None:
        """Take an instance's interfaces away."""
        for vif, nic in _wires(network_info):
            self.network.unplug(instance, vif, nic)

    def rewire(self, instance: Any, network_info: Any) -> None:
        """See that the ports of a running instance's interfaces exist."""
        for vif, nic in _wires(network_info):
            self.network.replug(instance, vif, nic)

    def attach(self, instance: Any, vif: Any) -> None:
        """Give a running instance another interface; a stopped one gets it when it starts."""
        found = self.engine.get(instance.uuid)
        if not found.running:
            return
        used = self.network.names(found.pid)
        first = next(n for n in range(len(used) + 1) if f"eth{n}" not in used)
        (nic,) = network.nics([vif], first)
        with ExitStack() as undo:
            undo.callback(self.network.unplug, instance, vif, nic)
            self.network.plug(instance, vif, nic)
            self.network.enter(found.pid, nic)
            undo.pop_all()

    def clear_gates(self) -> None:
        """Stop the containers that a dead nova-compute left waiting: they have no network."""
        for labels in self.engine.containers():
            uuid = labels[container.LABEL]
            found = self.engine.find(uuid)
            if found and found.status == "running" and is_at_gate(self.root.words(found.pid)):
                LOG.warning("Instance %s was left half started; stopping it", uuid)
                self._kill(uuid)

    def _plugged(self, instance: Any, network_info: Any) -> Any:
        events = [
            ("network-vif-plugged", vif["id"])
            for vif in network_info
            # A port that is up already, or of which nothing is known, will not come up again.
            if vif.get("active", True) is False and CONF.vif_plugging_timeout
        ]
        return self.virtapi.wait_for_instance_event(
            instance,
            events,
            timeout=CONF.vif_plugging_timeout,
            error_callback=_plugging_failed,
        )

    def _start(
        self, instance: Any, network_info: Any, kept: network.Kept | None = None
    ) -> Container:
        wires = _wires(network_info)
        # Plugged first: Neutron works on the ports while the container starts.
        for vif, nic in wires if kept is None else ():
            self.network.plug(instance, vif, nic)
        with self._state_disk(instance):
            self.engine.start(instance.uuid)
        started = self.engine.get(instance.uuid)
        if not started.pid:
            raise StartError(uuid=instance.uuid, reason=f"it ended at once ({started.exit_code})")
        self._hand_over_cgroup(instance, started)
        for _vif, nic in wires:
            self.network.enter(started.pid, nic, kept)
        return started

    def _state_disk(self, instance: Any) -> Any:
        disk = statedisk.wanted(instance)
        if disk is None:
            return contextlib.nullcontext()
        base = self.engine.about().user_base
        return statedisk.mounted(disk, container.place(instance).state, base, self.root)

    def _hand_over_cgroup(self, instance: Any, started: Container) -> None:
        base = self.engine.about().user_base
        arguments = [str(Path(delegate.__file__)), str(started.pid), str(base)]
        if container.is_privileged(instance):
            arguments.append(delegate.WITH_SYSFS)
        try:
            self.root.run(sys.executable, "-ISE", *arguments)
        except processutils.ProcessExecutionError as error:
            raise StartError(uuid=instance.uuid, reason=str(error.stderr).strip()) from error

    def _open_gate(self, instance: Any, started: Container) -> None:
        gate = container.place(instance).gate
        deadline = time.monotonic() + _GATE_TIMEOUT_S
        while not open_gate(gate):
            if time.monotonic() > deadline or not self.engine.get(instance.uuid).running:
                raise StartError(uuid=instance.uuid, reason="its first process does not wait")
            time.sleep(0.01)
        LOG.debug("Init of process %d released", started.pid, instance=instance)

    def _kill(self, uuid: str) -> None:
        found = self.engine.find(uuid)
        if found and found.running:
            self.engine.stop(uuid, 0)


def make_gate(gate: Path) -> None:
    """Make the pipe that a container's first process waits at."""
    gate.unlink(missing_ok=True)
    os.mkfifo(gate)
    gate.chmod(0o444)


def open_gate(gate: Path) -> bool:
    """Let a container's first process go on; return whether it was there."""
    try:
        descriptor = os.open(gate, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return False
    with os.fdopen(descriptor, "wb") as pipe:
        pipe.write(b"go\n")
    return True


def is_at_gate(words: bytes) -> bool:
    """Return whether a container's first process, by its words, still waits at its gate."""
    return container.GATE.encode() in words


def _wires(network_info: Any) -> list[tuple[Any, network.Nic]]:
    return list(zip(network_info, network.nics(network_info), strict=True))


def _plugging_failed(event_name: str, instance: Any) -> bool:
    LOG.error("Neutron reported a failure: %s", event_name, instance=instance)
    if CONF.vif_plugging_is_fatal:
        raise exception.VirtualInterfaceCreateException()
    return True


def _refuse_if_fatal(instance: Any, error: Exception) -> None:
    if CONF.vif_plugging_is_fatal:
        raise exception.VirtualInterfaceCreateException() from error
    LOG.warning("Starting without working ports: %s", error, instance=instance)
