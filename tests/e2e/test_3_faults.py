"""Faults that an operator meets: a killed instance comes back with its data, bad files change nothing."""

import pathlib

import pytest

from altostratus import cloud, lock
from altostratus.errors import Exit
from tests.e2e import clouds

pytestmark = pytest.mark.usefixtures("deployed")

KILL = {
    "docker": ("docker", "kill", "{container}"),
    "lxc": ("virsh", "--connect", "lxc:///system", "destroy", "{domain}"),
}
BROKEN = """\
overcloud: demo
default_hypervisor: warp
networks:
  internal_api: {vlan: 101, cidr: 172.16.1.0/24}
  storage: {vlan: 101, cidr: 172.16.1.128/25}
  management: {vlan: 103, cidr: 192.168.23.0/24}
instances:
  database: {services: [mariadb, keystone]}
  identity: {services: [keystone]}
  empty: {services: []}
  strange: {services: [abacus]}
"""


@pytest.mark.turn("faults")
@pytest.mark.parametrize(("instance", "hypervisor"), [("database", "lxc"), ("identity", "docker")])
def test_killed_instance_is_back_with_its_data(
    instance: str, hypervisor: str, tmp_path: pathlib.Path
) -> None:
    kept = tmp_path / "before.plan"
    clouds.altostratus("overcloud", "plan", "--out", str(kept))
    clouds.in_instance(instance, "echo kept > /mnt/state/e2e; sync")
    server = clouds.openstack("undercloud", "server", "show", f"demo-{instance}")
    names = {
        "container": f"nova-{server['id']}",
        "domain": server["OS-EXT-SRV-ATTR:instance_name"],
    }
    clouds.in_undercloud(*(word.format(**names) for word in KILL[hypervisor]))
    refused = clouds.altostratus("overcloud", "deploy", "--plan", str(kept), ok=False)
    assert refused.returncode == Exit.FAILED
    assert f"server demo-{instance}" in refused.stderr
    clouds.altostratus("overcloud", "deploy")
    assert clouds.in_instance(instance, "cat /mnt/state/e2e") == "kept\n"
    clouds.altostratus("overcloud", "verify")
    again = clouds.openstack("undercloud", "server", "show", f"demo-{instance}")
    assert again["id"] == server["id"]


@pytest.mark.turn("faults")
def test_server_that_was_deleted_is_back_with_its_data() -> None:
    clouds.in_instance("images", "echo kept > /mnt/state/e2e; sync")
    before = clouds.openstack("undercloud", "server", "show", "demo-images")
    compute = cloud.connect("undercloud").compute
    server = compute.get_server(before["id"])
    compute.delete_server(server)
    compute.wait_for_delete(server)
    planned = clouds.altostratus("overcloud", "plan").stdout
    assert "images has lost its server" in planned
    clouds.altostratus("overcloud", "deploy", timeout_s=clouds.DEPLOY_S)
    again = clouds.openstack("undercloud", "server", "show", "demo-images")
    assert again["id"] != before["id"] and again["addresses"] == before["addresses"]
    assert clouds.in_instance("images", "cat /mnt/state/e2e") == "kept\n"
    assert "Nothing to do" in clouds.altostratus("overcloud", "deploy").stdout


@pytest.mark.turn("faults")
def test_what_was_changed_by_hand_is_planned_and_mended() -> None:
    conf = "/etc/glance/glance-api.conf"
    before = clouds.in_instance("images", f"sha256sum {conf}")
    clouds.in_instance("images", f"echo '# by hand' >> {conf}")
    clouds.in_instance("database", "systemctl stop mariadb")
    planned = clouds.altostratus("overcloud", "plan").stdout
    assert f"{conf} was changed by hand" in planned
    assert "mariadb does not run" in planned
    shown = clouds.altostratus("overcloud", "status").stdout
    assert "warning: database: mariadb does not run; mend it" in shown
    clouds.altostratus("overcloud", "deploy", timeout_s=clouds.DEPLOY_S)
    assert clouds.in_instance("images", f"sha256sum {conf}") == before
    assert "Nothing to do" in clouds.altostratus("overcloud", "plan").stdout


def test_second_operator_is_told_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
    undercloud = cloud.connect("undercloud")
    with lock.held(undercloud, "demo"):
        done = clouds.altostratus("overcloud", "delete", ok=False)
    assert done.returncode == Exit.FAILED
    assert "root on elsewhere" in done.stderr and "since 20" in done.stderr
    assert clouds.status()["stack"].endswith("_COMPLETE")


def test_broken_file_is_refused_whole(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(BROKEN)
    before = clouds.openstack("undercloud", "stack", "show", "demo")
    for command in ("check", "deploy"):
        done = clouds.altostratus("overcloud", command, str(file), ok=False)
        said = done.stdout + done.stderr
        assert done.returncode == Exit.FINDINGS
        assert "Traceback" not in said
        for finding in ("warp", "keystone", "empty", "abacus"):
            assert finding in said, f"{finding} is not in {said}"
        assert f"{file}:" in said
    assert clouds.openstack("undercloud", "stack", "show", "demo") == before
