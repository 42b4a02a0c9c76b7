"""Upgrade and rollback: new images change the roots of instances and nothing else."""

import http.client
import pathlib
import re
from typing import Any

import pytest

from altostratus import cloud
from altostratus.errors import Exit
from tests.e2e import checkout, clouds, writers

pytestmark = [pytest.mark.usefixtures("deployed"), pytest.mark.turn("upgrade")]

UPGRADED = {"database": "mariadb", "identity": "keystone"}  # LXC and Docker
REBUILDING = ("rebuilding", "rebuild_spawning")
REBUILD_S = 300
NOTHING_LOST: dict[str, set[str]] = {"keystone": set(), "glance": set()}
MARK = "/etc/written-on-this-root"
BROKEN = """\
#!/bin/bash
echo "no such release of the database" >&2
exit 1
"""


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A checkout in which the elements of two services have changed."""
    return checkout.with_new_elements(tmp_path_factory.mktemp("new"), *UPGRADED.values())


def test_upgrade_changes_roots_and_nothing_else(changed: pathlib.Path) -> None:
    before = {instance: facts(instance) for instance in UPGRADED}
    for instance in UPGRADED:
        clouds.in_instance(instance, f"touch {MARK} /mnt/state/written-before; sync")
    planned = checkout.run(changed, "overcloud", "plan")
    assert "the image (the server is rebuilt) of database" in planned
    assert re.search(r"^database +rebuild .*down for about \d+ s on lxc$", planned, re.MULTILINE)
    with writers.writing(clouds.status()["endpoints"]) as clients:
        said = checkout.run(changed, "overcloud", "upgrade")
    assert {name: client.lost() for name, client in clients.items()} == NOTHING_LOST
    assert [line.split()[0] for line in said.splitlines()[1:]] == list(UPGRADED)
    assert "Nothing to do" in checkout.run(changed, "overcloud", "upgrade")
    for instance, element in UPGRADED.items():
        assert facts(instance) == before[instance]
        assert clouds.in_instance(instance, f"cat /{checkout.NEW_FILE}") == f"{element}\n"
        clouds.in_instance(instance, f"test ! -e {MARK} && test -e /mnt/state/written-before")
    # The service of known software was started before its database was looked at.
    clouds.in_instance("identity", "database-schema is-known keystone")
    clouds.altostratus("overcloud", "verify")


def test_rollback_takes_up_the_roots_that_were_kept() -> None:
    before = {instance: facts(instance) for instance in UPGRADED}
    with writers.writing(clouds.status()["endpoints"]) as clients:
        clouds.altostratus("overcloud", "rollback", timeout_s=clouds.DEPLOY_S)
    assert {name: client.lost() for name, client in clients.items()} == NOTHING_LOST
    for instance in UPGRADED:
        assert facts(instance) == before[instance]
        clouds.in_instance(instance, f"rm {MARK} /mnt/state/written-before")
    assert "Nothing to do" in clouds.altostratus("overcloud", "deploy").stdout


@pytest.mark.turn("undone")
def test_rebuild_that_is_cut_off_is_undone(changed: pathlib.Path) -> None:
    """Nova says ERROR of a server whose nova-compute was killed; Heat must not make another."""
    before = facts("identity")
    with checkout.started(changed, "overcloud", "upgrade", "--only", "identity") as program:
        wait_for_rebuild("identity")
        clouds.in_undercloud("systemctl", "kill", "--signal=KILL", "nova-compute@docker")
        _, said = program.communicate(timeout=clouds.DEPLOY_S)
    assert program.returncode == Exit.FAILED, said
    assert "identity: failed, and has its earlier image again" in said
    assert facts("identity") == before
    clouds.in_instance("identity", f"test ! -e /{checkout.NEW_FILE}")
    assert "Nothing to do" in clouds.altostratus("overcloud", "deploy").stdout


@pytest.mark.turn("killed")
@pytest.mark.parametrize("step", ["update stack", "await stack", "verify"])
def test_upgrade_that_is_killed_anywhere_goes_on(changed: pathlib.Path, step: str) -> None:
    """What it began goes on without it, and what it left is done when it is run again."""
    before = facts("identity")
    command = ("overcloud", "upgrade", "--only", "identity")
    clouds.kill_during(step, *command, checkout=changed)
    checkout.run(changed, *command)
    assert facts("identity") == before
    assert clouds.in_instance("identity", f"cat /{checkout.NEW_FILE}") == "keystone\n"
    clouds.altostratus("overcloud", "rollback", "--only", "identity", timeout_s=clouds.DEPLOY_S)
    assert "Nothing to do" in clouds.altostratus("overcloud", "deploy").stdout


@pytest.mark.turn("undone")
def test_engine_that_is_killed_in_an_upgrade_leaves_one_image_or_the_other(
    changed: pathlib.Path,
) -> None:
    before = facts("identity")
    with checkout.started(changed, "overcloud", "upgrade", "--only", "identity") as program:
        wait_for_rebuild("identity")
        clouds.in_undercloud("systemctl", "kill", "--signal=KILL", "docker")
        _, said = program.communicate(timeout=clouds.DEPLOY_S)
    assert program.returncode in (Exit.DONE, Exit.FAILED), said
    assert "Traceback" not in said
    clouds.altostratus("overcloud", "rollback", "--only", "identity", timeout_s=clouds.DEPLOY_S)
    assert facts("identity") == before
    clouds.in_instance("identity", f"test ! -e /{checkout.NEW_FILE}")
    assert "Nothing to do" in clouds.altostratus("overcloud", "deploy").stdout
    clouds.altostratus("overcloud", "verify")


@pytest.mark.turn("undone")
def test_server_whose_rebuild_failed_is_rebuilt() -> None:
    """Nova says ERROR of it, and has told Placement to forget it."""
    before = facts("images")
    client = cloud.connect("undercloud")
    client.compute.reset_server_state(before[0], "error")
    deleted = client.placement.delete(f"/allocations/{before[0]}")
    assert deleted.status_code == http.client.NO_CONTENT
    said = clouds.altostratus("overcloud", "deploy", timeout_s=clouds.DEPLOY_S).stdout
    assert "rebuild server  demo-images" in said
    assert facts("images") == before
    assert "Nothing to do" in clouds.altostratus("overcloud", "deploy").stdout


@pytest.mark.turn("undone")
def test_image_that_does_not_do_is_taken_back(tmp_path: pathlib.Path) -> None:
    script = "keystone/os-refresh-config/configure.d/41-broken"
    broken = checkout.changed(tmp_path, {script: BROKEN})
    before = facts("identity")
    with checkout.started(broken, "overcloud", "upgrade") as program:
        _, said = program.communicate(timeout=clouds.DEPLOY_S)
    assert program.returncode == Exit.FAILED, said
    assert "no such release of the database" in said
    assert "identity: failed, and has its earlier image again" in said
    assert facts("identity") == before
    assert "Nothing to do" in clouds.altostratus("overcloud", "deploy").stdout


def wait_for_rebuild(instance: str) -> None:
    """Until Nova is about to rebuild a server."""
    compute = cloud.connect("undercloud").compute

    def rebuilding() -> tuple[bool | None, str]:
        (server,) = compute.servers(name=f"demo-{instance}")
        return (server.task_state in REBUILDING) or None, str(server.task_state)

    cloud.wait("the rebuild", rebuilding, REBUILD_S, poll_s=0.3)


def facts(instance: str) -> Any:
    """What of a server no upgrade may change."""
    found = clouds.openstack("undercloud", "server", "show", f"demo-{instance}")
    ports = clouds.openstack("undercloud", "port", "list", "--server", found["id"])
    state = clouds.in_instance(instance, "stat --file-system --format %i /mnt/state")
    show = ("resource", "provider", "allocation", "show", found["id"])
    taken = [one["resources"] for one in clouds.openstack("undercloud", *show)]
    assert taken
    return found["id"], found["addresses"], sorted(port["ID"] for port in ports), state, taken
