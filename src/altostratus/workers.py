"""Things that are made of one another, several at a time, each when all that it needs is there.

A thing is a file or a folder that takes its name when it is complete: what is there is made.
"""

import collections
import collections.abc
import contextlib
import dataclasses
import graphlib
import pathlib
import queue
import threading
import time

from altostratus import errors, run

_AGAIN_S = 0.2


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """A file or folder, how it is made, and what must be there before."""

    target: pathlib.Path
    make: collections.abc.Callable[[], object] = dataclasses.field(compare=False)
    needs: tuple["Part", ...] = dataclasses.field(default=(), compare=False)


_Ended = queue.SimpleQueue[tuple[Part, Exception | None]]


def make(wanted: collections.abc.Iterable[Part], at_once: int) -> None:
    """Make what is missing of these and of what they need, so many at a time.

    Where one fails, those that are being made are made to their end, and no others are begun; an
    interrupt ends all of them. Raises :class:`errors.Error` with what failed.
    """
    needs = missing(wanted)
    order = graphlib.TopologicalSorter(needs)
    order.prepare()
    turns = _turns(needs)
    ready: list[Part] = []
    failed: list[Exception] = []
    ended: _Ended = queue.SimpleQueue()
    running = 0
    with _ended_by_interrupt() as threads:
        while order.is_active():
            ready = sorted((*ready, *order.get_ready()), key=lambda part: turns[part])
            while ready and not failed and running < at_once:
                threads.append(threading.Thread(target=_make, args=(ready.pop(0), ended)))
                threads[-1].start()
                running += 1
            if not running:
                break
            part, error = _next(ended)
            running -= 1
            if error:
                failed.append(error)
            else:
                order.done(part)
    if failed:
        raise _told_together(failed)


def _make(part: Part, ended: _Ended) -> None:
    try:
        part.make()
    except Exception as error:  # noqa: BLE001 (whatever it is: it is told in the thread that waits)
        ended.put((part, error))
    else:
        ended.put((part, None))


def _next(ended: _Ended) -> tuple[Part, Exception | None]:
    while True:
        # An interrupt that comes just before a wait is seen only after it, so none is long.
        with contextlib.suppress(queue.Empty):
            return ended.get(timeout=_AGAIN_S)


def missing(wanted: collections.abc.Iterable[Part]) -> dict[Part, set[Part]]:
    """What has to be made, each with those of its needs that have to be made as well.

    What is there needs nothing any more.
    """
    found: dict[Part, None] = {}
    _find(wanted, found)
    return {part: {need for need in part.needs if need in found} for part in found}


def _find(parts: collections.abc.Iterable[Part], found: dict[Part, None]) -> None:
    for part in parts:
        if part not in found and not part.target.exists():
            _find(part.needs, found)
            found[part] = None


def _turns(needs: dict[Part, set[Part]]) -> dict[Part, tuple[int, int]]:
    """What says which of those that can be made comes first: that has the least turn.

    It is what most others wait for, at once or in the end. What one other waits for at most is
    made in the caller's order: one whole thing after another, and not all halves first.
    """
    below: dict[Part, set[Part]] = {}
    for part in graphlib.TopologicalSorter(needs).static_order():
        below[part] = needs[part].union(*(below[need] for need in needs[part]))
    awaited = collections.Counter(need for found in below.values() for need in found)
    return {part: (-max(awaited[part], 1), place) for place, part in enumerate(needs)}


@contextlib.contextmanager
def _ended_by_interrupt() -> collections.abc.Iterator[list[threading.Thread]]:
    """A place for threads, whose programs end with them where this thread is interrupted."""
    threads: list[threading.Thread] = []
    try:
        yield threads
    except KeyboardInterrupt:
        # A thread may have begun this moment, or be between two programs.
        alive = threads
        while alive:
            run.end_all()
            time.sleep(_AGAIN_S)
            alive = [thread for thread in threads if thread.is_alive()]
        raise


def _told_together(failed: list[Exception]) -> Exception:
    """One error that says of each what failed; a bug comes before what was foreseen."""
    foreseen = [error for error in failed if isinstance(error, errors.Error)]
    if len(foreseen) < len(failed):
        return next(error for error in failed if error not in foreseen)
    messages = dict.fromkeys(error.message for error in foreseen)
    return errors.Error("\n".join(messages), hint=foreseen[0].hint)
