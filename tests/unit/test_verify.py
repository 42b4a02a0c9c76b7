"""What verifying a cloud says: all that does not work, in the order of the checks."""

import threading

import pytest

from altostratus import errors, verify


def test_all_that_fails_is_told_in_order() -> None:
    later = threading.Event()

    def slow() -> None:
        # It fails after the next one has: both are under way.
        assert later.wait(10)
        raise errors.Error("no answer")

    def quick() -> None:
        later.set()
        raise errors.Error("a wrong answer")

    checks = [("a", slow), ("b", lambda: None), ("c", quick)]
    with pytest.raises(errors.VerifyFailed) as caught:
        verify._run("overcloud", checks)
    assert caught.value.message.splitlines()[1:] == [
        "  a: NO: no answer",
        "  c: NO: a wrong answer",
    ]


def test_nothing_is_said_where_all_is_well() -> None:
    verify._run("overcloud", [("a", lambda: None)])
