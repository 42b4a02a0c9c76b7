"""Networks are made before anything else is, by the deployer or by the commands of the how-to."""

import os
import pathlib
import re
import subprocess

import pytest

from tests.e2e import clouds

pytestmark = [pytest.mark.usefixtures("deployed"), pytest.mark.turn("documents")]

PAGE = clouds.ROOT / "docs/howto/networks.md"
FILE = str(clouds.ROOT / "examples/quickstart.yaml")


def names() -> set[str]:
    return {one["Name"] for one in clouds.openstack("undercloud", "network", "list")}


def test_setup_makes_networks_and_nothing_else() -> None:
    clouds.altostratus("overcloud", "delete")
    assert "create network" in clouds.altostratus("overcloud", "plan", FILE).stdout
    clouds.altostratus("network", "setup", FILE)
    assert names() == {"control", "demo-internal_api"}
    assert clouds.openstack("undercloud", "stack", "list") == []
    assert "Nothing to do" in clouds.altostratus("network", "setup", FILE).stdout
    clouds.altostratus("overcloud", "delete")
    assert names() == {"control"}


def test_commands_of_the_how_to_make_the_same(tmp_path: pathlib.Path) -> None:
    (block,) = re.findall(r"^    export OS_CLOUD=.*(?:\n    .*)*", PAGE.read_text(), re.MULTILINE)
    script = tmp_path / "networks.sh"
    script.write_text(f"set -eu\n{block}\n")
    programs = f"{pathlib.Path(clouds.CLIENT).parent}:{os.environ['PATH']}"
    subprocess.run(["bash", str(script)], env={**os.environ, "PATH": programs}, check=True)
    assert "Nothing to do" in clouds.altostratus("network", "setup", FILE).stdout
