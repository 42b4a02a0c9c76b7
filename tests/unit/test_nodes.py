"""Further nodes of an undercloud: their names, shares and addresses, and what each is told."""

import dataclasses
import json

import pytest

from altostratus import certificates, errors, hypervisors, imagespec, metadata, nodemetadata, nodes
from altostratus.hypervisors import Need
from altostratus.model import ControlNetwork, Hypervisor, Site, Undercloud
from altostratus.nodes import Asked

DOCKER, LXC, KVM = map(Hypervisor, ("docker", "lxc", "kvm"))
BOTH = Asked((DOCKER, LXC))
ALONE = Undercloud(hypervisors.shares(24000, 60, 2, {}))


def with_node(name: str = "second", asked: Asked = BOTH, there: Undercloud = ALONE) -> Undercloud:
    return nodes.added(there, name, asked, {}, vcpus=2)


def total(there: Undercloud) -> tuple[int, int]:
    shares = there.all_shares
    return sum(one.memory_mib for one in shares), sum(one.disk_gib for one in shares)


def secrets(there: Undercloud) -> dict[str, str]:
    return metadata.undercloud_secrets({}, None, there.nodes) | {
        certificates.AUTHORITY: "authority",
        certificates.of("undercloud"): "certificate and key",
    }


@pytest.mark.parametrize("name", ["second", "node-2", "a"])
def test_host_names_are_names_of_nodes(name: str) -> None:
    nodes.refuse_name(name)


@pytest.mark.parametrize(
    "name", ["", "Second", "2nd", "-a", "a-", "a--b", "a.b", "a_b", "a" * 41, "a\n", "../a"]
)
def test_what_is_no_host_name_is_refused(name: str) -> None:
    with pytest.raises(errors.Error, match="cannot be called") as refused:
        nodes.refuse_name(name)
    assert refused.value.hint


@pytest.mark.parametrize("name", ["undercloud", "testbed", "nova", "internal"])
def test_what_something_else_is_called_is_refused(name: str) -> None:
    with pytest.raises(errors.Error, match="something else is"):
        nodes.refuse_name(name)


def test_a_node_gets_what_the_undercloud_gives() -> None:
    there = with_node()
    (node,) = there.nodes
    assert [(one.hypervisor, one.memory_mib, one.disk_gib) for one in node.shares] == [
        (DOCKER, 2048, 6),
        (LXC, 2048, 6),
    ]
    assert str(node.address) == "192.168.24.3"
    assert nodes.hosts(node) == ("second-docker", "second-lxc")
    assert total(there) == total(ALONE)
    assert all(one.memory_mib < was.memory_mib for one, was in zip(there.shares, ALONE.shares))


def test_it_gives_only_what_nobody_uses() -> None:
    docker, lxc, _ = ALONE.shares
    used = {
        DOCKER: Need(docker.memory_mib - 100, docker.disk_gib),
        LXC: Need(lxc.memory_mib, lxc.disk_gib - 30),
    }
    there = nodes.added(ALONE, "second", Asked((DOCKER,), 1000, 3), used, vcpus=2)
    assert docker.memory_mib - there.shares[0].memory_mib <= 100
    assert there.shares[1].memory_mib == lxc.memory_mib
    assert there.shares[0].disk_gib == docker.disk_gib


def test_what_one_node_was_given_the_next_does_not_get() -> None:
    kept = {one.hypervisor: Need(one.memory_mib - 1000, 1) for one in ALONE.shares}
    half = Asked((DOCKER,), parts={DOCKER: Need(1500, 1)})
    there = nodes.with_all(ALONE, {"a": half, "b": half}, kept, vcpus=2)
    assert all(one.memory_mib >= kept[one.hypervisor].memory_mib for one in there.shares)
    with pytest.raises(errors.Error, match=r"1500 MiB of memory .* and 0 are free"):
        nodes.with_all(there, {"c": half}, kept, vcpus=2)


