"""Machines are made ready for instances, and what keeps one from it is told with node, phase, cause."""

import types
from typing import Any

import pytest

from altostratus import baremetal, errors, hypervisors, nodesfile, provision
from tests.unit.fake_ironic import FakeIronic

CLASS = "CUSTOM_BAREMETAL"


class FakePlacement:
    """It knows a node once Nova has heard that it is available."""

    def __init__(self, ironic: FakeIronic) -> None:
        self.ironic = ironic

    def get(self, path: str, **_: Any) -> Any:
        _, _, identity, what = path.split("/")
        node = self.ironic.all[identity]
        reserved = int(node.provision_state != "available")
        one = {"total": 1, "reserved": reserved, "allocation_ratio": 1.0}
        told: dict[str, Any] = {
            "inventories": {f"CUSTOM_{node.resource_class.upper()}": one},
            "usages": {},
        }
        content = {what: told[what]}
        return types.SimpleNamespace(status_code=200, json=lambda: content)


@pytest.fixture
def ironic(monkeypatch: pytest.MonkeyPatch) -> FakeIronic:
    monkeypatch.setenv("PASSWORD", "secret")
    double = FakeIronic({"https://192.0.2.1": "secret", "https://192.0.2.2": "secret"})
    wanted = tuple(
        nodesfile.Wanted(name, f"https://192.0.2.{n}", "", "admin", password_env="PASSWORD")
        for n, name in enumerate(("first", "second"), start=1)
    )
    connection: Any = types.SimpleNamespace(baremetal=double)
    baremetal.enrol(connection, wanted, {})
    return double


def provide(ironic: FakeIronic, *names: str) -> list[errors.Error]:
    metal: Any = types.SimpleNamespace(baremetal=ironic)
    undercloud: Any = types.SimpleNamespace(placement=FakePlacement(ironic))
    return provision.provide(metal, undercloud, names)


def named(ironic: FakeIronic, name: str) -> Any:
    return next(node for node in ironic.all.values() if node.name == name)


def test_a_machine_is_known_described_cleaned_and_offered(ironic: FakeIronic) -> None:
    assert provide(ironic, "first") == []
    first = named(ironic, "first")
    assert first.provision_state == "available"
    assert first.resource_class == "baremetal"
    assert first.traits == ["CUSTOM_HYPERVISOR_BAREMETAL"]
    assert first.properties["capabilities"] == (
        "altostratus_memory_mib:2048,altostratus_disk_gib:9"
    )
    assert named(ironic, "second").provision_state == "manageable"
    assert hypervisors.resource("baremetal") == CLASS


def test_one_that_is_ready_is_left_as_it_is(ironic: FakeIronic) -> None:
    assert provide(ironic, "first", "second", "first") == []
    before = ironic.writes
    assert provide(ironic, "first", "second") == []
    assert ironic.writes == before


def test_the_machine_is_asked_for_what_its_bmc_does_not_tell(ironic: FakeIronic) -> None:
    del ironic.tells["local_gb"]
    assert provide(ironic, "first") == []
    assert named(ironic, "first").properties["local_gb"] == 9


def test_what_nobody_can_tell_is_named_with_the_command_that_sets_it(ironic: FakeIronic) -> None:
    del ironic.tells["memory_mb"]
    (told,) = provide(ironic, "first")
    assert told.message == (
        "node first (BMC https://192.0.2.1): the inspection did not find all: its memory_mb is"
        " unknown"
    )
    assert told.hint is not None
    assert told.hint.endswith("baremetal node set --property memory_mb=NUMBER first")


def test_a_cleaning_that_failed_is_told_and_gone_on_with(ironic: FakeIronic) -> None:
    ironic.clean_error = "Agent returned error for clean step erase_devices_metadata"
    told = provide(ironic, "first", "second")
    assert [one.message for one in told] == [
        f"node {name} (BMC https://192.0.2.{n}): the cleaning failed: {ironic.clean_error}"
        for n, name in enumerate(("first", "second"), start=1)
    ]
    ironic.clean_error = None
    assert provide(ironic, "first") == []
    first = named(ironic, "first")
    assert (first.provision_state, first.is_maintenance) == ("available", False)


def test_a_bmc_that_is_gone_after_a_failed_cleaning_is_told(ironic: FakeIronic) -> None:
    ironic.clean_error = "power lost"
    provide(ironic, "first")
    ironic.bmcs["https://192.0.2.1"] = "another"
    (told,) = provide(ironic, "first")
    assert "it cannot be managed: it refuses the user or the password" in told.message


def test_maintenance_of_an_operator_stays(ironic: FakeIronic) -> None:
    first = named(ironic, "first")
    first.is_maintenance, first.maintenance_reason = True, "a new fan"
    (told,) = provide(ironic, "first")
    assert told.message.endswith("it is in maintenance: a new fan")
    assert told.hint is not None
    assert told.hint.endswith("baremetal node maintenance unset first")
    assert first.is_maintenance


def test_a_machine_with_an_instance_is_not_touched(ironic: FakeIronic) -> None:
    named(ironic, "first").instance_id = "of-the-server"
    before = ironic.writes
    (told,) = provide(ironic, "first")
    assert "it cannot be made ready: the instance of-the-server is on it" in told.message
    assert ironic.writes == before


def test_a_name_that_is_none_is_told_before_anything_is_done(ironic: FakeIronic) -> None:
    before = ironic.writes
    with pytest.raises(errors.Error, match="there is no node 'frist'"):
        provide(ironic, "second", "frist")
    assert ironic.writes == before


@pytest.mark.parametrize(
    ("known", "becomes"),
    [
        (None, "altostratus_memory_mib:1,altostratus_disk_gib:2"),
        (
            "boot_mode:uefi,altostratus_disk_gib:9,cpu_vt:true",
            "boot_mode:uefi,altostratus_disk_gib:2,cpu_vt:true,altostratus_memory_mib:1",
        ),
    ],
)
def test_capabilities_of_others_are_kept(known: str | None, becomes: str) -> None:
    properties = {"capabilities": known, "memory_mb": "1", "local_gb": 2}
    assert provision.with_size(properties) == becomes
