"""What bears on where an instance is, read from an undercloud that answers as a real one does."""

import collections.abc
import dataclasses
import pathlib
from typing import Any

import click.testing
import pytest

from altostratus import (
    cli,
    errors,
    evidence,
    hypervisors,
    machine,
    scheduling,
    spec,
    stack,
    survey,
    why,
)
from altostratus.evidence import Journal
from altostratus.model import Hypervisor, Overcloud
from altostratus.scheduling import Facts, Record
from tests.unit import fake_undercloud
from tests.unit.fake_undercloud import REQUEST, FakeUndercloud

_ROOT = pathlib.Path(__file__).parents[2]
SERVER, IMAGE = "6f2d70dc-2eda-4273-99f4-7be03a29d2b1", "0a97fae9-3a2a-45ec-8c65-07e865a534fa"
HOST = "undercloud-lxc"


@pytest.fixture
def fake() -> collections.abc.Iterator[FakeUndercloud]:
    with fake_undercloud.running() as found:
        yield found


@pytest.fixture
def overcloud() -> Overcloud:
    text = (_ROOT / "examples" / "quickstart.yaml").read_text()
    return spec.parse(text, "quickstart.yaml")


def read(fake: FakeUndercloud, overcloud: Overcloud, journal: Journal | None = None) -> Facts:
    """The facts of the database."""
    (database,) = (one for one in overcloud.instances if one.name == "database")
    connection = fake_undercloud.connect(fake)
    return evidence.read(connection, overcloud, database, journal or Journal())


def place(fake: FakeUndercloud, **changes: Any) -> None:
    """The database's server, image and port, as Nova, Glance and Neutron show them."""
    entry = hypervisors.entry("lxc")
    flavor = {"original_name": "f", "ram": 1024, "vcpus": 1, "disk": 2, "swap": 0, "ephemeral": 0}
    fake.servers.append(
        {
            "id": SERVER,
            "name": "demo-database",
            "status": "ACTIVE",
            "OS-EXT-SRV-ATTR:host": HOST,
            "image": {"id": IMAGE},
            "flavor": flavor | {"extra_specs": entry.flavor_properties},
            "metadata": {
                stack.OVERCLOUD: "demo",
                stack.INSTANCE: "database",
                stack.HYPERVISOR: "lxc",
            },
        }
        | changes
    )
    fake.actions[SERVER] = [{"action": "create", "request_id": REQUEST, "events": []}]
    fake.images[IMAGE] = {"id": IMAGE, "name": "altostratus-mariadb-lxc"} | entry.image_properties
    fake.ports.append({"id": "port", "name": "demo-database-control", "binding:vif_type": "ovs"})
    if fake.servers[-1]["OS-EXT-SRV-ATTR:host"]:
        fake.providers[HOST]["usages"] = {"MEMORY_MB": 1024, "DISK_GB": 2}


def refuse(fake: FakeUndercloud) -> None:
    """Nova's word for an instance that it has no host for."""
    fault = {"code": 500, "message": "No valid host was found. "}
    place(fake, status="ERROR", fault=fault, **{"OS-EXT-SRV-ATTR:host": None})
    event = "conductor_schedule_and_build_instances"
    fake.actions[SERVER][0]["events"] = [{"event": event, "result": "Error", "host": "undercloud"}]


def result(facts: Facts) -> str:
    return why.explain(facts, "overcloud.yaml").result.text


def test_instance_that_is_not_there_has_the_demand_of_its_file(
    fake: FakeUndercloud, overcloud: Overcloud
) -> None:
    facts = read(fake, overcloud)
    assert facts.server is None and not facts.is_deployed
    assert facts.demand.resources == {"DISK_GB": 2, "MEMORY_MB": 1024}
    assert facts.demand.traits == {"CUSTOM_HYPERVISOR_LXC"}
    assert facts.candidates == {HOST}
    assert {one.provider.name: one.hypervisor_type for one in facts.processes} == {
        "undercloud-docker": "docker",
        "undercloud-kvm": "qemu",
        HOST: "lxc",
    }
    assert {one.node for one in facts.processes} == {"undercloud"}
    assert result(facts) == f"It is not there yet, and would run on {HOST}"


def test_placed_instance_is_explained(fake: FakeUndercloud, overcloud: Overcloud) -> None:
    place(fake)
    facts = read(fake, overcloud)
    assert facts.server == scheduling.Server(SERVER, "demo-database", "ACTIVE", HOST)
    assert facts.demand.image == "altostratus-mariadb-lxc"
    assert result(facts) == f"It runs on {HOST} because no other compute process takes it"


def test_server_counts_where_the_file_has_moved_on(
    fake: FakeUndercloud, overcloud: Overcloud
) -> None:
    place(fake)
    moved = [
        dataclasses.replace(one, hypervisor=Hypervisor("docker"), memory_mib=99)
        for one in overcloud.instances
    ]
    facts = read(fake, dataclasses.replace(overcloud, instances=tuple(moved)))
    assert (facts.instance.hypervisor, facts.instance.memory_mib) == ("lxc", 1024)


def test_property_of_the_image_in_glance_counts(fake: FakeUndercloud, overcloud: Overcloud) -> None:
    refuse(fake)
    fake.images[IMAGE]["hypervisor_type"] = "docker"
    assert result(read(fake, overcloud)) == (
        f"No host; nearest is {HOST}: it runs images of lxc, not of docker"
    )
    del fake.images[IMAGE]
    assert read(fake, overcloud).demand.hypervisor_type == "lxc"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"status": "disabled", "disabled_reason": "work"},
            "its compute process is disabled: work",
        ),
        ({"state": "down"}, "its compute process is down, last heard of at 2026-01-01T00:00:00"),
    ],
)
def test_compute_process_that_takes_nothing_is_named(
    fake: FakeUndercloud, overcloud: Overcloud, change: dict[str, str], expected: str
) -> None:
    refuse(fake)
    next(one for one in fake.services if one["host"] == HOST).update(change)
    assert expected in result(read(fake, overcloud))


