"""The commands of the documents that look and change nothing, as a reader of them would type them."""

import collections.abc
import concurrent.futures
import os
import pathlib
import re
import subprocess

import pytest

from tests.e2e import clouds

pytestmark = [pytest.mark.usefixtures("deployed"), pytest.mark.turn("documents")]

PAGES = (clouds.ROOT / "README.md", *sorted((clouds.ROOT / "docs").rglob("*.md")))
# As they stand in blocks of their own.
COMMAND = re.compile(r"^    ((?:\./altostratus|openstack --os-cloud) [^\n]*[^\\\n])$", re.MULTILINE)
LOOKS = re.compile(
    r"openstack --os-cloud \w+ .*(list|show|issue)\b"
    r"|\./altostratus (overcloud (check|plan|status|verify|history|why)"
    r"|undercloud status|image (list|manifest|prune --dry-run))\b"
)
# They need what the first cloud has not, or write a file.
ELSEWHERE = re.compile(r"--tempest|--out|--hypervisor|secrets\.yaml|MACHINE|console|baremetal")
AT_ONCE = 3
# What stands for a file, and the one that is taken without one, are left out.
FILES = {"FILE", "lab.yaml", "examples/quickstart.yaml"}

_Outcome = concurrent.futures.Future[subprocess.CompletedProcess[str]]


def commands() -> list[str]:
    """Each of them once."""
    found = [one for page in PAGES for one in COMMAND.findall(page.read_text())]
    looks = [one for one in found if LOOKS.match(one) and not ELSEWHERE.search(one)]
    words = [one.replace("INSTANCE", "identity").split() for one in looks]
    return sorted({" ".join(word for word in one if word not in FILES) for one in words})


@pytest.fixture(scope="module")
def outcomes() -> collections.abc.Iterator[dict[str, _Outcome]]:
    """What each of them does; they change nothing, so that several may be under way."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        yield {command: pool.submit(run, command) for command in commands()}


@pytest.mark.parametrize("command", commands())
def test_command_of_the_documents_does(command: str, outcomes: dict[str, _Outcome]) -> None:
    done = outcomes[command].result()
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout


def run(command: str) -> subprocess.CompletedProcess[str]:
    """Run it as a reader would, with the standard client at hand."""
    path = f"{pathlib.Path(clouds.CLIENT).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", command],
        cwd=clouds.ROOT,
        env={**os.environ, "PATH": path, "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=clouds.COMMAND_S,
        check=False,
    )
