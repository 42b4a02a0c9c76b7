"""What the end-to-end tests use the two clouds with: the same commands as an operator."""

import collections.abc
import functools
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
from typing import Any

from cryptography import fernet

from altostratus import keypair, machine
from altostratus.errors import Exit
from altostratus.undercloud import CONTAINER

ROOT = pathlib.Path(__file__).parents[2]
CLIENT = str(pathlib.Path(sys.executable).with_name("openstack"))
DEPLOY_S = 3000
COMMAND_S = 300
INTO_STEP_S = 5
SHORTEST_SECRET = 16
_CERTIFICATE = re.compile(r"-+BEGIN CERTIFICATE-+.*?-+END CERTIFICATE-+", re.DOTALL)


def altostratus(*arguments: str, timeout_s: float = COMMAND_S, ok: bool = True) -> Any:
    """Run the launcher; the completed process, whose output is text."""
    if {"deploy", "delete", "devtest", "renew"} & {*arguments}:
        addresses.cache_clear()
        secrets_of.cache_clear()
    done = subprocess.run(
        [str(ROOT / "altostratus"), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert not ok or done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    return done


def have_deployed(file: str) -> None:
    """Deploy an overcloud in the place of another, unless it is the one that is there."""
    planned = altostratus("overcloud", "plan", "--detailed-exitcode", file, ok=False)
    if planned.returncode != Exit.DONE:
        altostratus("overcloud", "delete")
        altostratus("devtest", file, timeout_s=DEPLOY_S)


def kill_during(step: str, *arguments: str, checkout: pathlib.Path | None = None) -> None:
    """Run the program and kill it, with all that it started, a moment after a step begins."""

    def kill(running: subprocess.Popen[str]) -> None:
        time.sleep(INTO_STEP_S)
        os.killpg(running.pid, signal.SIGKILL)

    do_during(step, kill, *arguments, checkout=checkout)


def do_during(
    step: str,
    act: collections.abc.Callable[[subprocess.Popen[str]], None],
    *arguments: str,
    checkout: pathlib.Path | None = None,
) -> tuple[int, str]:
    """Run the launcher, or the program of another checkout, and do something when a step begins; its
    exit status, and what it said."""
    program = [sys.executable, "-m", "altostratus"] if checkout else [str(ROOT / "altostratus")]
    path = {"PYTHONPATH": str(checkout / "src")} if checkout else {}
    with subprocess.Popen(
        [*program, *arguments],
        cwd=checkout or ROOT,
        env=os.environ | path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as running:
        assert running.stdout is not None
        said = []
        acted = False
        for line in running.stdout:
            said.append(line)
            if not acted and f"...  {step}" in line:
                acted = True
                act(running)
    assert acted, f"{arguments} never came to {step!r}:\n{''.join(said)}"
    return running.returncode, "".join(said)


def openstack(cloud: str, *arguments: str) -> Any:
    """What the standard client answers, as data."""
    done = subprocess.run(
        [CLIENT, "--os-cloud", cloud, *arguments, "-f", "json"],
        capture_output=True,
        text=True,
        timeout=COMMAND_S,
        check=False,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    return json.loads(done.stdout)


def in_undercloud(*command: str, ok: bool = True, stdin: str | None = None) -> str:
    """What a command prints in the undercloud instance."""
    done = subprocess.run(
        ["docker", "exec", "--interactive", CONTAINER, *command],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=COMMAND_S,
        check=False,
    )
    assert not ok or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def status(file: str | None = None) -> Any:
    """What ``overcloud status`` says, as data."""
    return json.loads(
        altostratus("overcloud", "status", "--json", *([file] if file else [])).stdout
    )


@functools.cache
def addresses() -> dict[str, str]:
    """The control address of each instance, which it keeps until something is deployed."""
    # Of the first cloud's file, which may not be what is deployed: some have none.
    found = {one["name"]: one["addresses"] for one in status()["instances"]}
    return {name: one["control"] for name, one in found.items() if one}


@functools.cache
def secrets_of(instance: str) -> frozenset[str]:
    """The secrets that an instance was given, as it unsealed them."""
    key = in_instance(instance, "cat /etc/altostratus/seal.key").strip()
    sealed = in_instance(instance, "os-apply-config --key sealed --type raw").strip()
    return frozenset({*leaves(json.loads(fernet.Fernet(key).decrypt(sealed))), key})


def in_instance(instance: str, script: str, stdin: str | None = None) -> str:
    """What a script prints that root runs in an instance, over ssh."""
    done = ssh(addresses()[instance], script, stdin)
    assert done.returncode == 0, f"{instance}: {script}: {done.stdout}{done.stderr}"
    return done.stdout


def ssh(address: str, script: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a script as root of the instance at an address."""
    options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "ConnectTimeout=10"]
    return subprocess.run(
        [
            "ssh",
            "-q",
            *(part for option in options for part in ("-o", option)),
            "-i",
            str(keypair.path("demo")),
            f"root@{address}",
            script,
        ],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=COMMAND_S,
        check=False,
    )


def leaves(tree: object) -> list[str]:
    """What in a tree may be secret: its longer words, and the lines of keys."""
    if isinstance(tree, dict):
        return [leaf for branch in tree.values() for leaf in leaves(branch)]
    if isinstance(tree, list):
        return [leaf for branch in tree for leaf in leaves(branch)]
    # What is in lines is PEM: certificates are for everybody, and the lines of keys are secret, but
    # not what they are between.
    lines = _CERTIFICATE.sub("", tree).splitlines() if isinstance(tree, str) else []
    return [one for one in lines if len(one) >= SHORTEST_SECRET and not one.startswith("-----")]


def undercloud_metadata() -> Any:
    """The metadata that the undercloud is configured with, secrets included."""
    path = machine.state_dir() / "undercloud" / "local-data" / "undercloud.json"
    return json.loads(path.read_text())
