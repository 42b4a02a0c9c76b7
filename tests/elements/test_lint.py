"""The linters of diskimage-builder and of the shell hold for every element."""

import os
import pathlib
import subprocess
import sys

import pytest

REPOSITORY = pathlib.Path(__file__).parents[2]
ELEMENTS = REPOSITORY / "elements"
FOLDERS = ("elements", "tests/fake_hypervisor/elements")


def is_shell(path: pathlib.Path) -> bool:
    with path.open("rb") as file:
        return file.readline().strip() in (b"#!/bin/bash", b"#!/bin/sh")


def scripts() -> list[str]:
    folders = [REPOSITORY / name for name in (*FOLDERS, "tools")]
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    return [str(path.relative_to(REPOSITORY)) for path in files if is_shell(path)]


def lint(*command: str, **environment: str) -> None:
    tools = pathlib.Path(sys.executable).parent
    path = f"{tools}:{os.environ['PATH']}"
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    said = (done.stdout + done.stderr).splitlines()
    quiet = ("Checking ", "Parsing ", "Skipping ")
    assert done.returncode == 0, "\n".join(line for line in said if not line.startswith(quiet))


@pytest.mark.parametrize("folder", FOLDERS)
def test_elements_pass_dib_lint(folder: str) -> None:
    lint("dib-lint", ELEMENTS_DIR=folder, LIB_DIR=folder)


def test_scripts_pass_shellcheck() -> None:
    lint("shellcheck", "--severity", "style", "--exclude", "SC1091,SC2086", *scripts())


@pytest.mark.parametrize("element", sorted(path.name for path in ELEMENTS.iterdir()))
def test_element_is_documented_under_its_own_name(element: str) -> None:
    title = (ELEMENTS / element / "README.rst").read_text().splitlines()[1]
    assert title == element


def test_hooks_of_different_elements_have_different_names() -> None:
    """diskimage-builder merges all elements' folders and refuses a file that is there twice."""
    seen: dict[tuple[str, str], str] = {}
    for hook in sorted(ELEMENTS.glob("*/*.d/*")):
        other = seen.setdefault((hook.parent.name, hook.name), hook.parts[-3])
        assert other == hook.parts[-3], f"{hook.name} is in {other} and in {hook.parts[-3]}"
