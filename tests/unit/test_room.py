"""The arithmetic of room, and why Nova finds no host."""

import dataclasses

import pytest

from altostratus import room, spec
from altostratus.model import Hypervisor, Instance, Share
from altostratus.observed import Provider

DOCKER = Hypervisor("docker")
PROVIDER = Provider("node-docker", DOCKER, 4096, 20, 1024, 2)
TEXT = """\
overcloud: demo
instances:
  database: {services: [mariadb]}
  identity: {services: [keystone]}
"""


@pytest.fixture
def instances() -> tuple[Instance, ...]:
    return spec.parse(TEXT, "overcloud.yaml").instances


def test_what_fits_lacks_nothing(instances: tuple[Instance, ...]) -> None:
    assert list(room.lacks(DOCKER, instances, [PROVIDER])) == []


def test_sum_of_instances_is_held_against_what_is_free(instances: tuple[Instance, ...]) -> None:
    small = dataclasses.replace(PROVIDER, memory_mib=2048)
    ((message, hint),) = room.lacks(DOCKER, instances, [small])
    assert message == (
        "too little room on docker: database 1024 + identity 768 = 1792 MiB of memory are needed,"
        " and 1024 are free: 2048, less 1024 used by others"
    )
    assert hint == "give some of them less memory, or another hypervisor"


def test_no_instance_is_spread_over_nodes(instances: tuple[Instance, ...]) -> None:
    nodes = [dataclasses.replace(PROVIDER, memory_mib=1920) for _ in range(3)]
    ((message, _),) = room.lacks(DOCKER, instances, nodes)
    assert message == (
        "too little room on each node for docker: database needs 1024 MiB of memory, and none has"
        " more free than 896"
    )


def test_machine_is_divided_as_it_is_needed(instances: tuple[Instance, ...]) -> None:
    shares = (Share(DOCKER, 512, 10, 1), Share(Hypervisor("lxc"), 1024, 10, 1))
    ((message, _),) = room.lacks_in_all(instances, shares)
    assert message == (
        "too little room on this machine: database 1024 + identity 768 = 1792 MiB of memory are"
        " needed, and it has 1536 for instances"
    )


def test_small_machine_has_not_every_hypervisor(instances: tuple[Instance, ...]) -> None:
    shares = (Share(Hypervisor("lxc"), 8192, 40, 1),)
    ((message, _),) = room.lacks_in_all(instances, shares)
    assert message == "this machine has no room for docker beside lxc"


@pytest.mark.parametrize(
    ("changes", "words", "hint"),
    [
        ({"hypervisor": Hypervisor("lxc")}, "has no hypervisor docker; it has: lxc", "undercloud"),
        ({"trouble": "its compute process is down"}, "process is down", "nova-compute@docker"),
        (
            {"trouble": "its compute process is disabled: work", "is_disabled": True},
            "disabled: work",
            "service set --enable node-docker",
        ),
        (
            {"others_memory_mib": 4000},
            "node-docker: database needs 1024 MiB of memory, and 96 of 4096 are free",
            "give database less memory",
        ),
        ({"others_disk_gib": 30}, "needs 2 GiB of disk, and 0 of 20 are free", "less disk"),
        ({}, "it has room and takes instances", "./altostratus overcloud why database FILE"),
    ],
)
def test_missing_host_has_a_reason(
    instances: tuple[Instance, ...], changes: dict[str, object], words: str, hint: str
) -> None:
    provider = dataclasses.replace(PROVIDER, **changes)
    lines, what_to_do = room.why_no_host(instances[0], [provider])
    assert words in " ".join(lines)
    assert hint in what_to_do


METAL = Hypervisor("baremetal")
MACHINES = """\
overcloud: demo
default_hypervisor: baremetal
instances:
  database: {services: [mariadb]}
  identity: {services: [keystone]}
"""


def _machine(name: str, memory_mib: int, disk_gib: int = 16) -> Provider:
    return Provider(name, METAL, memory_mib, disk_gib)


@pytest.fixture
def on_metal() -> tuple[Instance, ...]:
    return spec.parse(MACHINES, "overcloud.yaml").instances


def test_each_instance_has_a_machine_to_itself(on_metal: tuple[Instance, ...]) -> None:
    assert list(room.lacks(METAL, on_metal, [_machine("a", 768), _machine("b", 1024)])) == []
    ((message, _),) = room.lacks(METAL, on_metal, [_machine("a", 65536)])
    assert message == (
        "too few machines for baremetal: 2 are needed (database, identity), free: 1 (a: 65536 MiB"
        " of memory, 16 GiB of disk)"
    )


def test_state_is_on_the_disk_of_the_machine(on_metal: tuple[Instance, ...]) -> None:
    machines = [_machine("a", 2048, 5), _machine("b", 2048, 5)]
    ((message, _),) = room.lacks(METAL, on_metal, machines)
    assert message == (
        "no free machine is large enough: database needs 1024 MiB of memory and 6 GiB of disk"
        " (a: 2048 MiB of memory, 5 GiB of disk; b: 2048 MiB of memory, 5 GiB of disk)"
    )


def test_machines_are_enough_for_all_at_the_same_time() -> None:
    sizes = {"large": 4096, "middle": 2048, "small": 1024}
    entries = "".join(
        f"  {name}: {{services: [{service}], memory: {size}}}\n"
        for (name, size), service in zip(
            sizes.items(), ("mariadb", "rabbitmq", "keystone"), strict=True
        )
    )
    text = f"overcloud: demo\ndefault_hypervisor: baremetal\ninstances:\n{entries}"
    instances = spec.parse(text, "overcloud.yaml").instances
    fit = [_machine("a", 4096), _machine("b", 1024), _machine("c", 2048)]
    assert list(room.lacks(METAL, instances, fit)) == []
    # Each of them has a machine, but two have the same.
    unfit = [_machine("a", 4096), _machine("b", 1024), _machine("c", 1024)]
    ((message, _),) = room.lacks(METAL, instances, unfit)
    assert message.startswith("the free machines are not large enough for all: large needs 4096")


def test_a_machine_elsewhere_is_no_share_of_this_one(on_metal: tuple[Instance, ...]) -> None:
    assert list(room.lacks_in_all(on_metal, (Share(DOCKER, 512, 10, 1),))) == []


@pytest.mark.parametrize(
    ("name", "shell"),
    [
        ("undercloud-docker", "shell journalctl"),
        ("second-docker", "shell --node second journalctl"),
    ],
)
def test_what_is_wrong_is_looked_for_on_its_node(name: str, shell: str) -> None:
    provider = Provider(name, Hypervisor("docker"), 1024, 20, trouble="it is down")
    command = f"./altostratus undercloud {shell} -u nova-compute@docker -n 50"
    assert room.repair(provider) == command
