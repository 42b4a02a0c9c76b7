"""The undercloud's file, and what an undercloud that is there does with another one."""

import pathlib

import pytest

from altostratus import (
    errors,
    hypervisors,
    imagespec,
    metadata,
    node,
    nodes,
    services,
    undercloudfile,
)
from altostratus.hypervisors import Need
from altostratus.model import Hypervisor, Undercloud
from tests.unit.test_hypervisors import undercloud_secrets

DOCKER, LXC, KVM, BAREMETAL = map(Hypervisor, ("docker", "lxc", "kvm", "baremetal"))
USUAL = (DOCKER, LXC, KVM)
EXAMPLES = sorted((pathlib.Path(__file__).parents[2] / "examples" / "undercloud").glob("*.yaml"))
FILE = """
undercloud: undercloud
hypervisors:
  baremetal: {}
  docker: {memory: 4096, disk: 10}
"""


def test_a_file_names_hypervisors_and_the_least_that_they_get() -> None:
    found = undercloudfile.parse(FILE, "undercloud.yaml")
    assert list(found.hypervisors.items()) == [(DOCKER, Need(4096, 10)), (BAREMETAL, Need())]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_have_ironic(path: pathlib.Path) -> None:
    found = undercloudfile.parse(path.read_text(), path.name).hypervisors
    assert imagespec.undercloud_image(among=found).locks == ("openstack", "ironic")


def test_a_file_without_hypervisors_has_the_usual_ones() -> None:
    found = undercloudfile.parse("undercloud: undercloud\n", "undercloud.yaml")
    assert (tuple(found.hypervisors), found.nodes) == (USUAL, {})


def test_nodes_are_named_with_their_parts() -> None:
    text = "undercloud: undercloud\nnodes: {a: , b: {hypervisors: {lxc: , docker: {memory: 1024}}}}"
    found = undercloudfile.parse(text, "undercloud.yaml").nodes
    assert found == {
        "a": nodes.Asked(USUAL, parts=dict.fromkeys(USUAL, Need())),
        "b": nodes.Asked((DOCKER, LXC), parts={DOCKER: Need(1024, 0), LXC: Need()}),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "undercloud.yaml:1: the file is empty"),
        ("hypervisors: {docker: {}}", "1: undercloud: the key 'undercloud' is missing"),
        ("undercloud: other", "the undercloud of a machine cannot be called 'other'"),
        ("undercloud: undercloud\nhypervisor: {}", "2: hypervisor: there is no key 'hypervisor'"),
        ("undercloud: undercloud\nhypervisors: {}", "2: hypervisors: no hypervisors are named"),
        ("undercloud: undercloud\nhypervisors: [docker]", "['docker'] is not a mapping"),
        ("undercloud: undercloud\nhypervisors: {ironic: {}}", "there is no hypervisor 'ironic'"),
        ("undercloud: undercloud\nhypervisors: {lxc: 7}", "7 is not a mapping"),
        (
            "undercloud: undercloud\nhypervisors: {lxc: {memory: 0}}",
            "hypervisors.lxc.memory: 0 should be greater than or equal to 1",
        ),
        ("undercloud: undercloud\nhypervisors: {lxc: {vcpus: 1}}", "there is no key 'vcpus'"),
        (
            "undercloud: undercloud\nhypervisors: {baremetal: {memory: 1}}",
            "baremetal has no share of the node",
        ),
        ("undercloud: [", "not YAML"),
        ("undercloud: undercloud\nnodes: {Second: }", "nodes.Second: a node cannot be called"),
        ("undercloud: undercloud\nnodes: {testbed: }", "something else is"),
        ("undercloud: undercloud\nnodes: {a: {hypervisors: {}}}", "no hypervisors are named"),
        (
            "undercloud: undercloud\nnodes: {a: {hypervisors: {baremetal: }}}",
            "there is no hypervisor of a node 'baremetal'",
        ),
        (
            "undercloud: undercloud\nnodes: {a: {hypervisors: {lxc: {memory: 7}}}}",
            "nodes.a.hypervisors.lxc.memory: 7 should be greater than or equal to 512",
        ),
        ("undercloud: undercloud\nnodes: {a: {zone: x}}", "there is no key 'zone'"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, message: str) -> None:
    with pytest.raises(errors.FindingsError) as told:
        undercloudfile.parse(text, "undercloud.yaml")
    assert message in str(told.value)


