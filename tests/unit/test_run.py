"""Programs that are run to their end, and those that stay."""

import pathlib
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
