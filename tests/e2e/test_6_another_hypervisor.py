"""A hypervisor of a further entry: Nova's fake driver beside the others, on the same node."""

import collections.abc
import contextlib
import pathlib
import re
from typing import Any

import pytest

from altostratus import cloud
from tests import fake_hypervisor
from tests.e2e import clouds

pytestmark = [pytest.mark.usefixtures("deployed"), pytest.mark.turn("documents")]

NAME = "another-hypervisor"
UP_S = 120
ENTRY = fake_hypervisor.ENTRY
CONFIG = "etc/nova/compute/nova-fake.conf"
PROVIDER = "etc/nova/provider-fake/trait.yaml"
DISCOVER = (
    "runuser -u nova -- /opt/openstack/bin/nova-manage --config-file /etc/nova/nova.conf"
    " cell_v2 discover_hosts"
)


@pytest.fixture
def host() -> collections.abc.Iterator[str]:
    """The host of the compute process, which is started as its element does it."""
    name = f"{clouds.undercloud_metadata()['altostratus']['instance']}-fake"
    given = {
        "host": name,
        "state_path": "/mnt/state/nova-fake",
        "driver": ENTRY.compute_driver,
    }
    template = (fake_hypervisor.ELEMENT / "os-apply-config" / CONFIG).read_text()
    with contextlib.ExitStack() as undo:
        undo.callback(_forget, name, given["state_path"])
        clouds.in_undercloud("install", "-d", f"{given['state_path']}/instances")
        _write(PROVIDER, (fake_hypervisor.ELEMENT / "static" / PROVIDER).read_text())
        _write(CONFIG, re.sub(r"{{nova\.compute\.fake\.(\w+)}}", lambda m: given[m[1]], template))
        clouds.in_undercloud("start-service", "nova-compute@fake", f"/{CONFIG}")
        cloud.wait("the compute process", lambda: _up(name), UP_S)
        clouds.in_undercloud("sh", "-c", DISCOVER)
        yield name


def test_nova_places_an_instance_there(host: str) -> None:
    undercloud: Any = cloud.connect("undercloud")
    compute = undercloud.compute
    with contextlib.ExitStack() as undo:
        image = undercloud.image.create_image(
            name=NAME,
            data=bytes(1024),
            disk_format="raw",
            container_format=ENTRY.container_format,
            wait=True,
            **ENTRY.image_properties,
        )
        undo.callback(undercloud.image.delete_image, image.id)
        flavor = compute.create_flavor(name=NAME, ram=64, vcpus=1, disk=1)
        undo.callback(compute.delete_flavor, flavor)
        compute.create_flavor_extra_specs(flavor, ENTRY.flavor_properties)
        server = compute.create_server(
            name=NAME, image_id=image.id, flavor_id=flavor.id, networks="none"
        )
        undo.callback(undercloud.delete_server, server.id, wait=True)
        server = compute.wait_for_server(server, interval=0.5)
        assert server.compute_host == host


def _up(host: str) -> tuple[str | None, str]:
    found = list(cloud.connect("undercloud").compute.services(binary="nova-compute", host=host))
    state = found[0].state if found else "not there yet"
    return ("up" if state == "up" else None), state


def _write(path: str, content: str) -> None:
    clouds.in_undercloud("install", "-d", f"/{pathlib.Path(path).parent}")
    clouds.in_undercloud("tee", f"/{path}", stdin=content)


def _forget(host: str, state_path: str) -> None:
    clouds.in_undercloud("systemctl", "disable", "--quiet", "--now", "nova-compute@fake")
    clouds.in_undercloud("rm", "-rf", state_path, f"/{CONFIG}", f"/{PROVIDER}")
    compute: Any = cloud.connect("undercloud").compute
    for service in compute.services(binary="nova-compute", host=host):
        compute.delete_service(service)
