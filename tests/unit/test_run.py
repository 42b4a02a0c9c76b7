"""Programs that are run to their end, and those that stay."""

import pathlib
import signal
import threading
import time

import pytest

from altostratus import errors, run

LINGER = "echo started; echo aside >&2; exec sleep 1"
PATIENCE_S = 10


def children() -> set[str]:
    tasks = pathlib.Path("/proc/self/task").glob("*/children")
    return {child for task in tasks for child in task.read_text().split()}


def test_spawned_program_outlives_its_starter_without_being_its_child(
    tmp_path: pathlib.Path,
) -> None:
    logfile = tmp_path / "log"
    before = children()
    run.spawn(["sh", "-c", LINGER], logfile=logfile)
    deadline = time.monotonic() + PATIENCE_S
    while "aside" not in logfile.read_text() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert logfile.read_text() == "started\naside\n"
    assert children() <= before


def test_spawning_what_is_not_installed_is_an_error(tmp_path: pathlib.Path) -> None:
    with pytest.raises(errors.Error, match="no-such-program is not installed"):
        run.spawn(["no-such-program"], logfile=tmp_path / "log")


def test_a_program_gets_its_input_and_says_what_it_says() -> None:
    done = run.run(["sh", "-c", "cat; echo aside >&2; exit 3"], input="in\n", check=False)
    assert done == run.Completed(3, "in\n", "aside\n")


def test_programs_of_other_threads_can_be_ended() -> None:
    ended: list[run.Completed] = []
    started = threading.Thread(
        target=lambda: ended.append(run.run(["sleep", "60"], check=False)), daemon=True
    )
    started.start()
    deadline = time.monotonic() + PATIENCE_S
    while not ended and time.monotonic() < deadline:
        run.end_all()
        time.sleep(0.01)
    assert [one.returncode for one in ended] == [-signal.SIGKILL]


def test_who_stops_listening_ends_a_program_with_what_it_started(tmp_path: pathlib.Path) -> None:
    beside = tmp_path / "pid"
    script = f"sleep 60 & echo $! > {beside}; echo started; wait"
    said = run.lines(["sh", "-c", script], cwd=tmp_path, env={"PATH": "/usr/bin:/bin"})
    assert next(said) == "started"
    said.close()
    process = pathlib.Path("/proc", beside.read_text().strip())
    deadline = time.monotonic() + PATIENCE_S
    while _lives(process) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _lives(process)


def _lives(process: pathlib.Path) -> bool:
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
