"""How a machine is shared among the hypervisors, and what one more of them takes."""

import pathlib
import re
import shutil

import pytest
import yaml

from altostratus import (
    certificates,
    deploy,
    errors,
    hypervisors,
    images,
    imagespec,
    metadata,
    plan,
    rootfs,
    spec,
    stack,
)
from altostratus.hypervisors import Need
from altostratus.model import Hypervisor, Share, Undercloud
from tests import fake_hypervisor
from tests.unit import golden

DOCKER, LXC, KVM = map(Hypervisor, ("docker", "lxc", "kvm"))
CLOUD = """
overcloud: demo
instances:
  database: {services: [mariadb], hypervisor: fake}
  identity: {services: [keystone]}
"""


@pytest.mark.parametrize("memory_mib", [4096, 11674, 12288, 24000, 190_000])
@pytest.mark.parametrize("disk_gib", [12, 25, 36, 48, 1000])
@pytest.mark.parametrize("vcpus", [1, 2, 3, 4, 7, 64])
def test_shares_together_never_exceed_the_machine(
    memory_mib: int, disk_gib: int, vcpus: int
) -> None:
    shares = hypervisors.shares(memory_mib, disk_gib, vcpus, {})
    assert shares
    assert sum(share.memory_mib for share in shares) < memory_mib
    assert sum(share.disk_gib for share in shares) < disk_gib
    assert sum(share.vcpus * share.vcpu_ratio for share in shares) <= vcpus
    for share in shares:
        assert share.vcpus >= 1
        assert share.vcpu_ratio > 0


def test_every_hypervisor_has_a_share_of_a_machine_of_two_processors() -> None:
    shares = hypervisors.shares(24000, 48, 2, {})
    assert [share.hypervisor for share in shares] == list(hypervisors.default())
    assert {(share.vcpus, share.vcpu_ratio) for share in shares} == {(1, 0.666)}


def test_the_smallest_machine_has_the_first_hypervisors() -> None:
    shares = hypervisors.shares(11674, 25, 2, {})
    assert [share.hypervisor for share in shares] == ["docker", "lxc"]
    # The quickstart: two services on docker.
    assert shares[0].disk_gib == 6


def test_machine_without_room_for_any_is_refused() -> None:
    with pytest.raises(errors.Error, match="too small"):
        hypervisors.shares(24000, 9, 2, {})


@pytest.mark.parametrize("wanted", [{DOCKER: Need(9000, 24)}, {LXC: Need(90000, 1)}])
def test_shares_that_are_wanted_do_not_exceed_it_either(wanted: hypervisors.Needs) -> None:
    found = hypervisors.shares(24000, 60, 2, wanted)
    assert sum(one.memory_mib for one in found) <= 24000
    assert sum(one.disk_gib for one in found) <= 60


def test_what_is_wanted_is_given_and_the_rest_split_evenly() -> None:
    docker, *others = hypervisors.shares(28 * 1024, 62, 3, {DOCKER: Need(10 * 1024, 24)})
    assert (docker.memory_mib, docker.disk_gib) == (14 * 1024, 31)
    assert {(one.memory_mib, one.disk_gib) for one in others} == {(4 * 1024, 7)}


def test_the_smallest_machine_has_the_hypervisor_that_is_wanted() -> None:
    shares = hypervisors.shares(11674, 25, 2, {KVM: Need(1024, 2)})
    assert KVM in [share.hypervisor for share in shares]


def test_hypervisors_that_nobody_wants_give_way() -> None:
    """Rather than have a process that cannot start, or too little for what is wanted."""
    (docker,) = hypervisors.shares(24 * 1024, 38, 2, {DOCKER: Need(9216, 22)})
    assert (docker.hypervisor, docker.memory_mib, docker.disk_gib) == (DOCKER, 18 * 1024, 22)
    docker, lxc = hypervisors.shares(24 * 1024, 44, 2, {DOCKER: Need(9216, 22)})
    assert docker.disk_gib >= 22
    assert lxc.disk_gib >= 1


def test_shares_divided_anew_leave_a_floor() -> None:
    kept = (Share(DOCKER, 8000, 12, 1), Share(LXC, 8000, 12, 1))
    assert hypervisors.fit(kept, {DOCKER: Need(9000, 23)}) == (
        Share(DOCKER, 9000 + 3244, 23, 1),
        Share(LXC, 512 + 3244, 1, 1),
    )


def test_shares_that_suffice_are_kept() -> None:
    kept = (Share(DOCKER, 8000, 20, 1), Share(LXC, 8000, 20, 1))
    assert hypervisors.fit(kept, {DOCKER: Need(8000, 20)}) == kept


def test_shares_that_do_not_suffice_are_divided_anew() -> None:
    kept = (Share(DOCKER, 8000, 20, 1), Share(LXC, 8000, 20, 1))
    assert hypervisors.fit(kept, {DOCKER: Need(10000, 10)}) == (
        Share(DOCKER, 13000, 25, 1),
        Share(LXC, 3000, 15, 1),
    )


