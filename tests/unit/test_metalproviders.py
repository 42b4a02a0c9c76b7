"""Ironic's nodes as what instances are given to: their size, and why one takes none."""

import types
from typing import Any

import pytest

from altostratus import hypervisors, metalproviders
from altostratus.observed import Provider
from altostratus.placement import ResourceProvider

TRAITS = frozenset({"CUSTOM_HYPERVISOR_BAREMETAL"})
UP = {"undercloud-ironic": types.SimpleNamespace(state="up")}
DOWN = {"undercloud-ironic": types.SimpleNamespace(state="down")}


def _node(**changes: Any) -> Any:
    node = {
        "id": "id-of-rack1-1",
        "name": "rack1-1",
        "instance_id": None,
        "provision_state": "available",
        "is_maintenance": False,
        "maintenance_reason": None,
        "properties": {"memory_mb": "4096", "local_gb": 16},
    }
    return types.SimpleNamespace(**node | changes)


def _described(node: Any, processes: Any = UP, own: tuple[str, ...] = ()) -> Provider:
    found = metalproviders.described([node], processes, own)
    return found[node.id]


def test_a_machine_has_its_name_and_size() -> None:
    found = _described(_node())
    assert found == Provider("rack1-1", hypervisors.BAREMETAL, 4096, 16)


def test_a_machine_is_told_by_its_trait() -> None:
    assert metalproviders.is_machine(ResourceProvider("1", "of-ironic", traits=TRAITS))
    assert not metalproviders.is_machine(ResourceProvider("2", "undercloud-lxc"))


def test_where_there_is_none_nobody_is_asked() -> None:
    assert metalproviders.read([ResourceProvider("1", "undercloud-lxc")], UP) == {}


def test_an_instance_of_others_has_all_of_it() -> None:
    node = _node(instance_id="a-server", provision_state="active")
    assert _described(node).others_memory_mib == 4096
    ours = _described(node, own=("a-server",))
    assert (ours.others_memory_mib, ours.trouble) == (0, None)


@pytest.mark.parametrize(
    ("changes", "processes", "trouble"),
    [
        ({"provision_state": "clean wait"}, UP, "it is clean wait"),
        (
            {"is_maintenance": True, "maintenance_reason": "a new fan"},
            UP,
            "it is in maintenance: a new fan",
        ),
        ({}, DOWN, "the compute process ironic is down"),
    ],
)
def test_why_one_takes_no_instance(changes: Any, processes: Any, trouble: str) -> None:
    assert _described(_node(**changes), processes).trouble == trouble