def test_use_by_others_is_counted(fake: FakeUndercloud, overcloud: Overcloud) -> None:
    refuse(fake)
    fake.providers[HOST]["usages"]["MEMORY_MB"] = 5400
    fake.providers[HOST]["inventories"]["MEMORY_MB"]["reserved"] = 100
    facts = read(fake, overcloud)
    assert facts.candidates == frozenset()
    assert "1024 MiB of memory are needed, and 644 of 6044 are free" in result(facts)


def test_compute_process_without_its_trait_is_still_seen(
    fake: FakeUndercloud, overcloud: Overcloud
) -> None:
    refuse(fake)
    fake.providers[HOST]["traits"] = ["COMPUTE_NODE", "OWNER_NOVA"]
    connection = fake_undercloud.connect(fake)
    assert HOST not in [one.name for one in survey.providers(connection)]
    assert result(read(fake, overcloud)) == (
        f"No host; nearest is {HOST}: it lacks CUSTOM_HYPERVISOR_LXC"
    )


def test_compute_process_that_placement_does_not_know_has_no_room(
    fake: FakeUndercloud, overcloud: Overcloud
) -> None:
    refuse(fake)
    del fake.providers[HOST]
    assert "0 of 0 are free" in result(read(fake, overcloud))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"alive": False}, "the network agent of undercloud is down, last heard of at 2026-01-01"),
        ({"admin_state_up": False}, "the network agent of undercloud is disabled"),
        ({"host": "elsewhere"}, "no network agent on undercloud"),
    ],
)
def test_network_agent_is_named(
    fake: FakeUndercloud, overcloud: Overcloud, change: dict[str, Any], expected: str
) -> None:
    refuse(fake)
    fake.agents[0].update(change)
    assert expected in result(read(fake, overcloud))


def test_failure_on_a_host_is_remembered_by_its_event(
    fake: FakeUndercloud, overcloud: Overcloud
) -> None:
    refuse(fake)
    fake.servers[0]["fault"]["message"] = "State disk demo.database: is in use"
    event = "compute__do_build_and_run_instance"
    fake.actions[SERVER][0]["events"] = [{"event": event, "result": "Error", "host": HOST}]
    assert result(read(fake, overcloud)) == (
        f"It was placed on {HOST} and failed there: State disk demo.database: is in use"
    )


def test_failure_that_is_over_does_not_count(fake: FakeUndercloud, overcloud: Overcloud) -> None:
    place(fake)
    event = {"event": "compute_reboot_instance", "result": "Error", "host": HOST}
    fake.actions[SERVER].append({"action": "reboot", "request_id": "req-1", "events": [event]})
    server = read(fake, overcloud).server
    assert server and server.failed_on is None


def test_ports_that_are_not_bound_are_named(fake: FakeUndercloud, overcloud: Overcloud) -> None:
    place(fake)
    fake.ports[0]["binding:vif_type"] = "binding_failed"
    assert "Neutron could not bind demo-database-control" in result(read(fake, overcloud))


def test_record_of_the_scheduler_is_found_by_the_request(
    fake: FakeUndercloud, overcloud: Overcloud
) -> None:
    refuse(fake)
    line = f"INFO nova.scheduler.manager [None {REQUEST} - -] {scheduling.NO_CANDIDATES}. This"
    assert read(fake, overcloud, Journal((line,))).record == Record(had_no_candidates=True)


def test_journal_that_is_out_of_reach_is_said(fake: FakeUndercloud, overcloud: Overcloud) -> None:
    refuse(fake)
    facts = read(fake, overcloud, Journal(silence="its journal is out of reach: it is far away"))
    assert "scheduler  its journal is out of reach: it is far away\n" in why.to_text(
        why.explain(facts, "overcloud.yaml")
    )


def test_instance_of_the_stack_is_deployed(fake: FakeUndercloud, overcloud: Overcloud) -> None:
    about = {"hypervisor": "lxc", "services": ["mariadb"], "addresses": {}, "flavor": "f"}
    about |= {"state_gib": 4, "image": "", "digest": ""}
    outputs = [{"output_key": stack.OUTPUT, "output_value": {"instances": {"database": about}}}]
    fake.stacks["demo"] = {
        "stack": {"id": "id", "stack_name": "demo", "stack_status": "CREATE_FAILED"}
        | {"outputs": outputs}
    }
    assert read(fake, overcloud).is_deployed


def test_undercloud_elsewhere_has_its_journal_out_of_reach(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setattr(machine, "ENGINE_SOCKET", tmp_path / "none")
    assert evidence.journal() == Journal(
        silence="its journal is out of reach: the undercloud is not here"
    )


def test_unknown_instance_is_told_with_those_that_there_are() -> None:
    error = complaint("overcloud", "why", "databse")
    assert error.message == "there is no instance 'databse'"
    assert error.hint == "did you mean 'database'? known: database, identity, images"
    assert error.exit_status == errors.Exit.FAILED


def test_without_an_undercloud_it_says_what_the_others_say(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "clouds.yaml").write_text("clouds: {}\n")
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))
    error = complaint("overcloud", "why", "database")
    assert error.message == complaint("overcloud", "status").message
    assert error.hint == "./altostratus undercloud up"


def complaint(*arguments: str) -> errors.Error:
    """What a command ends with."""
    done = click.testing.CliRunner().invoke(cli.cli, arguments)
    assert isinstance(done.exception, errors.Error), done
    return done.exception