def test_nodes_are_added_to_those_that_are_there() -> None:
    asked = {
        "second": BOTH,
        "third": Asked((DOCKER, KVM), parts={DOCKER: Need(1024, 3), KVM: Need()}),
    }
    there = nodes.with_all(with_node("by-hand", Asked((LXC,))), asked, {}, vcpus=2)
    assert [one.name for one in there.nodes] == ["by-hand", "second", "third"]
    assert [(one.memory_mib, one.disk_gib) for one in there.nodes[-1].shares] == [
        (1024, 3),
        (2048, 6),
    ]
    assert total(there) == total(ALONE)
    assert nodes.with_all(there, asked, {}, vcpus=2) == there


@pytest.mark.parametrize(
    ("asked", "unit"),
    [(Asked(None, 100_000), "MiB of memory"), (Asked(None, None, 1000), "GiB of disk")],
)
def test_more_than_it_has_is_refused(asked: Asked, unit: str) -> None:
    with pytest.raises(errors.Error, match=f"too little for one more node .* {unit}") as refused:
        with_node(asked=asked)
    assert "--memory" in str(refused.value.hint)


def test_an_undercloud_without_shares_has_none_to_give() -> None:
    with pytest.raises(errors.Error, match="too little for one more node"):
        nodes.added(Undercloud(()), "second", BOTH, {}, vcpus=2)


def test_shares_that_are_of_no_use_are_refused() -> None:
    with pytest.raises(errors.Error, match="512 MiB of memory and 12 GiB of disk are too little"):
        with_node(asked=Asked((DOCKER, LXC), 512))


def test_what_a_node_gave_back_is_all_of_it() -> None:
    there = with_node("third", Asked((KVM,), 1111, 7), with_node())
    for name in ("second", "third"):
        there = nodes.removed(there, name)
    assert there.nodes == ()
    assert total(there) == total(ALONE)


def test_each_node_has_an_address_of_its_own_and_they_end() -> None:
    there = ALONE
    least = Asked((DOCKER,), 512, 1)
    for number in range(17):
        there = with_node(f"n{number}", least, there)
    found = [str(one.address) for one in there.nodes]
    assert found == [f"192.168.24.{number}" for number in range(3, 20)]
    with pytest.raises(errors.Error, match="no address for one more node"):
        with_node("more", least, there)
    assert str(with_node("again", least, nodes.removed(there, "n4")).nodes[-1].address) == found[4]


def test_a_node_does_not_get_the_address_of_the_undercloud() -> None:
    usual = ControlNetwork()
    moved = dataclasses.replace(usual, address=usual.cidr[3], pool_start=usual.cidr[5])
    there = dataclasses.replace(ALONE, site=Site(moved))
    assert str(with_node(there=there).nodes[0].address) == "192.168.24.4"


def test_a_node_that_is_not_there_is_said_to_be_unknown() -> None:
    with pytest.raises(errors.Error, match="no further nodes"):
        nodes.known(ALONE, "second")
    with pytest.raises(errors.Error, match="there is no node 'secnd'") as refused:
        nodes.known(with_node(), "secnd")
    assert "did you mean 'second'" in str(refused.value.hint)


def test_the_same_node_can_be_asked_for_again() -> None:
    (node,) = with_node().nodes
    for asked in (Asked(), BOTH, Asked((LXC, DOCKER), 4096, 12)):
        nodes.refuse_changes(node, asked)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (Asked((DOCKER,)), "hypervisors docker lxc, not docker$"),
        (Asked(None, 1000), "MiB of memory 4096, not 1000$"),
        (Asked(None, 1, 2), "MiB of memory 4096, not 1, and GiB of disk 12, not 2$"),
        (Asked((DOCKER, LXC), parts={LXC: Need(1024, 6)}), "MiB for lxc 2048, not 1024$"),
    ],
)
def test_another_node_of_the_same_name_is_refused(asked: Asked, message: str) -> None:
    (node,) = with_node().nodes
    with pytest.raises(errors.Error, match=message):
        nodes.refuse_changes(node, asked)


