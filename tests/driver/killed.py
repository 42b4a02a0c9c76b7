"""Processes that are killed at a step, as nova-compute may be."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nova_altostratus

OURS = (str(Path(nova_altostratus.__file__).parent), str(Path(__file__).parent))


def runs_to_its_end(
    what: Callable[[], object], is_step: Callable[[Any, str], bool], kill_at: int
) -> bool:
    """Do something in a process that is killed before its `kill_at`th step.

    :param is_step: says whether a frame and a tracer's event are one
    """
    child = os.fork()
    if child == 0:
        try:
            _kill_at(kill_at, is_step)
            what()
            os._exit(0)
        finally:
            os._exit(1)
    _pid, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL), "it failed before it was killed"
    return status == 0


def _kill_at(step: int, is_step: Callable[[Any, str], bool]) -> None:
    left = step

    def trace(frame: Any, event: str, _argument: Any) -> Any:
        nonlocal left
        if not frame.f_code.co_filename.startswith(OURS):
            return None
        left -= is_step(frame, event)
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)
