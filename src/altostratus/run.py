"""The only door to other programs."""

import collections.abc
import dataclasses
import os
import pathlib
import shlex
import shutil
import signal
import subprocess

from altostratus import errors, log

_LAST_LINES = 20
# Programs that some thread waits for.
_running: set[subprocess.Popen[str]] = set()


@dataclasses.dataclass(frozen=True, slots=True)
class Completed:
    """How a program ended and what it said."""

    returncode: int
    stdout: str
    stderr: str


def run(
    command: collections.abc.Sequence[str],
    *,
    env: collections.abc.Mapping[str, str] | None = None,
    check: bool = True,
    input: str | None = None,
    secret: bool = False,
) -> Completed:
    """Run a program to its end; ``env`` is its whole environment.

    ``secret`` says that arguments and input are nobody's business: only the program's name is
    ever shown. Raises :class:`errors.Error` if the program is not there, or if it fails and
    ``check`` is set.
    """
    shown = f"{command[0]} ***" if secret else shlex.join(command)
    log.debug(f"$ {shown}")
    try:
        done = _to_its_end(command, env, input)
    except FileNotFoundError as exc:
        raise errors.Error(f"{command[0]} is not installed") from exc
    if check and done.returncode:
        raise errors.Error(f"{shown} failed with status {done.returncode}{_said(done, secret)}")
    return done


def attached(command: collections.abc.Sequence[str]) -> int:
    """Run a program that speaks to the user itself; its exit status."""
    with subprocess.Popen(command) as program:
        while True:
            try:
                return program.wait()
            except KeyboardInterrupt:
                # The terminal has told the program, too: it ends in its own way.
                continue


def end_all() -> None:
    """Kill the programs that other threads run at this moment; their runs fail."""
    for program in list(_running):
        program.kill()


def lines(
    command: collections.abc.Sequence[str],
    *,
    cwd: pathlib.Path,
    env: collections.abc.Mapping[str, str],
) -> collections.abc.Generator[str]:
    """What a program says, line by line while it runs, whatever its status is in the end.

    Who stops listening ends it, with the programs that it has started.
    """
    log.debug(f"$ {shlex.join(command)}")
    with subprocess.Popen(
        command,
        cwd=cwd,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        process_group=0,
    ) as started:
        assert started.stdout is not None
        try:
            for line in started.stdout:
                yield line.rstrip("\n")
        except BaseException:
            os.killpg(started.pid, signal.SIGTERM)
            raise


def spawn(command: collections.abc.Sequence[str], *, logfile: pathlib.Path) -> None:
    """Start a program that outlives this process, in a session of its own and nobody's child.

    Raises :class:`errors.Error` where it cannot be started; what it says later is in ``logfile``.
    """
    log.debug(f"$ {shlex.join(command)} >> {logfile} &")
    if shutil.which(command[0]) is None:
        raise errors.Error(f"{command[0]} is not installed")
    with logfile.open("ab") as output:
        subprocess.run(
            ["setsid", "--fork", *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=True,
        )


def _to_its_end(
    command: collections.abc.Sequence[str],
    env: collections.abc.Mapping[str, str] | None,
    input: str | None,
) -> Completed:
    with subprocess.Popen(
        command,
        env=env,
        stdin=None if input is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        _running.add(program)
        try:
            stdout, stderr = program.communicate(input)
        except BaseException:
            program.kill()
            raise
        finally:
            _running.discard(program)
    return Completed(program.returncode, stdout, stderr)


def _said(done: Completed, secret: bool) -> str:
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    if secret or not lines:
        return ""
    return ": " + "\n".join(lines[-_LAST_LINES:])
