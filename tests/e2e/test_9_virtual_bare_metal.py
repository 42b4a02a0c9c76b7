"""Bare metal: an undercloud with Ironic, and virtual machines with BMCs beside it.

It comes last, because it takes the undercloud of the tests before down: another one is made.
"""

import collections.abc
import pathlib

import pytest
import yaml

from altostratus import cloud
from tests.e2e import clouds

pytestmark = pytest.mark.turn("baremetal")

UP_S = 1800
COUNT = 2


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> collections.abc.Iterator[pathlib.Path]:
    """The file of the machines of a testbed, beside a straight bare-metal undercloud."""
    file = tmp_path_factory.mktemp("testbed") / "nodes.yaml"
    example = "examples/undercloud/only-baremetal.yaml"
    clouds.altostratus("undercloud", "down")
    clouds.altostratus("undercloud", "up", example, timeout_s=UP_S)
    clouds.altostratus("testbed", "up", "--machines", str(COUNT), str(file), timeout_s=UP_S)
    yield file
    clouds.altostratus("undercloud", "down")


def test_its_one_compute_process_is_ironics(nodes: pathlib.Path) -> None:
    compute = cloud.connect("undercloud").compute
    found = {one.host: one.state for one in compute.services(binary="nova-compute")}
    assert found == {"undercloud-ironic": "up"}
    config = clouds.in_undercloud("cat", "/etc/nova/compute/nova-ironic.conf")
    assert "compute_driver = ironic.IronicDriver" in config
    assert "state_path = /mnt/state/nova-ironic" in config


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bmc": "https://192.168.23.250"}, "(BMC https://192.168.23.250)"),
        ({"password_file": "/dev/null"}, "there is no password in /dev/null"),
        ({"password_env": "WRONG"}, "it refuses the user or the password"),
    ],
)
def test_one_that_cannot_be_enrolled_leaves_none(
    nodes: pathlib.Path,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, str],
    said: str,
) -> None:
    monkeypatch.setenv("WRONG", "not the password")
    content = yaml.safe_load(nodes.read_text())
    last = content["nodes"][f"testbed-{COUNT - 1}"]
    if "password_env" in change:
        del last["password_file"]
    last.update(change)
    file = tmp_path / "nodes.yaml"
    file.write_text(yaml.safe_dump(content))
    done = clouds.altostratus("node", "import", str(file), timeout_s=UP_S, ok=False)
    assert done.returncode == 1
    assert f"node testbed-{COUNT - 1}" in done.stderr
    assert said in done.stderr
    assert "testbed" not in clouds.altostratus("node", "list").stdout


def test_machines_are_enrolled_once(nodes: pathlib.Path) -> None:
    done = clouds.altostratus("node", "import", str(nodes), timeout_s=UP_S)
    assert done.stdout.split() == [f"testbed-{n}" for n in range(COUNT)]
    again = clouds.altostratus("node", "import", str(nodes))
    assert again.stdout == ""
    assert "nothing to do" in again.stderr


def test_a_machine_is_inspected_by_its_bmc(nodes: pathlib.Path) -> None:
    done = clouds.altostratus("node", "inspect", "testbed-0")
    assert "2048 MiB" in done.stdout
    assert "52:54:00:" in done.stdout


def test_a_machine_looks_at_itself(nodes: pathlib.Path) -> None:
    done = clouds.altostratus("node", "inspect", "--boot", "testbed-0", timeout_s=UP_S)
    assert "manageable" in done.stdout


def test_no_password_is_shown(nodes: pathlib.Path) -> None:
    password = pathlib.Path("/var/lib/altostratus/testbed/password").read_text()
    shown = clouds.in_undercloud("journalctl", "--unit", "ironic", "--no-pager")
    assert password not in shown
    assert password not in clouds.altostratus("--debug", "node", "list").stderr
