"""What is being done, on standard error: one line per step, with the time it took.

On a terminal the steps that run are shown with a spinner; elsewhere a step is announced when it
begins. Threads may have steps of their own at the same time. Secrets made known by :func:`hide`
never appear in anything that goes through here.
"""

import collections.abc
import contextlib
import dataclasses
import threading
import time

import rich.console
import rich.status
import rich.text

_SHORTEST_SECRET = 6
_hidden: set[str] = set()


@dataclasses.dataclass(slots=True)
class _State:
    """How to show things; one per process, set once by the command line."""

    console: rich.console.Console
    debug: bool = False


_state = _State(rich.console.Console(stderr=True, highlight=False, soft_wrap=True))
_running: list["Step"] = []
# Held by the thread that changes what is shown.
_showing = threading.RLock()


class Step:
    """A step that runs."""

    def __init__(self, text: str, instance: str | None) -> None:
        self.title = f"{text}  {instance}" if instance else text
        self.thread = threading.get_ident()
        self.start = time.monotonic()
        self.note = ""

    def progress(self, text: str) -> None:
        """Show what the step is at; on a terminal only, it replaces the former text."""
        self.note = redact(text.strip())
        _show_running()
        debug(self.note)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the step began."""
        return time.monotonic() - self.start


def set_debug(on: bool) -> None:
    """Show debug lines, too."""
    _state.debug = on


def is_debug() -> bool:
    """Whether debug lines are shown."""
    return _state.debug


def hide(secrets: collections.abc.Iterable[str]) -> None:
    """Have these never printed: every occurrence becomes ``***``."""
    _hidden.update(secret for secret in secrets if len(secret) >= _SHORTEST_SECRET)


def redact(text: str) -> str:
    """The text without the secrets that are known."""
    for secret in sorted(_hidden, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


@contextlib.contextmanager
def step(text: str, instance: str | None = None) -> collections.abc.Iterator[Step]:
    """Say that a step begins, and when it ends what it took."""
    this = Step(text, instance)
    with _showing:
        _running.append(this)
        if not _state.console.is_terminal:
            _print(f"     ...  {this.title}")
        _show_running()
    outcome = "failed: "
    try:
        yield this
        outcome = ""
    finally:
        with _showing:
            _running.remove(this)
            _stop_spinner()
            _print(f"{this.elapsed_s:7.1f}s  {outcome}{this.title}")
            _show_running()


def info(text: str) -> None:
    """Say something that is not a step."""
    _print(text)


def debug(text: str) -> None:
    """Say something that only helps to find a fault."""
    if _state.debug:
        _print(f"          {text}", style="dim")


def _print(text: str, style: str | None = None) -> None:
    _state.console.print(redact(text), style=style, markup=False)


_spinner: list[rich.status.Status] = []


def _show_running() -> None:
    with _showing:
        if not (_running and _state.console.is_terminal):
            return
        # Of each thread the innermost step.
        current = {one.thread: one for one in _running}.values()
        shown = " | ".join(f"{one.title}  {one.note}".strip() for one in current)
        text = rich.text.Text(redact(shown[: max(_state.console.width - 4, 20)]))
        if not _spinner:
            _spinner.append(_state.console.status(text))
            _spinner[0].start()
        else:
            _spinner[0].update(text)


def _stop_spinner() -> None:
    while _spinner:
        _spinner.pop().stop()
