"""The one door to privileged programs. nova-compute runs as root where these drivers run."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nova.privsep
import vif_plug_ovs.privsep
from oslo_concurrency import processutils


def do_without_helpers() -> None:
    """Let nova's and os-vif's privileged functions run in this process if it is root's.

    Their helper processes, started through sudo, would gain nothing but a dependency on sudo.
    """
    if os.geteuid() == 0:
        nova.privsep.sys_admin_pctxt.set_client_mode(False)
        vif_plug_ovs.privsep.vif_plug.set_client_mode(False)


class Root:
    """Runs the machine's own programs, never an instance's."""

    def run(self, *command: str, stdin: str | None = None, ok: tuple[int, ...] = (0,)) -> str:
        """Run a program and return what it prints.

        :raises processutils.ProcessExecutionError: its status is not one of `ok`
        """
        output, _errors = processutils.execute(
            *command, process_input=stdin, check_exit_code=list(ok)
        )
        return output

    def in_network_of(self, pid: int, *command: str, stdin: str | None = None) -> str:
        """Run a program of the machine's in the network namespace of a process."""
        return self.in_network(f"/proc/{pid}/ns/net", *command, stdin=stdin)

    def in_network(self, namespace: str, *command: str, stdin: str | None = None) -> str:
        """Run a program of the machine's in a network namespace, named by a path."""
        return self.run("nsenter", f"--net={namespace}", "--", *command, stdin=stdin)

    def words(self, pid: int) -> bytes:
        """Return the command line of a process, or nothing if it has ended."""
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            return b""

    @contextmanager
    def network_held(self, pid: int) -> Iterator[str]:
        """Keep the network namespace of a process though the process ends; yield a path to it."""
        with open(f"/proc/{pid}/ns/net") as held:
            yield f"/proc/{os.getpid()}/fd/{held.fileno()}"
