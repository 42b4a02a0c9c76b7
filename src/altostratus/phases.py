"""How long each part of a run took."""

import collections.abc
import contextlib
import time

from altostratus import log


class Phases:
    """The parts of one run, in their order."""

    def __init__(self) -> None:
        self._took: list[tuple[str, float]] = []

    @contextlib.contextmanager
    def phase(self, name: str) -> collections.abc.Iterator[None]:
        """Time what is done inside ``with``."""
        log.info(f"== {name}")
        start = time.monotonic()
        yield
        self._took.append((name, time.monotonic() - start))

    def to_text(self) -> str:
        """One line per phase, and the sum."""
        total = sum(seconds for _, seconds in self._took)
        lines = [f"{name:20} {seconds:7.1f} s" for name, seconds in [*self._took, ("sum", total)]]
        return "\n".join(lines)
