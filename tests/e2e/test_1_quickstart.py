"""The first cloud: what ``./altostratus devtest`` leaves, seen through the clouds' own interfaces."""

import collections
import datetime
import hashlib
import json
import pathlib
import re
import shutil
import time

import pytest
import requests

from altostratus import cloud, credentials, hypervisors, lock, machine, releases, survey
from altostratus.errors import Exit
from tests.e2e import clouds

pytestmark = pytest.mark.usefixtures("deployed")

INSTANCES = {
    "database": ("mariadb", "lxc"),
    "identity": ("keystone", "docker"),
    "images": ("glance", "docker"),
}
SECOND_DEPLOY_S = 10
QUICKSTART = clouds.ROOT / "examples" / "quickstart.yaml"
NETWORK = "  internal_api: {vlan: 101, cidr: 172.16.1.0/24}\n"


def test_devtest_ends_with_a_summary(deployed: str) -> None:
    for instance, (service, hypervisor) in INSTANCES.items():
        row = rf"^{instance} +{service} +{hypervisor} +undercloud +ACTIVE"
        assert re.search(row, deployed, re.MULTILINE)
    for word in ("clouds.yaml", "https://192.168.24.", "sum"):
        assert word in deployed


def test_undercloud_has_a_hypervisor_of_each_type() -> None:
    found = clouds.openstack("undercloud", "hypervisor", "list", "--long")
    types = {one["Hypervisor Hostname"]: one["Hypervisor Type"] for one in found}
    assert {name: kind.lower() for name, kind in types.items()} == {
        "undercloud-docker": "docker",
        "undercloud-lxc": "lxc",
        "undercloud-kvm": "qemu",
    }


def test_instances_of_lxc_keep_no_disk_of_others_mounted() -> None:
    """What is unmounted around one goes in its own copy of all mounts, too."""
    copies = clouds.in_undercloud(
        "bash", "-c", "cat $(pgrep libvirt_lxc | sed 's,.*,/proc/&/mountinfo,')"
    )
    of_state = [line for line in copies.splitlines() if " /mnt/state " in line]
    assert of_state and all(" master:" in line for line in of_state)
    assert "/mnt/state/nova-docker/instances/" not in copies


def test_probe_for_hardware_virtualisation_knows_a_kernel_that_boots() -> None:
    device = ("env", "KVM_DEVICE=/dev/null")
    found = json.loads(clouds.in_undercloud(*device, "probe-virtualization", "tcg"))["libvirt"]
    assert found["reason"] == "a kernel booted with hardware virtualisation"


def test_hypervisors_share_the_machine() -> None:
    totals: collections.Counter[str] = collections.Counter()
    placement = cloud.connect("undercloud").placement
    for provider in placement.resource_providers():
        for one in placement.resource_provider_inventories(provider):
            totals[one.resource_class] += one.total * one.allocation_ratio
    size = machine.size()
    assert 0 < totals["MEMORY_MB"] <= size.memory_mib
    assert 0 < totals["DISK_GB"] <= shutil.disk_usage("/var/lib").total >> 30
    assert 0 < totals["VCPU"] <= size.vcpus


def test_compute_processes_are_up() -> None:
    found = clouds.openstack("undercloud", "compute", "service", "list")
    computes = {one["Host"]: one["State"] for one in found if one["Binary"] == "nova-compute"}
    assert computes == {f"undercloud-{name}": "up" for name in hypervisors.default()}


def test_instances_are_servers_of_the_undercloud() -> None:
    found = clouds.openstack("undercloud", "server", "list")
    assert {one["Name"]: one["Status"] for one in found} == {
        f"demo-{name}": "ACTIVE" for name in INSTANCES
    }


@pytest.mark.parametrize("instance", INSTANCES)
def test_placement_of_each_instance_is_explained(instance: str) -> None:
    host = f"undercloud-{INSTANCES[instance][1]}"
    told = json.loads(clouds.altostratus("overcloud", "why", instance, "--json").stdout)
    assert told["host"] == host
    assert [row["process"] for row in told["rows"] if not row["obstacles"]] == [host]
    assert "out of reach" not in told["scheduler"]


@pytest.mark.parametrize("instance", INSTANCES)
def test_placement_of_each_instance_is_explained_in_words(instance: str) -> None:
    said = clouds.altostratus("overcloud", "why", instance).stdout
    host = f"undercloud-{INSTANCES[instance][1]}"
    assert f"\nIt runs on {host} because no other compute process takes it\n" in said


def test_status_shows_what_each_instance_uses_and_when_it_was_configured() -> None:
    sizes = {one.name: one.flavor["ram"] for one in cloud.connect("undercloud").compute.servers()}
    for one in clouds.status()["instances"]:
        assert (one["state"], one["wanted"]) == ("ACTIVE", "ACTIVE")
        assert 0 < one["memory_mib"] <= one["memory_limit_mib"] == sizes[f"demo-{one['name']}"]
        assert 0 <= one["cpu_percent"] < 100 * machine.size().vcpus + 1
        configured = datetime.datetime.fromisoformat(one["configured_at"])
        assert configured <= datetime.datetime.now(datetime.UTC)


def test_status_shows_the_versions_of_services_and_whether_they_answer() -> None:
    found = {one["name"]: one for one in clouds.status()["services"]}
    assert {name: one["instance"] for name, one in found.items()} == {
        service: instance for instance, (service, _hypervisor) in INSTANCES.items()
    }
    release = clouds.ROOT / "releases" / releases.LATEST
    for name in ("keystone", "glance"):
        assert f"{name}=={found[name]['version']} " in (release / f"{name}.txt").read_text()
    inside = clouds.in_instance("database", "dpkg-query -W -f '${Version}' mariadb-server")
    assert found["mariadb"]["version"] == inside.strip()
    answers = {name: one["answers"] for name, one in found.items()}
    assert answers == {"mariadb": None, "keystone": True, "glance": True}


