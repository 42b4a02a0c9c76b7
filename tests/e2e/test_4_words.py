"""Any of the three on docker or on lxc by changing its word: the same services the other way round."""

import pathlib

import pytest

from tests.e2e import clouds

pytestmark = [pytest.mark.usefixtures("deployed"), pytest.mark.turn("upgrade")]


def test_every_service_runs_on_the_other_hypervisor(tmp_path: pathlib.Path) -> None:
    clouds.altostratus("overcloud", "delete")
    text = (clouds.ROOT / "examples/quickstart.yaml").read_text()
    file = tmp_path / "swapped.yaml"
    swapped = text.replace("default_hypervisor: docker", "default_hypervisor: lxc")
    file.write_text(swapped.replace("hypervisor: lxc}", "hypervisor: docker}"))
    clouds.altostratus("overcloud", "deploy", str(file), timeout_s=clouds.DEPLOY_S)
    clouds.altostratus("overcloud", "verify", str(file))
    found = {one["name"]: one["hypervisor"] for one in clouds.status(str(file))["instances"]}
    assert found == {"database": "docker", "identity": "lxc", "images": "lxc"}
