"""What there is to say about an instance that Nova found no host for."""

import pytest

from altostratus import check, spec
from altostratus.model import Hypervisor
from altostratus.observed import Provider

FILE = """\
overcloud: demo
networks:
  internal_api: {vlan: 101, cidr: 172.16.1.0/24}
instances:
  database: {services: [mariadb], hypervisor: lxc, memory: 1024, disk: 3}
"""
PROVIDERS = {
    "docker": Provider("node-docker", Hypervisor("docker"), 4096, 20),
    "lxc": Provider("node-lxc", Hypervisor("lxc"), 2048, 10, 1536, 8),
}


@pytest.mark.parametrize(
    ("there", "says"),
    [
        (
            ("docker", "lxc"),
            (
                "node-lxc has 2048 MiB and 10 GiB for instances; others than this overcloud's use"
                " 1536 MiB and 8 GiB of it"
            ),
        ),
        (("docker",), "no compute process offers lxc"),
    ],
)
def test_room_is_explained_by_the_instances_own_hypervisor(
    there: tuple[str, ...], says: str
) -> None:
    (database,) = spec.parse(FILE, "overcloud.yaml").instances
    assert check.explain_room(database, [PROVIDERS[name] for name in there]) == [
        "database wants 1024 MiB of memory and 3 GiB of disk on lxc",
        says,
    ]
