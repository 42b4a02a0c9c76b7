"""The guest image boots without hardware's help, has name and keys by metadata, and lets root in."""

import collections.abc
import contextlib
import pathlib
import shutil
import socket
import subprocess
import time

import pytest

from altostratus import guest

pytestmark = pytest.mark.build
_BOOT_S = 180
# QEMU starts it for each connection to the metadata service's address.
_METADATA = """\
#!/bin/sh
read -r _ path _
case $path in
*/hostname) answer=tried.novalocal ;;
*/openssh-key) answer=$(cat {key}.pub) ;;
*) answer= ;;
esac
printf 'HTTP/1.0 200 OK\\r\\nContent-Length: %s\\r\\n\\r\\n%s' "${{#answer}}" "$answer"
"""


@pytest.fixture(scope="module")
def machine(
    tmp_path_factory: pytest.TempPathFactory,
) -> collections.abc.Iterator[tuple[pathlib.Path, int]]:
    """A running guest: root's key, and the port at which its sshd is reached."""
    if shutil.which("qemu-system-x86_64") is None:
        pytest.skip("QEMU is not installed")
    folder = tmp_path_factory.mktemp("guest")
    key, answers = folder / "key", folder / "metadata"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    answers.write_text(_METADATA.format(key=key))
    answers.chmod(0o755)
    disk = shutil.copy(guest.build(), folder / "disk")
    port = _free_port()
    network = (
        f"user,id=n,net=169.254.0.0/16,hostfwd=tcp:127.0.0.1:{port}-:22,"
        f"guestfwd=tcp:169.254.169.254:80-cmd:{answers}"
    )
    with (folder / "console").open("wb") as console, contextlib.ExitStack() as undo:
        running = subprocess.Popen(
            ["qemu-system-x86_64", "-accel", "tcg", "-m", "192", "-nographic", "-serial", "stdio",
             "-monitor", "none", "-drive", f"file={disk},format=raw,if=virtio",
             "-netdev", network, "-device", "virtio-net-pci,netdev=n"],
            stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT,
        )  # fmt: skip
        undo.callback(running.wait)
        undo.callback(running.kill)
        _wait_ready(folder / "console", running)
        yield key, port


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _wait_ready(console: pathlib.Path, running: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _BOOT_S
    while b"altostratus-guest: ready" not in console.read_bytes():
        shown = console.read_text(errors="replace")[-2000:]
        assert running.poll() is None and time.monotonic() < deadline, shown
        time.sleep(0.2)


def _inside(machine: tuple[pathlib.Path, int], command: str) -> str:
    key, port = machine
    options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    return subprocess.run(
        ["ssh", "-q", "-i", key, "-p", str(port), *options, f"{guest.SSH_USER}@127.0.0.1", command],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout


def test_image_is_small() -> None:
    assert guest.build().stat().st_size <= 40 << 20


def test_root_is_let_in_with_the_key_of_the_metadata(machine: tuple[pathlib.Path, int]) -> None:
    assert _inside(machine, "id -u") == "0\n"
    assert _inside(machine, "hostname") == "tried\n"


def test_what_tempest_runs_inside_works(machine: tuple[pathlib.Path, int]) -> None:
    prologue = "set -eu -o pipefail; PATH=$PATH:/sbin:/usr/sbin; "
    _inside(machine, prologue + "sudo ip address")
    _inside(machine, prologue + "ping -c1 -w1 -s56 169.254.2.2")
    url = "http://169.254.169.254/latest/meta-data/hostname"
    assert _inside(machine, prologue + f"curl {url}") == "tried.novalocal"
    _inside(machine, prologue + "curl -X POST -d secret http://169.254.169.254/openstack/password")
    assert _inside(machine, "grep -c ^processor /proc/cpuinfo") == "1\n"
