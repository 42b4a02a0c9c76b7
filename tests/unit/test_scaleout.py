"""What the undercloud's services say of a further node, asked over HTTP."""

import collections.abc
import ipaddress

import pytest

from altostratus import scaleout, survey
from altostratus.model import Hypervisor, Node, Share
from altostratus.outages import Outage
from tests.unit import fake_undercloud
from tests.unit.fake_undercloud import FakeUndercloud

NODE = Node(
    "second",
    ipaddress.IPv4Address("192.168.24.3"),
    (Share(Hypervisor("docker"), 2048, 6, 1), Share(Hypervisor("lxc"), 2048, 6, 1)),
)


@pytest.fixture
def fake() -> collections.abc.Iterator[FakeUndercloud]:
    with fake_undercloud.running() as found:
        for share in NODE.shares:
            found.add_process(share.hypervisor, NODE.name)
        yield found


def server(fake: FakeUndercloud, name: str, host: str | None) -> None:
    fake.servers.append(
        {"id": f"id-of-{name}", "name": name, "OS-EXT-SRV-ATTR:host": host}
        | {"metadata": {"altostratus:overcloud": "demo", "altostratus:hypervisor": "docker"}}
        | {"flavor": {"ram": 512, "disk": 2}}
    )


def test_servers_of_a_node_are_those_on_its_processes(fake: FakeUndercloud) -> None:
    connection = fake_undercloud.connect(fake)
    server(fake, "here", "second-docker")
    server(fake, "elsewhere", "undercloud-docker")
    server(fake, "of-another-name", "second-docker-docker")
    assert scaleout.instances(connection, NODE) == ["here"]


def test_servers_that_are_about_to_come_count(fake: FakeUndercloud) -> None:
    connection = fake_undercloud.connect(fake)
    server(fake, "placed", None)
    fake.providers["second-lxc"]["allocations"] = {
        "id-of-placed": {"resources": {"MEMORY_MB": 512}},
        "id-of-gone": {"resources": {"MEMORY_MB": 512}},
    }
    assert scaleout.instances(connection, NODE) == ["id-of-gone", "placed"]


def test_a_node_whose_providers_are_gone_is_empty(fake: FakeUndercloud) -> None:
    connection = fake_undercloud.connect(fake)
    for share in NODE.shares:
        del fake.providers[f"second-{share.hypervisor}"]
    assert scaleout.instances(connection, NODE) == []


def test_what_others_use_is_counted_for_each_node(fake: FakeUndercloud) -> None:
    connection = fake_undercloud.connect(fake)
    server(fake, "own", "second-docker")
    for host in ("undercloud-docker", "second-docker"):
        fake.providers[host]["usages"] = {"MEMORY_MB": 1024, "DISK_GB": 4}
    found = {one.name: one for one in survey.providers(connection, connection.compute.servers())}
    others = {
        name: found[name].others_memory_mib for name in ("undercloud-docker", "second-docker")
    }
    assert others == {"undercloud-docker": 1024, "second-docker": 512}
    assert found["second-docker"].zone == "second"


def test_node_is_down_when_nothing_of_it_is_heard(fake: FakeUndercloud) -> None:
    connection = fake_undercloud.connect(fake)
    server(fake, "demo-images", "second-docker")
    of_node = [one for one in fake.services if one["host"].startswith("second")]
    of_node[0]["state"] = "down"
    assert list(scaleout.down_among(connection, [NODE])) == []
    of_node[1] |= {"state": "down", "updated_at": "2026-01-01T00:00:09.000000"}
    (found,) = scaleout.down_among(connection, [NODE])
    assert found == Outage("second", "2026-01-01T00:00:09.000000", ("demo-images",))
    silent = {one.name for one in survey.providers(connection) if one.silent_since}
    assert silent == {"second-docker", "second-lxc"}
