"""What holds for all unit tests."""

import pytest

from altostratus import elements


@pytest.fixture(autouse=True)
def elements_are_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of the program reads each element once; a test may change it in between."""
    monkeypatch.setattr(elements, "inputs", elements.inputs.__wrapped__)