def test_overcloud_is_a_stack() -> None:
    found = clouds.openstack("undercloud", "stack", "list")
    assert {one["Stack Name"]: one["Stack Status"] for one in found} == {"demo": "CREATE_COMPLETE"}


def test_overcloud_issues_tokens() -> None:
    assert clouds.openstack("overcloud", "token", "issue")["id"]


def test_image_comes_back_byte_for_byte() -> None:
    content = bytes(range(256)) * 4096
    images = cloud.connect("overcloud").image
    image = images.create_image(
        name="e2e", data=content, disk_format="raw", container_format="bare", wait=True
    )
    try:
        assert images.get(f"/images/{image.id}/file").content == content
    finally:
        images.delete_image(image.id)


def test_layers_of_docker_images_are_in_the_registry_once() -> None:
    images = cloud.connect("undercloud").image
    manifests = [
        json.loads(images.get(f"/images/{one.id}/file").content)
        for one in images.images()
        if one.name.startswith("altostratus-") and one.container_format == "docker"
    ]
    assert len(manifests) == 2
    first, second = ([layer["digest"] for layer in one["layers"]] for one in manifests)
    assert first[0] == second[0], "they share the base"
    entry = credentials.read("undercloud")
    assert entry
    blob = f"{entry['registry']['url']}/v2/images/blobs/{first[0]}"
    auth = (entry["registry"]["username"], entry["registry"]["password"])
    assert requests.head(blob, timeout=10).status_code == requests.codes.unauthorized
    assert requests.head(blob, auth=auth, timeout=10).status_code == requests.codes.ok


def test_verify_says_that_all_is_well() -> None:
    assert clouds.altostratus("overcloud", "verify").stdout.endswith("verified\n")


def test_services_talk_over_the_tagged_network() -> None:
    inner = {
        one["MAC Address"].lower()
        for one in clouds.openstack("undercloud", "port", "list", "--network", "demo-internal_api")
    }
    clouds.altostratus("overcloud", "verify")
    table = clouds.in_undercloud("ovs-appctl", "fdb/show", "br-ctl").splitlines()[1:]
    vlan_of = {line.split()[2].lower(): line.split()[1] for line in table}
    assert len(inner) == len(INSTANCES)
    assert {vlan_of[mac] for mac in inner if mac in vlan_of} == {"101"}


def test_second_deploy_changes_nothing() -> None:
    before = clouds.openstack("undercloud", "server", "list", "--long")
    start = time.monotonic()
    done = clouds.altostratus("overcloud", "deploy")
    assert time.monotonic() - start < SECOND_DEPLOY_S
    assert "Nothing to do" in done.stdout
    assert clouds.openstack("undercloud", "server", "list", "--long") == before


def test_plan_changes_nothing_and_tells_programs() -> None:
    done = clouds.altostratus("overcloud", "plan", "--json", "--detailed-exitcode")
    assert json.loads(done.stdout)["steps"] == []


def test_kept_plan_of_what_is_deployed_has_nothing_to_do(tmp_path: pathlib.Path) -> None:
    kept = tmp_path / "demo.plan"
    clouds.altostratus("overcloud", "plan", "--out", str(kept))
    done = clouds.altostratus("overcloud", "deploy", "--plan", str(kept))
    assert "Nothing to do" in done.stdout


def test_plan_of_a_changed_file_says_that_changes_are_pending(tmp_path: pathlib.Path) -> None:
    kept, file = tmp_path / "changed.plan", tmp_path / "changed.yaml"
    text = QUICKSTART.read_text()
    file.write_text(text.replace(NETWORK, NETWORK + "  spare: {vlan: 104, cidr: 172.16.4.0/24}\n"))
    arguments = ("plan", str(file), "--detailed-exitcode", "--out", str(kept))
    done = clouds.altostratus("overcloud", *arguments, ok=False)
    assert done.returncode == Exit.CHANGES_PENDING, done.stdout + done.stderr
    assert "create network" in done.stdout
    done = clouds.altostratus("overcloud", "deploy", str(QUICKSTART), "--plan", str(kept), ok=False)
    assert done.returncode == Exit.FAILED
    assert "is not carried out" in done.stderr and "Traceback" not in done.stderr


def test_history_names_who_deployed_what() -> None:
    last = json.loads(clouds.altostratus("overcloud", "history", "--json").stdout)[0]
    digest = hashlib.sha256(QUICKSTART.read_bytes()).hexdigest()
    who = lock.myself().operator
    assert (last["who"], last["file"]) == (who, "examples/quickstart.yaml")
    assert last["file_digest"] == digest
    assert last["images"].keys() == INSTANCES.keys()
    loaded = survey.glance_images(cloud.connect("undercloud"))
    assert {one["digest"] for one in last["images"].values()} <= loaded.keys()
    said = clouds.altostratus("overcloud", "history").stdout
    assert re.search(rf"^{last['when']} +{who} .*{digest[:12]}", said, re.MULTILINE)


def test_changed_hypervisor_is_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("moved") / "moved.yaml"
    text = QUICKSTART.read_text()
    file.write_text(text.replace("hypervisor: lxc", "hypervisor: docker"))
    done = clouds.altostratus("overcloud", "deploy", str(file), ok=False)
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "database" in said and "Traceback" not in said
    assert {one["hypervisor"] for one in clouds.status()["instances"]} == {"lxc", "docker"}
