"""Parts are made once, after what they need, several at a time; and end together when they fail."""

import collections.abc
import os
import pathlib
import signal
import threading
import time

import pytest

from altostratus import errors, run, workers
from altostratus.workers import Part

PATIENCE_S = 10


class Place:
    """A folder in which parts are made, and what happened there."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.begun: list[str] = []
        self.made: list[str] = []

    def part(
        self, name: str, *needs: Part, make: collections.abc.Callable[[], object] = bool
    ) -> Part:
        """A part that does something and then is there."""
        target = self.folder / name

        def carry_out() -> None:
            assert all(need.target.exists() for need in needs)
            self.begun.append(name)
            make()
            target.touch()
            self.made.append(name)

        return Part(target, carry_out, needs)


@pytest.fixture
def place(tmp_path: pathlib.Path) -> Place:
    return Place(tmp_path)


def test_parts_are_made_once_and_after_what_they_need(place: Place) -> None:
    base = place.part("base")
    python = place.part("python", base)
    images = [place.part(f"image-{number}", base, python) for number in range(4)]
    workers.make(images, 3)
    assert place.made[:2] == ["base", "python"]
    assert sorted(place.made[2:]) == [f"image-{number}" for number in range(4)]


def test_what_is_there_needs_nothing_any_more(place: Place) -> None:
    base = place.part("base")
    there, lacking = place.part("there", base), place.part("lacking", place.part("other"))
    there.target.touch()
    workers.make([there, lacking], 2)
    assert place.made == ["other", "lacking"]


def test_as_many_are_made_at_a_time_as_may_be(place: Place) -> None:
    together = threading.Barrier(2, timeout=PATIENCE_S)
    workers.make([place.part(name, make=together.wait) for name in "abcd"], 2)
    assert sorted(place.made) == list("abcd")


def test_no_more_are_made_at_a_time_than_may_be(place: Place) -> None:
    made_at_once = []

    def count() -> None:
        made_at_once.append(len(place.begun) - len(place.made))
        time.sleep(0.01)

    workers.make([place.part(name, make=count) for name in "abcdef"], 2)
    assert max(made_at_once) == 2


def test_what_most_others_wait_for_comes_first(place: Place) -> None:
    needed = place.part("needed")
    workers.make([place.part("one"), place.part("two", needed), place.part("three", needed)], 1)
    assert place.made == ["needed", "one", "two", "three"]


def test_one_whole_thing_is_made_after_another(place: Place) -> None:
    base = place.part("base")
    images = [place.part(f"image-{name}", place.part(f"root-{name}", base)) for name in "ab"]
    workers.make(images, 1)
    assert place.made == ["base", "root-a", "image-a", "root-b", "image-b"]


def test_where_one_fails_those_that_were_begun_are_made_and_no_others(place: Place) -> None:
    failing = threading.Event()

    def fail() -> None:
        failing.set()
        raise errors.Error("no room", hint="make some")

    def outlast() -> None:
        assert failing.wait(PATIENCE_S)
        time.sleep(0.1)

    bad, good = place.part("bad", make=fail), place.part("good", make=outlast)
    parts = [bad, good, place.part("later"), place.part("on it", bad)]
    with pytest.raises(errors.Error, match="no room") as told:
        workers.make(parts, 2)
    assert told.value.hint == "make some"
    assert place.begun in (["bad", "good"], ["good", "bad"])
    assert place.made == ["good"]


def test_all_that_failed_is_told(place: Place) -> None:
    together = threading.Barrier(2, timeout=PATIENCE_S)

    def fail(text: str) -> None:
        together.wait()
        raise errors.Error(text)

    parts = [place.part(name, make=lambda name=name: fail(f"{name} failed")) for name in "ab"]
    with pytest.raises(errors.Error) as told:
        workers.make(parts, 2)
    assert sorted(told.value.message.splitlines()) == ["a failed", "b failed"]


def test_a_bug_comes_before_what_was_foreseen(place: Place) -> None:
    together = threading.Barrier(2, timeout=PATIENCE_S)

    def fail(error: Exception) -> None:
        together.wait()
        raise error

    found = [errors.Error("foreseen"), KeyError("bug")]
    parts = [
        place.part(str(number), make=lambda error=error: fail(error))
        for number, error in enumerate(found)
    ]
    with pytest.raises(KeyError, match="bug"):
        workers.make(parts, 2)


def test_an_interrupt_ends_what_runs(place: Place) -> None:
    both = threading.Barrier(3, timeout=PATIENCE_S)

    def sleep() -> None:
        both.wait()
        run.run(["sleep", "60"])

    def interrupt() -> None:
        both.wait()
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    start = time.monotonic()
    parts = [place.part(name, make=sleep) for name in "abc"]
    with pytest.raises(KeyboardInterrupt):
        workers.make(parts, 2)
    assert time.monotonic() - start < PATIENCE_S
    assert sorted(place.begun) == ["a", "b"]
    assert place.made == []
