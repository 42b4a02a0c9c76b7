"""The probe for hardware virtualisation boots something, and believes nothing else."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

PROBE = (
    pathlib.Path(__file__).parents[2]
    / "elements/libvirt-qemu/static/usr/local/sbin/probe-virtualization"
)
QEMU = "qemu-system-x86_64"


def probe(*arguments: str, **environment: str) -> dict[str, str]:
    """What the probe finds."""
    done = subprocess.run(
        [sys.executable, PROBE, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found: dict[str, str] = json.loads(done.stdout)["libvirt"]
    return found


@pytest.fixture
def device(tmp_path: pathlib.Path) -> str:
    """Something that can be opened."""
    (tmp_path / "kvm").touch()
    return str(tmp_path / "kvm")


def put(tmp_path: pathlib.Path, script: str) -> str:
    """A PATH on which QEMU is a script."""
    (tmp_path / QEMU).write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / QEMU).chmod(0o755)
    return f"{tmp_path}:{os.environ['PATH']}"


def test_without_the_device_machines_are_emulated(tmp_path: pathlib.Path) -> None:
    found = probe(KVM_DEVICE=str(tmp_path / "kvm"))
    assert (found["virt_type"], found["cpu_mode"]) == ("qemu", "none")
    assert "there is no" in found["reason"]


@pytest.mark.parametrize(
    ("script", "virt_type", "words"),
    [
        ("echo Unable to mount root fs on unknown-block", "kvm", "a kernel booted"),
        ("exit 0", "qemu", "exit status 0"),
        ("echo failed to initialize kvm >&2; exit 1", "qemu", "failed to initialize kvm"),
        ("echo failed to set MSR >&2; echo Aborted >&2; exit 134", "qemu", "failed to set MSR"),
        ("exec sleep 60", "qemu", "hangs"),
    ],
)
def test_machine_decides(
    tmp_path: pathlib.Path, device: str, script: str, virt_type: str, words: str
) -> None:
    path = put(tmp_path, script)
    found = probe(KVM_DEVICE=device, PATH=path, PROBE_TIMEOUT_S="1")
    assert found["virt_type"] == virt_type
    assert words in found["reason"]
