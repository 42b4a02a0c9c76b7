"""A hold is taken over only from a run that is known to have ended."""

import os

import pytest

from altostratus import lock

HERE = lock.Holder("root", "node", str(os.getpid()), "boot", "2026-11-23 10:00:00 UTC")
NOBODY = str(2**22 + 1)


@pytest.mark.parametrize(
    ("host", "pid", "boot", "gone"),
    [
        pytest.param("node", HERE.pid, "boot", False, id="this run"),
        ("node", NOBODY, "boot", True),
        pytest.param("node", HERE.pid, "boot before", True, id="this run's number before a boot"),
        ("other", NOBODY, "boot", False),
        ("other", NOBODY, "other boot", False),
    ],
)
def test_only_a_run_of_this_machine_is_known_to_have_ended(
    host: str, pid: str, boot: str, gone: bool
) -> None:
    assert lock.is_gone(lock.Holder("root", host, pid, boot, HERE.since), HERE) == gone
