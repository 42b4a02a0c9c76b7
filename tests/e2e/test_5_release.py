"""One release after the other, there and back, schemas included, while clients go on writing."""

import collections.abc
import contextlib
import pathlib

import pytest
import yaml

from altostratus import cloud
from altostratus.errors import Exit
from tests.e2e import askers, checkout, clouds, machines, writers

pytestmark = [pytest.mark.usefixtures("deployed"), pytest.mark.turn("release")]

BEFORE, AFTER = "2026.1", "2026.2"
# What has a schema, by the instance that it is in.
INSTANCES = {
    "keystone": "identity",
    "glance": "images",
    "placement": "placement",
    "nova": "compute-api",
    "neutron": "network-api",
    "heat": "orchestration",
}
LONGEST_PAUSE_S = 60
# Full to the last block, with more to copy than what becomes free by itself.
FILL = """
mariadb -e 'CREATE TABLE keystone.filler SELECT RANDOM_BYTES(1024) AS content FROM seq_1_to_16384'
free=$(($(stat --file-system --format '%f * %S' /mnt/state) - 64 * 1024 * 1024))
fallocate --length "$free" /mnt/state/filled
dd if=/dev/zero of=/mnt/state/filled bs=64K oflag=append conv=notrunc 2>/dev/null || true
sync
"""
EMPTY = "rm /mnt/state/filled && mariadb -e 'DROP TABLE keystone.filler'"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with the deployment file of each release: the control plane, and a compute node."""
    made = tmp_path_factory.mktemp("releases")
    content = yaml.safe_load((clouds.ROOT / "examples" / "isolated.yaml").read_text())
    content["networks"][machines.PROVIDER] = {"vlan": 103, "cidr": "172.16.3.0/24"}
    content["instances"]["compute"] = {"services": ["nova-compute"], "privileged": True}
    for release in (BEFORE, AFTER):
        (made / f"{release}.yaml").write_text(yaml.safe_dump(content | {"release": release}))
    return made


@pytest.fixture(scope="module")
def before(folder: pathlib.Path) -> str:
    """The file of the release before, which is deployed first."""
    file = str(folder / f"{BEFORE}.yaml")
    clouds.have_deployed(file)
    return file


@pytest.fixture(scope="module")
def machine(before: str, tmp_path_factory: pytest.TempPathFactory) -> machines.Machine:
    """A machine of the overcloud, which runs on a node of the release before."""
    found = machines.boot(before, tmp_path_factory.mktemp("machine"))
    machines.wait_for(lambda: found.boot_id() != "")
    return found


@pytest.fixture(scope="module")
def after(folder: pathlib.Path, before: str) -> str:
    """The file of the release after."""
    return str(folder / f"{AFTER}.yaml")


def test_deploying_brings_no_other_release(after: str) -> None:
    refused = clouds.altostratus("overcloud", "deploy", after, ok=False)
    assert refused.returncode == Exit.FINDINGS
    assert f"identity has {BEFORE}" in refused.stderr
    assert "overcloud upgrade" in refused.stderr


def test_full_disk_stops_an_upgrade_before_anything_changes(after: str) -> None:
    server = clouds.openstack("undercloud", "server", "show", "demo-identity")
    try:
        clouds.in_instance("database", FILL)
        refused = clouds.altostratus(
            "overcloud", "upgrade", "--only", "identity", after, ok=False, timeout_s=clouds.DEPLOY_S
        )
    finally:
        clouds.in_instance("database", EMPTY)
    assert refused.returncode == Exit.FAILED
    assert "database-dump write" in refused.stderr and "No space left" in refused.stderr
    again = clouds.openstack("undercloud", "server", "show", "demo-identity")
    assert again["image"] == server["image"]
    clouds.altostratus("overcloud", "verify", after)


def test_release_is_upgraded_while_clients_write(after: str, machine: machines.Machine) -> None:
    booted = machine.boot_id()
    old = {name: software(name) for name in INSTANCES}
    revisions = schema_revisions()
    with writing(after) as clients:
        done = clouds.altostratus("overcloud", "upgrade", after, timeout_s=clouds.DEPLOY_S)
    assert "compute stays as it is: machines run there" in done.stdout + done.stderr
    assert machine.boot_id() == booted
    new = {name: software(name) for name in INSTANCES}
    assert all(major(new[name]) == major(old[name]) + 1 for name in INSTANCES)
    # Neutron's and Nova's schemas are others; the software of before is known to run with them.
    moved = {name for name, now in schema_revisions().items() if now != revisions[name]}
    assert {"neutron", "nova"} <= moved
    assert known("neutron") == [old["neutron"], new["neutron"]]
    check_writers(clients)


def test_new_control_plane_has_a_node_of_before_do_what_it_is_asked(
    after: str, machine: machines.Machine
) -> None:
    booted = machine.boot_id()
    compute = cloud.connect("overcloud").compute
    compute.reboot_server(machine.server, "HARD")
    machines.wait_for(lambda: machine.boot_id() not in ("", booted))
    assert compute.get_server(machine.server).status == "ACTIVE"
    assert machines.NAME in compute.get_server_console_output(machine.server)["output"]


def test_way_back_costs_nothing_before_the_upgrade_is_finished(after: str) -> None:
    revisions = schema_revisions()
    with writing(after) as clients:
        clouds.altostratus("overcloud", "rollback", after, timeout_s=clouds.DEPLOY_S)
    assert all(software(name) == known(name)[0] for name in INSTANCES)
    assert schema_revisions() == revisions
    check_writers(clients)
    clouds.altostratus("overcloud", "verify", after)


def test_upgrade_is_finished(after: str) -> None:
    clouds.altostratus("overcloud", "upgrade", after, timeout_s=clouds.DEPLOY_S)
    said = clouds.altostratus("overcloud", "upgrade", "--finish", after).stdout
    assert len(said.splitlines()) == len(INSTANCES)
    assert known("neutron") == [software("neutron")]
    assert (
        "Nothing to finish" in clouds.altostratus("overcloud", "upgrade", "--finish", after).stdout
    )
    clouds.altostratus("overcloud", "verify", after)


def test_way_back_to_a_copy_of_the_data_must_be_wanted(after: str) -> None:
    """Neutron's schema has moved: what was written since its copy would be lost."""
    only = ("overcloud", "rollback", "--only", "network-api")
    refused = clouds.altostratus(*only, after, ok=False)
    assert refused.returncode == Exit.FAILED
    assert "--accept-loss network-api" in refused.stderr
    said = clouds.altostratus(
        *only, "--accept-loss", "network-api", after, timeout_s=clouds.DEPLOY_S
    )
    assert f"{AFTER} -> {BEFORE}" in said.stdout
    assert known("neutron") == [software("neutron")]
    clouds.altostratus("overcloud", "verify", after)


