"""Which tests a run has: of the heavy groups one, chosen by the commit, so that all take turns."""

import os
import subprocess

import pytest

CHOSEN = (
    *("isolated", "renewal", "combined", "kvm", "compute", "tempest"),
    *("upgrade", "undone", "killed", "repair", "faults", "failure"),
    *("drivers", "isolation", "documents"),
)
# Those that a run has only if it is asked for them by name, or for all.
NAMED = ("release", "migration", "nodes", "baremetal")
GROUPS = (*CHOSEN, *NAMED)
ALL = "all"


def turn() -> str:
    """The heavy group of this run: ALTOSTRATUS_TURN's, or the one that the commit chooses."""
    named = os.environ.get("ALTOSTRATUS_TURN")
    if named:
        return named
    asked = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    commit = asked.stdout.strip() or "0"
    return CHOSEN[int(commit, 16) % len(CHOSEN)]


def pytest_report_header() -> str:
    return f"heavy group of this run: {turn()} (of {', '.join(GROUPS)})"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    chosen = turn()
    left_out = [item for item in items if _group(item) not in (None, chosen) and chosen != ALL]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    # Groups of one file each deploy a cloud of their own: one after the other.
    items.sort(key=lambda item: (str(item.path), GROUPS.index(_group(item) or GROUPS[0])))


def _group(item: pytest.Item) -> str | None:
    marker = item.get_closest_marker("turn")
    if marker is None:
        return "drivers" if item.get_closest_marker("real") else None
    (group,) = marker.args
    assert group in GROUPS, f"{item.nodeid}: there is no heavy group {group!r}"
    return str(group)
