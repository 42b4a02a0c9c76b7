"""Each folder of tests/golden is a case: its files in, the results that are kept there out.

``ALTOSTRATUS_GOLDEN=write ./altostratus test --fast`` writes the results anew: look at the diff.
The larger results are kept where a case is about them.
"""

import os
import pathlib

import pytest

from tests.unit import golden

_FOLDER = pathlib.Path(__file__).parents[1] / "golden"
_ALWAYS = {"plan.txt", "findings.txt"}
_RESULTS = {*_ALWAYS, "metadata.json", "stack.json"}


@pytest.mark.parametrize("case", sorted(path.name for path in _FOLDER.iterdir()))
def test_case(case: str) -> None:
    folder = _FOLDER / case
    results = golden.results(folder)
    if os.environ.get("ALTOSTRATUS_GOLDEN") == "write":
        for name, content in results.items():
            if name in _ALWAYS or (folder / name).exists():
                (folder / name).write_text(content)
        for name in _RESULTS - results.keys():
            (folder / name).unlink(missing_ok=True)
    kept = {path.name for path in folder.iterdir()} & _RESULTS
    # A case keeps the results that it is about, at least one of them.
    assert kept
    assert kept <= results.keys()
    for name in kept:
        assert results[name] == (folder / name).read_text(), f"{case}/{name}"