def test_requests_wait_at_the_front_while_a_service_is_rebuilt(after: str) -> None:
    """Keystone goes back: its schema has not moved, so that nothing would be lost."""
    with askers.asking(clouds.status(after)["endpoints"]) as clients:
        clouds.altostratus(
            "overcloud", "rollback", "--only", "identity", after, timeout_s=clouds.DEPLOY_S
        )
    assert len(clients["keystone"].waits_s) > 50
    assert {name: client.failures for name, client in clients.items() if client.failures} == {}


def test_node_follows_when_its_machine_is_gone_and_goes_back(
    after: str, machine: machines.Machine
) -> None:
    machines.remove()
    said = clouds.altostratus("overcloud", "upgrade", after, timeout_s=clouds.DEPLOY_S).stdout
    assert "compute" in said and f"{BEFORE} -> {AFTER}" in said
    clouds.altostratus("overcloud", "verify", after)
    clouds.altostratus(
        "overcloud", "rollback", "--only", "compute", after, timeout_s=clouds.DEPLOY_S
    )
    clouds.altostratus("overcloud", "verify", after)


def test_database_is_upgraded_and_taken_back_while_clients_write(
    after: str, tmp_path: pathlib.Path
) -> None:
    changed = checkout.with_new_elements(tmp_path, "mariadb")
    checkout.run(changed, "image", "load", "mariadb")
    with writing(after) as clients:
        checkout.run(changed, "overcloud", "upgrade", "--only", "database", after)
        clouds.altostratus(
            "overcloud", "rollback", "--only", "database", after, timeout_s=clouds.DEPLOY_S
        )
    check_writers(clients)


def writing(file: str) -> contextlib.AbstractContextManager[dict[str, writers.Writer]]:
    """Clients of the services of a deployed file."""
    return writers.writing(clouds.status(file)["endpoints"])


def check_writers(clients: collections.abc.Mapping[str, writers.Writer]) -> None:
    """Nothing that was accepted is lost, and no service was away for longer than it may be."""
    for name, client in clients.items():
        assert len(client.accepted) > 20, name
        assert client.lost() == set(), name
    pauses = {name: round(client.longest_pause_s(), 1) for name, client in clients.items()}
    print(f"longest pauses, s: {pauses}")
    assert all(pause < LONGEST_PAUSE_S for pause in pauses.values()), pauses


def software(service: str) -> str:
    """The version of a service that its instance has."""
    return _schema(service)[1]


def known(service: str) -> list[str]:
    """The versions of a service that its schema does for."""
    return _schema(service)[2:]


def _schema(service: str) -> list[str]:
    said = clouds.in_instance(INSTANCES[service], "database-schema list").splitlines()
    return next(line.split() for line in said if line.startswith(f"{service} "))


def major(version: str) -> int:
    return int(version.split(".")[0])


def schema_revisions() -> dict[str, str]:
    """What Alembic has noted in each database of the services."""
    query = "SELECT GROUP_CONCAT(version_num ORDER BY 1) FROM {}.alembic_version"
    return {
        name: clouds.in_instance(
            "database", f"mariadb --batch --skip-column-names -e '{query.format(name)}'"
        ).strip()
        for name in INSTANCES
    }
