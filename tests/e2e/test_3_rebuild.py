"""Upgrade and rollback: new images change the roots of instances and nothing else."""

import os
import pathlib
import shutil
import subprocess
import sys
from typing import Any

import pytest

from tests.e2e import clouds

pytestmark = pytest.mark.usefixtures("deployed")

REBUILT = {"database": "mariadb", "identity": "keystone"}  # LXC and Docker
# The same in every run: an image that was built for an earlier run serves this one.
IN_IMAGE = "etc/new-in-this-image"
MARK = "/etc/written-on-this-root"


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A copy of this checkout in which the elements of two services have changed."""
    copy = tmp_path_factory.mktemp("changed") / "checkout"
    shutil.copytree(clouds.ROOT, copy, ignore=shutil.ignore_patterns(".venv", ".git", "build"))
    for element in REBUILT.values():
        file = copy / "elements" / element / "static" / IN_IMAGE
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{element}\n")
    return copy


def test_new_image_changes_the_root_and_nothing_else(changed: pathlib.Path) -> None:
    before = {instance: facts(instance) for instance in REBUILT}
    for instance in REBUILT:
        clouds.in_instance(instance, f"touch {MARK} /mnt/state/written-before; sync")
    assert "the image (the server is rebuilt) of database" in run_in(changed, "plan")
    said = run_in(changed, "upgrade")
    assert [line.split()[0] for line in said.splitlines()[1:]] == list(REBUILT)
    assert "Nothing to do" in run_in(changed, "upgrade")
    for instance, element in REBUILT.items():
        assert facts(instance) == before[instance]
        assert clouds.in_instance(instance, f"cat /{IN_IMAGE}") == f"{element}\n"
        clouds.in_instance(instance, f"test ! -e {MARK} && test -e /mnt/state/written-before")
    clouds.altostratus("overcloud", "verify")


def test_way_back_takes_up_the_root_that_was_kept() -> None:
    before = {instance: facts(instance) for instance in REBUILT}
    clouds.altostratus("overcloud", "rollback", timeout_s=clouds.DEPLOY_S)
    for instance in REBUILT:
        assert facts(instance) == before[instance]
        clouds.in_instance(instance, f"rm {MARK} /mnt/state/written-before")
    assert "Nothing to do" in clouds.altostratus("overcloud", "deploy").stdout


def facts(instance: str) -> Any:
    """What of a server no rebuild may change."""
    found = clouds.openstack("undercloud", "server", "show", f"demo-{instance}")
    ports = clouds.openstack("undercloud", "port", "list", "--server", found["id"])
    state = clouds.in_instance(instance, "stat --file-system --format %i /mnt/state")
    return found["id"], found["addresses"], sorted(port["ID"] for port in ports), state


def run_in(checkout: pathlib.Path, command: str) -> str:
    """What a command of another checkout says to the overcloud that is there."""
    done = subprocess.run(
        [sys.executable, "-m", "altostratus", "overcloud", command],
        env={**os.environ, "PYTHONPATH": str(checkout / "src")},
        cwd=checkout,
        capture_output=True,
        text=True,
        timeout=clouds.DEPLOY_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