def test_an_undercloud_without_nodes_is_as_it_was() -> None:
    tree = metadata.undercloud(ALONE, secrets(ALONE))
    assert "nodes" not in tree["altostratus"]
    assert "nodes" not in tree["network"]
    assert "nodes" not in tree["haproxy"]
    assert {one["name"] for one in tree["rabbitmq"]["users"]} == {"nova", "neutron", "heat"}


def test_the_metadata_records_the_nodes() -> None:
    there = with_node("third", Asked((KVM,)), with_node())
    tree = json.loads(json.dumps(metadata.undercloud(there, secrets(there))))
    assert nodemetadata.nodes_of(tree) == there.nodes
    assert metadata.shares_of(tree) == there.shares


def test_nodes_come_in_at_the_front_with_accounts_of_their_own() -> None:
    there = with_node()
    tree = metadata.undercloud(there, secrets(there))
    assert tree["network"]["nodes"] == ["192.168.24.3"]
    assert tree["haproxy"]["nodes"] == {
        "host": "192.168.24.1",
        "messaging_port": 5671,
        "messaging": "127.0.0.1:5672",
        "registry_port": 5006,
        "registry": "127.0.0.1:5005",
    }
    assert tree["rabbitmq"]["bind"] == "127.0.0.1"
    (account,) = (one for one in tree["rabbitmq"]["users"] if "second" in one["name"])
    assert account["vhosts"] == ["nova", "neutron"]
    (entry,) = (one for one in tree["catalog"] if "second" in one["name"])
    assert (entry["type"], entry["user"]) == (None, "nova-compute-second")


def test_a_node_knows_its_own_secrets_and_no_others() -> None:
    there = with_node("third", Asked((LXC,)), with_node())
    known = secrets(there)
    second = metadata.undercloud_node(there, there.nodes[0], known)
    text = json.dumps(second)
    own = {name for name, value in known.items() if value in text}
    assert own == {*nodemetadata.secrets_of(there.nodes[:1]), certificates.AUTHORITY}
    assert second["nova"]["database_url"] == second["neutron"]["database_url"] == ""
    assert "mysql" not in text
    assert second["identity"]["auth_url"] == "https://192.168.24.1:5000/v3"
    assert second["nova"]["transport_url"].endswith("@192.168.24.1:5671/nova")


def test_ports_are_bound_to_the_agent_of_the_node() -> None:
    there = with_node()
    tree = metadata.undercloud_node(there, there.nodes[0], secrets(there))
    assert tree["neutron"]["host"] == tree["altostratus"]["instance"] == "second"
    assert tree["neutron"]["bridge_mappings"] == "control:br-ctl"
    assert {name: one["host"] for name, one in tree["nova"]["compute"].items()} == {
        "docker": "second-docker",
        "lxc": "second-lxc",
    }


def test_secrets_of_a_node_go_with_it() -> None:
    there = with_node("third", Asked((LXC,)), with_node())
    known = secrets(there)
    kept = metadata.undercloud_secrets(known, None, nodes.removed(there, "second").nodes)
    assert {*known} - {*kept} == {*nodemetadata.secrets_of(there.nodes[:1])}
    assert metadata.undercloud_secrets(kept, None, ()) == {
        name: value for name, value in known.items() if not name.startswith("node_")
    }


def test_the_image_of_a_node_has_the_processes_that_are_asked_for() -> None:
    image = imagespec.undercloud_node_image((LXC, DOCKER, LXC))
    assert image.elements == ("undercloud-node", "nova-compute-docker", "nova-compute-lxc")
    assert image.locks == ("undercloud-node",)
    assert image.name == "altostratus-undercloud-node+docker+lxc-docker"
    others = {imagespec.digest(imagespec.undercloud_node_image((one,))) for one in (DOCKER, LXC)}
    assert len(others | {imagespec.digest(image)}) == 3


def test_a_machine_with_nodes_has_the_room_of_all() -> None:
    there = with_node()
    assert there.all_shares == (*there.shares, *there.nodes[0].shares)
    assert dataclasses.replace(there, nodes=()).all_shares == there.shares
