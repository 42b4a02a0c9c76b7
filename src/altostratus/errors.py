"""The errors that a user is meant to see.

Error                a failure that was foreseen: one message, one hint, exit status 1
├── FindingsError    mistakes in a deployment file or obstacles to it, all at once: exit status 3
├── Held             somebody else changes the overcloud at this moment
├── NotMoved         a machine of an overcloud could not be moved to another compute node
├── StackFailed      Heat could not carry out a stack; names the resource that failed
├── StalePlan        the undercloud is no longer what a kept plan was made from
├── UpgradeFailed    an instance did not do with another image; says what is on which
└── VerifyFailed     a cloud does not do what it should, seen from outside
"""

import collections.abc
import dataclasses
import difflib
import enum


class Exit(enum.IntEnum):
    """The exit statuses of the command line."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    FINDINGS = 3
    CHANGES_PENDING = 4
    BUG = 70


class Error(Exception):
    """Something failed in a foreseen way: one message, and a hint of what to do."""

    exit_status = Exit.FAILED

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where in a file a finding is: line counted from 1, and the keys that lead there."""

    file: str
    line: int
    key: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" + (f": {self.key}" if self.key else "")


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One mistake or obstacle: where, the cause, and what to do about it."""

    place: Place
    message: str
    hint: str | None = None

    def __str__(self) -> str:
        hint = f"\n    hint: {self.hint}" if self.hint else ""
        return f"{self.place}: {self.message}{hint}"


class FindingsError(Error):
    """All that speaks against a deployment; nothing was touched."""

    exit_status = Exit.FINDINGS

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        ordered = sorted(findings, key=lambda found: (found.place, found.message))
        self.findings = tuple(ordered)
        count = f"{len(ordered)} finding{'s' if len(ordered) != 1 else ''}"
        super().__init__("\n".join([*map(str, ordered), f"{count}; nothing was changed"]))


class Held(Error):
    """Somebody else changes the overcloud at this moment."""


class NotMoved(Error):
    """A machine could not be moved to another compute node."""


class StackFailed(Error):
    """Heat could not carry out a stack."""


class StalePlan(Error):
    """The undercloud is no longer what a kept plan was made from."""


class UpgradeFailed(Error):
    """An instance did not do with another image."""


class VerifyFailed(Error):
    """A cloud does not do what it should."""


def unknown(what: str, given: str, known: collections.abc.Iterable[str]) -> tuple[str, str | None]:
    """The message and the hint about a word that is none of the known ones."""
    known = tuple(known)
    close = difflib.get_close_matches(given, known, n=1)
    meant = f"did you mean {close[0]!r}? " if close else ""
    return f"there is no {what} {given!r}", f"{meant}known: {', '.join(known)}"
