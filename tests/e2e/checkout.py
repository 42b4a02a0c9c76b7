"""A copy of this checkout with other elements: what an operator has who upgrades."""

import collections.abc
import os
import pathlib
import shutil
import subprocess
import sys

from tests.e2e import clouds

NEW_FILE = "etc/new-in-this-image"


def with_new_elements(folder: pathlib.Path, *elements: str) -> pathlib.Path:
    """A copy in a folder in which these elements bring a further file, with their name in it."""
    return changed(folder, {f"{one}/static/{NEW_FILE}": f"{one}\n" for one in elements})


def changed(folder: pathlib.Path, files: collections.abc.Mapping[str, str]) -> pathlib.Path:
    """A copy in a folder with further files of elements, which may be scripts.

    What changes is the same in every run: an image that was built for an earlier run serves this
    one.
    """
    copy = folder / "checkout"
    shutil.copytree(clouds.ROOT, copy, ignore=shutil.ignore_patterns(".venv", ".git", "build"))
    for name, content in files.items():
        file = copy / "elements" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        file.chmod(0o755 if content.startswith("#!") else 0o644)
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