@pytest.mark.parametrize(
    ("there", "asked", "then"),
    [
        (None, None, None),
        (None, (*USUAL, BAREMETAL), (*USUAL, BAREMETAL)),
        ((BAREMETAL,), None, (BAREMETAL,)),
        ((BAREMETAL,), (BAREMETAL,), (BAREMETAL,)),
    ],
)
def test_an_undercloud_that_is_there_keeps_its_hypervisors(
    there: tuple[Hypervisor, ...] | None,
    asked: tuple[Hypervisor, ...] | None,
    then: tuple[Hypervisor, ...] | None,
) -> None:
    assert node.again(there, asked) == then


@pytest.mark.parametrize(
    ("there", "asked"),
    [(None, (BAREMETAL,)), ((BAREMETAL,), USUAL), ((DOCKER,), (DOCKER, LXC))],
)
def test_other_shares_of_an_undercloud_that_is_there_are_refused(
    there: tuple[Hypervisor, ...] | None, asked: tuple[Hypervisor, ...]
) -> None:
    with pytest.raises(errors.Error, match="undercloud of this machine has the hypervisors"):
        node.again(there, asked)


def test_bare_metal_has_no_share_of_the_node() -> None:
    shares = hypervisors.shares(24000, 60, 2, {}, (DOCKER, BAREMETAL))
    assert [share.hypervisor for share in shares] == [DOCKER]
    assert hypervisors.shares(24000, 60, 2, {}, (BAREMETAL,)) == ()


def test_only_an_undercloud_that_is_asked_for_ironic_has_it() -> None:
    usual = metadata.undercloud(Undercloud(()), undercloud_secrets())
    assert not {"ironic", "hypervisors"} & {*usual, *usual["altostratus"]}
    assert "ironic" not in imagespec.undercloud_image().locks
    chosen = (DOCKER, BAREMETAL)
    shares = hypervisors.shares(24000, 60, 2, {}, chosen)
    secrets = metadata.undercloud_secrets(undercloud_secrets(), chosen)
    tree = metadata.undercloud(Undercloud(shares, chosen), secrets)
    assert tree["nova"]["compute"]["ironic"] == {
        "driver": "ironic.IronicDriver",
        "host": "undercloud-ironic",
        "state_path": "/mnt/state/nova-ironic",
    }
    assert tree["ironic"]["files_url"] == "https://192.168.24.1:6388"
    assert {"ironic", "ironic-files"} <= {one["name"] for one in tree["haproxy"]["services"]}
    (entry,) = (one for one in tree["catalog"] if one["name"] == "ironic")
    assert (entry["type"], entry["public_url"]) == ("baremetal", "https://192.168.24.1:6385")
    assert metadata.shares_of(tree) == shares
    assert metadata.hypervisors_of(tree) == chosen


def test_the_image_follows_from_the_hypervisors() -> None:
    image = imagespec.undercloud_image(among=(BAREMETAL,))
    assert image.elements == ("undercloud", "nova-compute-ironic")
    assert image.locks == ("openstack", "ironic")
    assert image.name == "altostratus-undercloud+baremetal-docker"
    usual = imagespec.undercloud_image(among=reversed(USUAL))
    assert usual == imagespec.undercloud_image()
    assert usual.name == "altostratus-undercloud-docker"


def test_ironic_is_configured_before_what_uses_it() -> None:
    names = services.undercloud_names((BAREMETAL,))
    assert names.index("glance") < names.index("ironic") < names.index("neutron")
    assert "ironic" not in services.names()