def test_shares_are_read_back_from_the_metadata_they_are_in() -> None:
    shares = hypervisors.shares(24000, 48, 2, {})
    tree = metadata.undercloud(Undercloud(shares), undercloud_secrets())
    assert metadata.shares_of(tree) == shares


@pytest.mark.usefixtures("fake")
def test_another_hypervisor_is_one_entry_and_one_template() -> None:
    overcloud = spec.parse(CLOUD, "overcloud.yaml", "fake")
    observed = golden.empty_undercloud()
    template = fake_hypervisor.TEMPLATE.read_text()
    templates = {**deploy.templates(), fake_hypervisor.ENTRY.template: template}
    wanted, secrets = golden.fixed_images(overcloud), golden.fixed_secrets(overcloud)
    made = plan.make(overcloud, observed, wanted, secrets, templates)
    assert "altostratus-mariadb-fake" in plan.to_text(made)
    ids = stack.Ids(
        {image.digest: "id" for image in wanted.values()},
        dict.fromkeys(("control", "internal_api"), "id"),
    )
    inputs = stack.Inputs(overcloud, made.addresses, wanted, secrets, templates)
    request = stack.render(inputs, ids, ["identity"])
    assert request.environment["resource_registry"]["resources"] == {
        "database": {stack.CLASS: "fake.yaml"},
        "identity": {
            stack.CLASS: "fake.yaml",
            "fake_server": {"restricted_actions": "replace"},
        },
    }
    assert request.files == {"fake.yaml": template}
    assert images.path(imagespec.wanted(("mariadb",), "fake")).suffix == ".raw"


def test_its_provider_template_is_like_the_others() -> None:
    other = yaml.safe_load(deploy.templates()["docker.yaml"])
    template = yaml.safe_load(fake_hypervisor.TEMPLATE.read_text())
    assert template["parameters"] == other["parameters"]
    assert template["outputs"].keys() == other["outputs"].keys()
    assert list(template["resources"]) == [fake_hypervisor.ENTRY.server]


@pytest.mark.parametrize("name", hypervisors.names())
def test_another_image_is_another_root_for_the_same_server(name: str) -> None:
    """Each of these drivers rebuilds in place itself."""
    entry = hypervisors.entry(name)
    template = yaml.safe_load(deploy.templates()[entry.template])
    properties = template["resources"][entry.server]["properties"]
    assert properties["image_update_policy"] == "REBUILD_PRESERVE_EPHEMERAL"


@pytest.mark.usefixtures("fake")
def test_the_underclouds_image_has_its_compute_process(tmp_path: pathlib.Path) -> None:
    copy = tmp_path / "repository"
    for folder in ("elements", "releases", "nova-driver", "src"):
        shutil.copytree(rootfs.REPOSITORY / folder, copy / folder, symlinks=True)
    element = fake_hypervisor.ELEMENT
    shutil.copytree(element, copy / "elements" / element.name)
    image = imagespec.undercloud_image(copy)
    assert element.name in image.elements
    before = imagespec.digest(image)
    (copy / "elements" / element.name / "element-deps").write_text("compute-process\n")
    assert imagespec.digest(image) != before


@pytest.mark.usefixtures("fake")
def test_its_compute_process_is_given_all_that_its_configuration_reads() -> None:
    tree = metadata.undercloud(
        Undercloud((Share(Hypervisor("fake"), 4096, 10, 1),)),
        undercloud_secrets(),
    )
    process = tree["nova"]["compute"]["fake"]
    assert process["driver"] == "fake.FakeDriver"
    assert process["host"] == "undercloud-fake"
    template = fake_hypervisor.ELEMENT / "os-apply-config/etc/nova/compute/nova-fake.conf"
    read = re.findall(r"{{nova\.compute\.fake\.(\w+)}}", template.read_text())
    assert read
    assert set(read) <= process.keys()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nova's own fake driver as one more hypervisor."""
    monkeypatch.setitem(hypervisors.TABLE, "fake", fake_hypervisor.ENTRY)


def test_only_the_front_of_an_undercloud_is_reached_from_elsewhere() -> None:
    shares = hypervisors.shares(16384, 100, 4, {})
    tree = metadata.undercloud(Undercloud(shares), undercloud_secrets())
    fronted = {one["name"]: one["host"] for one in tree["haproxy"]["services"]}
    assert set(fronted) == {"keystone", "glance", "placement", "nova", "neutron", "heat"}
    for name, host in fronted.items():
        assert tree[name]["bind"] == host == "127.0.0.1"
    assert tree["mariadb"]["bind"] == tree["rabbitmq"]["bind"] == "127.0.0.1"
    assert tree["front"] == {"addresses": ["192.168.24.1"]}
    for entry in tree["catalog"]:
        assert entry["public_url"].startswith("https://192.168.24.1:")
        assert entry["internal_url"].startswith("http://127.0.0.1:")


def undercloud_secrets() -> dict[str, str]:
    return metadata.undercloud_secrets({}) | {
        certificates.AUTHORITY: "authority",
        certificates.of("undercloud"): "certificate and key",
    }
