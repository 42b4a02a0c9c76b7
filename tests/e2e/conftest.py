"""One undercloud and one overcloud for all end-to-end tests: made once, and taken down at the end."""

import collections.abc
import os

import pytest

from tests.e2e import clouds

KEEP = "ALTOSTRATUS_TEST_KEEP"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(clouds.ROOT / "tests" / "e2e"):
            item.add_marker(pytest.mark.undercloud)


# The steps during which the first runs are killed: the next run must carry on from each.
INTERRUPTED_AT = ("configure the undercloud", "create stack")


@pytest.fixture(scope="session")
def deployed() -> collections.abc.Iterator[str]:
    """What ``./altostratus devtest`` says, after two runs that were killed with kill -9.

    With ALTOSTRATUS_TEST_KEEP=1 the clouds that are there are used, and stay; with
    ALTOSTRATUS_TEST_KEEP=untouched nothing is deployed on them either, and nothing is said.
    """
    if os.environ.get(KEEP) == "untouched":
        yield ""
        return
    keep = os.environ.get(KEEP) == "1"
    if not keep:
        clouds.altostratus("undercloud", "down")
        for step in INTERRUPTED_AT:
            clouds.kill_during(step, "devtest")
    yield clouds.altostratus("devtest", timeout_s=clouds.DEPLOY_S).stdout
    if not keep:
        clouds.altostratus("undercloud", "down")
