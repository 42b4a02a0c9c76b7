"""The linters of Python hold for the whole project."""

import pathlib
import subprocess
import sys

import pytest

REPOSITORY = pathlib.Path(__file__).parents[2]
BENCH = (
    "bench/quickstart",
    "bench/images",
    "bench/control-plane",
    "bench/upgrade",
    "bench/upgrade-control-plane",
)


@pytest.mark.parametrize(
    "command",
    [
        ("ruff", "check", "src", "tests", "nova-driver", *BENCH),
        ("ruff", "format", "--check", "src", "tests", *BENCH),
        ("mypy", "src/altostratus"),
        ("mypy", "--config-file=nova-driver/pyproject.toml", "nova-driver/nova_altostratus"),
    ],
    ids=" ".join,
)
def test_python_passes(command: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
