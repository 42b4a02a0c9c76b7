"""The undercloud's file, and what an undercloud that is there does with another one."""

import dataclasses
import json
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
    sitemetadata,
    undercloudfile,
)
from altostratus.hypervisors import Need
from altostratus.model import Hypervisor, Site, Undercloud
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
def test_examples_are_well_formed(path: pathlib.Path) -> None:
    found = undercloudfile.parse(path.read_text(), path.name).hypervisors
    has_ironic = "ironic" in imagespec.undercloud_image(among=found).locks
    assert has_ironic == ("baremetal" in path.stem)


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


def test_a_site_is_the_usual_one_where_nothing_is_said() -> None:
    assert undercloudfile.parse("undercloud: undercloud\n", "undercloud.yaml").site == Site()


@pytest.mark.parametrize(
    ("cidr", "pool"),
    [
        ("192.168.24.0/24", "192.168.24.20 192.168.24.250"),
        ("10.20.0.0/22", "10.20.0.20 10.20.3.250"),
        ("10.20.0.32/27", "10.20.0.52 10.20.0.58"),
    ],
)
def test_addresses_on_another_control_network_are_where_they_usually_are(
    cidr: str, pool: str
) -> None:
    control = site(f"networks: {{control: {{cidr: {cidr}}}}}").control
    assert (control.address, control.dhcp_address) == (control.cidr[1], control.cidr[2])
    assert f"{control.pool_start} {control.pool_end}" == pool


def site(text: str) -> Site:
    return undercloudfile.parse(f"undercloud: undercloud\n{text}\n", "undercloud.yaml").site


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("networks: {control: {cidr: 10.0.0.0/28}}", "networks.control.cidr: 10.0.0.0/28 has too"),
        ("networks: {control: {cidr: 127.0.0.0/24}}", "no instance can have an address"),
        ("networks: {control: {address: 10.0.0.1}}", "10.0.0.1 is no address for a host in"),
        ("networks: {control: {dhcp: 192.168.24.1}}", "is the undercloud's own address, too"),
        ("networks: {control: {dhcp: 192.168.24.20}}", "192.168.24.20 is in the pool"),
        ("networks: {control: {dhcp: 192.168.24.250}}", "192.168.24.250 is in the pool"),
        (
            "networks: {control: {pool: {start: 192.168.24.30, end: 192.168.24.29}}}",
            "networks.control.pool: the pool begins with 192.168.24.30, behind its end",
        ),
        ("networks: {control: {pool: {start: 192.168.24.30}}}", "the key 'end' is missing"),
        ("networks: {control: {gateway: 192.168.24.1}}", "there is no key 'gateway'"),
        ("bridge_mappings: {control: {nic: eth0}}", "eth0 is the undercloud's way out"),
        ("bridge_mappings: {control: {nic: 'a b'}}", "'a b' cannot be the name of a NIC"),
        ("bridge_mappings: {control: {}}", "the key 'nic' is missing"),
        ("bridge_mappings: {storage: {nic: eth1}}", "there is no key 'storage'"),
        ("tls: {name: [a]}", "did you mean 'names'?"),
        ("ntp: [-a.example.org]", "'-a.example.org' is neither a host name nor"),
        ("dns: 192.0.2.53", "dns: '192.0.2.53' should be a valid list"),
    ],
)
def test_what_cannot_be_of_a_site_is_told(text: str, message: str) -> None:
    with pytest.raises(errors.FindingsError) as told:
        site(text)
    assert message in str(told.value)


def test_the_metadata_records_the_site() -> None:
    text = "{networks: {control: {pool: {start: 192.168.24.40, end: 192.168.24.50}}}, ntp: [a.b]}"
    wanted = undercloudfile.parse(f"{{undercloud: undercloud, {text[1:]}", "undercloud.yaml").site
    tree = metadata.undercloud(Undercloud((), site=wanted), undercloud_secrets())
    assert sitemetadata.site_of(json.loads(json.dumps(tree))) == wanted
    usual = metadata.undercloud(Undercloud(()), undercloud_secrets())
    assert sitemetadata.site_of(usual) == Site()
    assert not {"ntp", "resolver"} & {*usual} and "site" not in usual["altostratus"]


def test_another_control_network_than_is_there_is_refused() -> None:
    there = Site().control
    node.refuse_moves(there, there)
    with pytest.raises(errors.Error, match="has the control network 192.168.24.0/24") as refused:
        node.refuse_moves(there, dataclasses.replace(there, pool_end=there.cidr[99]))
    assert "undercloud down" in str(refused.value.hint)


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
