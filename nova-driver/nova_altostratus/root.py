"""The one door to privileged programs. nova-compute runs as root where these drivers run."""

from oslo_concurrency import processutils


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
        return self.run("nsenter", f"--net=/proc/{pid}/ns/net", "--", *command, stdin=stdin)
