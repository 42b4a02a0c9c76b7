"""Images of others, and those that nothing uses, by the commands that an operator has."""

import pathlib

import pytest

from altostratus import cloud
from tests.e2e import clouds

pytestmark = [pytest.mark.usefixtures("deployed"), pytest.mark.turn("documents")]


def test_a_file_is_loaded_with_the_only_hypervisor_that_may_run_it(
    tmp_path: pathlib.Path,
) -> None:
    file = tmp_path / "other.raw"
    file.write_bytes(bytes(range(256)) * 256)
    load = ("image", "load", str(file), "--name", "e2e-other", "--hypervisor-type", "lxc")
    identity = clouds.altostratus(*load).stdout.strip()
    images = cloud.connect("undercloud").image
    try:
        found = images.get_image(identity)
        assert (found.name, found.disk_format, found.status) == ("e2e-other", "raw", "active")
        assert found.hypervisor_type == "lxc"
        assert images.get(f"/images/{identity}/file").content == file.read_bytes()
    finally:
        images.delete_image(identity)


def test_a_file_without_the_option_may_run_anywhere(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "anywhere.raw"
    file.write_bytes(b"anything")
    identity = clouds.altostratus("image", "load", str(file)).stdout.strip()
    images = cloud.connect("undercloud").image
    try:
        found = images.get_image(identity)
        assert (found.name, found.hypervisor_type) == ("anywhere", None)
    finally:
        images.delete_image(identity)


def test_images_of_instances_are_listed_as_used_and_not_pruned() -> None:
    rows = clouds.altostratus("image", "list").stdout.splitlines()
    used = {row.split()[0] for row in rows if "1 server" in row and "loaded" in row}
    assert {"altostratus-mariadb-lxc", "altostratus-keystone-docker"} <= used
    doomed = clouds.altostratus("image", "prune", "--dry-run").stdout
    servers = list(cloud.connect("undercloud").compute.servers())
    assert len(servers) >= len(used)
    assert not [one.name for one in servers if one.image.id in doomed]
