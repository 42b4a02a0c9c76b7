"""The only door to other programs."""

import collections.abc
import dataclasses
import shlex
import subprocess

from altostratus import errors


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

    Raises :class:`errors.Error` if it fails and ``check`` is set.
    """
    done = subprocess.run(
        command, env=env, input=input, capture_output=True, text=True, check=False
    )
    if check and done.returncode:
        shown = command[0] if secret else shlex.join(command)
        raise errors.Error(f"{shown} failed: {done.stderr.strip()}")
    return Completed(done.returncode, done.stdout, done.stderr)
