"""One undercloud and one overcloud for all end-to-end tests: made once, and taken down at the end."""

import collections.abc
import os

import pytest

from tests.conftest import ALL, GROUPS, turn
from tests.e2e import clouds

KEEP = "ALTOSTRATUS_TEST_KEEP"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(clouds.ROOT / "tests" / "e2e"):
            item.add_marker(pytest.mark.undercloud)


# The steps that a first run is killed in, by turns: the next run must carry on from each.
INTERRUPTED_AT = ("configure the undercloud", "create stack")


@pytest.fixture(scope="session")
def deployed() -> collections.abc.Iterator[str]:
    """What ``./altostratus devtest`` says, after runs that were killed with kill -9.

    With ALTOSTRATUS_TEST_KEEP=1 the clouds that are there are used, and stay; with
    ALTOSTRATUS_TEST_KEEP=untouched nothing is deployed on them either, and nothing is said.
    """
    if os.environ.get(KEEP) == "untouched":
        yield ""
        return
    keep = os.environ.get(KEEP) == "1"
    if not keep:
        clouds.altostratus("undercloud", "down")
        for step in _interruptions():
            clouds.kill_during(step, "devtest")
    yield clouds.altostratus("devtest", timeout_s=clouds.DEPLOY_S).stdout
    if not keep:
        clouds.altostratus("undercloud", "down")


def _interruptions() -> tuple[str, ...]:
    """The steps for this run: one costs a minute, so that all are for the run of all groups."""
    if turn() == ALL:
        return INTERRUPTED_AT
    return (INTERRUPTED_AT[GROUPS.index(turn()) % len(INTERRUPTED_AT)],)
