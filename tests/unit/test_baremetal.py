"""Machines are enrolled all or none, and what is wrong with one is told with its BMC and the cause."""

import dataclasses
import pathlib
import types
from typing import Any

import pytest

from altostratus import baremetal, errors, metalnode, nodesfile, table, testbed
from tests.unit.fake_ironic import REFUSED, UNREACHABLE, FakeIronic

IMAGES = {"deploy_kernel": "kernel-id", "deploy_ramdisk": "ramdisk-id"}
FILE = """
nodes:
  first: {{bmc: "https://192.0.2.1/redfish/v1/Systems/1", user: admin, password_file: {0}}}
  second: {{bmc: "https://192.0.2.2", user: admin, password_file: {0}, verify: false}}
"""


@pytest.fixture
def ironic() -> FakeIronic:
    return FakeIronic({"https://192.0.2.1": "secret", "https://192.0.2.2": "secret"})


@pytest.fixture
def password(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "password"
    path.write_text("secret\n")
    return path


@pytest.fixture
def wanted(password: pathlib.Path) -> tuple[nodesfile.Wanted, ...]:
    return nodesfile.parse(FILE.format(password), "nodes.yaml")


def enrol(ironic: FakeIronic, wanted: tuple[nodesfile.Wanted, ...]) -> tuple[str, ...]:
    connection: Any = types.SimpleNamespace(baremetal=ironic)
    return baremetal.enrol(connection, wanted, IMAGES)


def inspect(ironic: FakeIronic, name: str) -> baremetal.Node:
    connection: Any = types.SimpleNamespace(baremetal=ironic)
    return baremetal.inspect(connection, name)


def shown(ironic: FakeIronic) -> list[str]:
    connection: Any = types.SimpleNamespace(baremetal=ironic)
    return table.lines(baremetal.rows(baremetal.listed(connection)))


def test_machines_are_enrolled_and_inspected(ironic: FakeIronic, wanted: Any) -> None:
    assert enrol(ironic, wanted) == ("first", "second")
    assert {node.provision_state for node in ironic.nodes()} == {"manageable"}
    assert {tuple(node.traits) for node in ironic.nodes()} == {("CUSTOM_HYPERVISOR_BAREMETAL",)}
    (first,) = (node for node in ironic.all.values() if node.name == "first")
    assert first.driver_info == {
        "redfish_address": "https://192.0.2.1",
        "redfish_system_id": "/redfish/v1/Systems/1",
        "redfish_username": "admin",
        "redfish_password": "secret",
        "redfish_verify_ca": True,
        **IMAGES,
    }
    assert "secret" not in str(first.extra)
    found = inspect(ironic, "first")
    assert (found.properties["memory_mb"], found.macs) == (2048, ("52:54:00:00:00:00",))
    heading, first, second = (line.split("  ") for line in shown(ironic))
    assert [word.strip() for word in heading if word] == [
        *("NAME", "STATE", "POWER", "ARCH", "MEMORY", "DISK", "MACS", "BMC", "TROUBLE")
    ]
    assert [word.strip() for word in first if word] == [
        *("first", "manageable", "power off", "x86_64", "2048 MiB", "9 GiB", "52:54:00:00:00:00"),
        *("https://192.0.2.1/redfish/v1/Systems/1", "-"),
    ]
    assert [word.strip() for word in second if word] == [
        *("second", "manageable", "power off", "-", "-", "-", "-", "https://192.0.2.2", "-")
    ]


def test_the_first_nic_is_on_the_control_network(ironic: FakeIronic, wanted: Any) -> None:
    one = dataclasses.replace(wanted[0], macs=("52:54:00:00:00:aa",))
    enrol(ironic, (one,))
    inspect(ironic, "first")
    found = [(port.address, port.physical_network, port.is_pxe_enabled) for port in ironic.ports()]
    assert found == [
        ("52:54:00:00:00:aa", "control", True),
        ("52:54:00:00:00:01", None, False),
    ]


def test_the_same_file_again_changes_nothing(ironic: FakeIronic, wanted: Any) -> None:
    enrol(ironic, wanted)
    before = ironic.writes
    assert enrol(ironic, wanted) == ()
    assert ironic.writes == before


def test_another_password_is_another_file(
    ironic: FakeIronic, wanted: Any, password: pathlib.Path
) -> None:
    enrol(ironic, wanted)
    password.write_text("new")
    assert enrol(ironic, wanted) == ("first", "second")
    assert {node.driver_info["redfish_password"] for node in ironic.all.values()} == {"new"}


@pytest.mark.parametrize(
    ("bmcs", "cause"),
    [
        ({"https://192.0.2.1": "secret"}, "it cannot be reached from the undercloud"),
        (
            {"https://192.0.2.1": "secret", "https://192.0.2.2": "other"},
            "it refuses the user or the password",
        ),
    ],
)
def test_one_that_cannot_be_managed_leaves_none_enrolled(
    bmcs: dict[str, str], cause: str, wanted: Any
) -> None:
    ironic = FakeIronic(bmcs)
    with pytest.raises(errors.Error) as told:
        enrol(ironic, wanted)
    assert told.value.message == (
        f"node second (BMC https://192.0.2.2): it cannot be managed: {cause}"
    )
    assert told.value.exit_status == errors.Exit.FAILED
    assert ironic.nodes() == []


def test_machines_that_were_there_stay_when_another_fails(ironic: FakeIronic, wanted: Any) -> None:
    enrol(ironic, wanted[:1])
    del ironic.bmcs["https://192.0.2.2"]
    with pytest.raises(errors.Error, match="node second"):
        enrol(ironic, wanted)
    assert [node.name for node in ironic.nodes()] == ["first"]


def test_bmc_and_mac_of_another_node_are_refused(
    ironic: FakeIronic, wanted: Any, password: pathlib.Path
) -> None:
    enrol(ironic, wanted)
    mac = inspect(ironic, "second").macs[0]
    text = FILE.format(password).replace("first", "third").replace("second", "fourth")
    with pytest.raises(errors.Error, match=r"node third: its BMC .*/1 is that of first"):
        enrol(ironic, nodesfile.parse(text, "nodes.yaml"))
    other = nodesfile.Wanted(
        "third", "https://192.0.2.3", "", "admin", password_file=str(password), macs=(mac,)
    )
    with pytest.raises(errors.Error, match=f"{mac} is that of the node second"):
        enrol(ironic, (other,))
    assert len(ironic.nodes()) == 2


def test_inspection_that_finds_a_mac_of_another_node_says_so(
    ironic: FakeIronic, wanted: Any
) -> None:
    enrol(ironic, wanted)
    ironic.found_macs["second"] = inspect(ironic, "first").macs[0]
    with pytest.raises(errors.Error, match=r"second \(BMC .*\): the inspection failed: A port"):
        inspect(ironic, "second")


def test_a_node_that_is_not_there_is_named(ironic: FakeIronic, wanted: Any) -> None:
    enrol(ironic, wanted)
    with pytest.raises(errors.Error, match="there is no node 'frist'") as told:
        inspect(ironic, "frist")
    assert told.value.hint == "did you mean 'first'? known: first, second"


def test_password_that_is_not_there_is_told_before_anything_is_done(ironic: FakeIronic) -> None:
    one = nodesfile.Wanted("first", "https://192.0.2.1", "", "admin", password_env="NOT_THERE")
    with pytest.raises(errors.Error, match="no password in the variable NOT_THERE"):
        enrol(ironic, (one,))
    assert ironic.writes == 0


@pytest.mark.parametrize(
    ("said", "means"),
    [
        (UNREACHABLE, "it cannot be reached from the undercloud"),
        (REFUSED, "it refuses the user or the password"),
        ("SSLError(SSLCertVerificationError: certificate verify failed", "certificate is not"),
        ("HTTP GET https://x/Systems/7 returned code 404. Not found", "it has no such system"),
        ("Error: Resource https://x/Systems/7 not found", "it has no such system"),
        ("Something\n  else", "Something else"),
    ],
)
def test_what_ironic_says_is_told_in_few_words(said: str, means: str) -> None:
    assert means in metalnode.cause(said)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file names no nodes"),
        ("nodes: {}", "the file names no nodes"),
        ("nodes: {A: {bmc: 'https://x', user: u, password_env: P}}", "'A' cannot be a node's name"),
        ("nodes: {a: }", "nodes.a: it has no BMC"),
        ("nodes: {a: {bmc: 'ipmi://x', user: u, password_env: P}}", "is no BMC's URL"),
        ("nodes: {a: {bmc: 'https://u:p@x', user: u, password_env: P}}", "holds no user"),
        ("nodes: {a: {bmc: 'https://x', password_env: P}}", "the key 'user' is missing"),
        ("nodes: {a: {bmc: 'https://x', user: u}}", "either 'password_file' or 'password_env'"),
        ("nodes: {a: {bmc: 'https://x', user: u, password: p}}", "there is no key 'password'"),
        ("nodes: {a: {bmc: 'https://x', user: u, password_env: P, verify: 1}}", "neither true nor"),
        ("nodes: {a: {bmc: 'https://x', user: u, password_env: P, macs: [1]}}", "1 is no MAC"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_its_place(text: str, message: str) -> None:
    with pytest.raises(errors.FindingsError) as told:
        nodesfile.parse(text, "nodes.yaml")
    assert message in str(told.value)


@pytest.mark.parametrize(
    ("first", "second", "what"),
    [
        ("bmc: 'https://x/'", "bmc: 'https://x'", "the BMC https://x"),
        (
            "bmc: 'https://x', macs: ['52:54:00:00:00:0a']",
            "bmc: 'https://y', macs: ['52:54:00:00:00:0A']",
            "the MAC address 52:54:00:00:00:0a",
        ),
    ],
)
def test_one_machine_twice_is_refused(first: str, second: str, what: str) -> None:
    more = "user: u, password_env: P"
    text = f"nodes:\n  a: {{{first}, {more}}}\n  b: {{{second}, {more}}}\n"
    with pytest.raises(errors.Error) as told:
        nodesfile.parse(text, "nodes.yaml")
    assert told.value.message == f"nodes.yaml:3: nodes.b: {what} is that of the node a, too"
    assert told.value.exit_status == errors.Exit.FAILED


def test_the_file_of_a_testbed_can_be_imported() -> None:
    machines = testbed.machines(2, 2048, 10)
    text = testbed.to_import(machines, pathlib.Path("/password"))
    found = nodesfile.parse(text, "nodes.yaml")
    assert [one.name for one in found] == ["testbed-0", "testbed-1"]
    assert found[0].bmc == "https://192.168.23.3:8000"
    assert found[0].system == f"/redfish/v1/Systems/{machines[0].uuid}"
    assert len({one.mac for one in machines}) == 2
