"""A copy of this checkout with other elements: what an operator has who upgrades."""

import os
import pathlib
import shutil
import subprocess
import sys

from tests.e2e import clouds

# Of an image whose element has changed. It is the same in every run: an image that was built for
# an earlier run serves this one.
NEW_FILE = "etc/new-in-this-image"


def with_new_elements(folder: pathlib.Path, *elements: str) -> pathlib.Path:
    """A copy in a folder in which these elements bring a further file, with their name in it."""
    copy = folder / "checkout"
    shutil.copytree(clouds.ROOT, copy, ignore=shutil.ignore_patterns(".venv", ".git", "build"))
    for element in elements:
        file = copy / "elements" / element / "static" / NEW_FILE
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{element}\n")
    return copy


def run(checkout: pathlib.Path, *arguments: str) -> str:
    """What the program of another checkout says."""
    with started(checkout, *arguments) as program:
        stdout, stderr = program.communicate(timeout=clouds.DEPLOY_S)
    assert program.returncode == 0, stdout + stderr
    return stdout


def started(checkout: pathlib.Path, *arguments: str) -> subprocess.Popen[str]:
    """The program of another checkout, while it runs."""
    return subprocess.Popen(
        [sys.executable, "-m", "altostratus", *arguments],
        env={**os.environ, "PYTHONPATH": str(checkout / "src")},
        cwd=checkout,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
