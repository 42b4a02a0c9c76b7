"""A compute node is closed, emptied of its machines, and opened again, whatever happens meanwhile."""

import collections.abc
import contextlib
import dataclasses
import pathlib
from typing import Any

import pytest

from altostratus import administrator, cloud, computenodes, emptying, errors, lock, plan, spec
from altostratus.departures import Size
from altostratus.deployment import Deployment
from altostratus.model import CONTROL
from altostratus.observed import Deployed, Observed, Server, Stack
from tests.unit import fake_overcloud, fake_undercloud, golden
from tests.unit.fake_overcloud import TUNNEL, FakeOvercloud

_NAMES = ("first", "second")
_TEXT = (pathlib.Path(__file__).parents[1] / "golden/compute/overcloud.yaml").read_text()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> collections.abc.Iterator[FakeOvercloud]:
    with fake_overcloud.running() as found:
        found.add_node("first")
        found.add_node("second")
        connection = fake_undercloud.connect(found)
        monkeypatch.setattr(
            administrator, "connected", lambda *_of: contextlib.nullcontext(connection)
        )
        monkeypatch.setattr(lock, "held", lambda *_of: contextlib.nullcontext())
        monkeypatch.setitem(cloud.wait.__kwdefaults__, "poll_s", 0)
        yield found
        connection.close()


@pytest.fixture
def deployment() -> Deployment:
    overcloud = spec.parse(_TEXT, "overcloud.yaml")
    keystone = Deployed(
        overcloud.instances[0].hypervisor, ("keystone",), {CONTROL: "a"}, "", 1, "", "", ""
    )
    node = dataclasses.replace(keystone, services=("nova-compute",))
    there = {"controller": keystone} | dict.fromkeys(_NAMES, node)
    seen = Observed(
        golden.empty_undercloud().control,
        Stack("1", "UPDATE_COMPLETE", "", "", there),
        servers=tuple(Server(name, name, "ACTIVE", True) for name in there),
    )
    made = plan.Plan(overcloud, (), {}, {}, ())
    return Deployment(None, made, {}, seen, {}, None)  # type: ignore[arg-type]


def empty(deployment: Deployment, name: str, *, may_stop: bool = False) -> Any:
    return emptying.emptied(deployment, name, may_stop=may_stop)


def test_nodes_are_read_with_their_machines(fake: FakeOvercloud, deployment: Deployment) -> None:
    fake.add_machine("a", "first", network=TUNNEL)
    fake.add_machine("off", "first")
    fake.servers[-1] |= {"status": "SHUTOFF", "OS-EXT-STS:power_state": 4}
    fake.add_node("third", is_able=False)
    fake.service("second").update(status="disabled", disabled_reason="a fan is loud")
    fake.service("third").update(status="disabled", disabled_reason=computenodes.CLOSED)
    found = emptying.read(deployment)
    (machine,) = found["first"].machines
    assert (machine.name, machine.size, machine.apart) == ("a", Size(512, 1, 1), ("private",))
    assert found["first"].free == Size(1024, 8, 6)
    assert (found["first"].closed, found["second"].closed) == (None, "a fan is loud")
    # What an interrupted run has closed is opened before anything changes.
    assert (found["third"].closed, found["third"].is_able) == (None, False)


def test_machines_move_while_the_node_is_closed(
    fake: FakeOvercloud, deployment: Deployment
) -> None:
    fake.add_machine("a", "first")
    fake.add_machine("b", "first", 1024)
    with empty(deployment, "first") as stuck:
        assert stuck is None
        assert fake.service("first")["disabled_reason"] == computenodes.CLOSED
        assert sorted(fake.at("second")) == ["a", "b"]
        # What each has left on the node is gone.
        assert {one["status"] for one in fake.migrations} == {"completed"}
    assert fake.asked == ["disabled first", "move b", "move a", "enabled first"]
    assert fake.at("first") == []
    # The next node's go to the one that has changed.
    with empty(deployment, "second"):
        assert sorted(fake.at("first")) == ["a", "b"]


def test_node_without_machines_is_closed_while_it_changes(
    fake: FakeOvercloud, deployment: Deployment
) -> None:
    with empty(deployment, "first"):
        pass
    assert fake.asked == ["disabled first", "enabled first"]


def test_node_whose_machines_have_no_place_is_left_alone(
    fake: FakeOvercloud, deployment: Deployment
) -> None:
    fake.add_machine("a", "first", network=TUNNEL)
    with empty(deployment, "first") as stuck:
        assert [machine.name for machine, _ in stuck.stuck] == ["a"]
    assert fake.asked == []


def test_machines_that_may_stop_do_not_keep_the_others(
    fake: FakeOvercloud, deployment: Deployment
) -> None:
    fake.add_machine("a", "first", network=TUNNEL)
    fake.add_machine("b", "first")
    fake.add_machine("c", "first")
    fake.refused.add("c")
    with empty(deployment, "first", may_stop=True) as stuck:
        assert stuck is None
        assert fake.at("first") == ["a", "c"]
    assert fake.asked == ["disabled first", "move b", "move c", "enabled first"]


def test_machine_that_does_not_get_there_is_named_and_the_node_opened(
    fake: FakeOvercloud, deployment: Deployment
) -> None:
    fake.add_machine("a", "first")
    fake.refused.add("a")
    with pytest.raises(errors.NotMoved) as caught, empty(deployment, "first"):
        pytest.fail("a machine is there")
    assert caught.value.message == (
        "the machine a (a) does not move away from first: No port is bound"
    )
    assert "--stop-machines first" in str(caught.value.hint)
    assert fake.asked == ["disabled first", "move a", "enabled first"]


def test_node_is_opened_when_its_change_fails(fake: FakeOvercloud, deployment: Deployment) -> None:
    with pytest.raises(KeyboardInterrupt), empty(deployment, "first"):
        raise KeyboardInterrupt
    assert fake.service("first")["status"] == "enabled"


def test_node_that_an_operator_has_disabled_stays_so(
    fake: FakeOvercloud, deployment: Deployment
) -> None:
    fake.add_machine("a", "first")
    fake.service("first").update(status="disabled", disabled_reason="a fan is loud")
    with empty(deployment, "first"):
        assert fake.at("second") == ["a"]
    emptying.open_left(deployment)
    assert fake.service("first")["disabled_reason"] == "a fan is loud"


def test_interrupted_run_is_carried_on(
    fake: FakeOvercloud, deployment: Deployment, capfd: pytest.CaptureFixture[str]
) -> None:
    fake.add_machine("a", "first")
    fake.service("first").update(status="disabled", disabled_reason=computenodes.CLOSED)
    fake.move("a", {"os-migrateLive": {"host": None, "block_migration": "auto"}})
    (machine,) = emptying.read(deployment)["first"].machines
    assert (machine.status, machine.target) == ("MIGRATING", "second")
    with empty(deployment, "first"):
        assert fake.at("second") == ["a"]
    # It was under way, and is not asked for again.
    assert fake.asked == ["move a", "enabled first"]
    fake.service("second").update(status="disabled", disabled_reason=computenodes.CLOSED)
    emptying.open_left(deployment)
    assert fake.service("second")["status"] == "enabled"
    assert "second takes machines again" in capfd.readouterr().err


def after_move(
    monkeypatch: pytest.MonkeyPatch,
    fake: FakeOvercloud,
    happens: collections.abc.Callable[[], None],
) -> None:
    """Let something happen as soon as a machine has begun to move."""
    move = fake.move

    def moved(server: str, body: dict[str, Any]) -> None:
        move(server, body)
        happens()

    monkeypatch.setattr(fake, "move", moved)


def test_machine_that_its_user_stops_meanwhile_is_no_obstacle(
    fake: FakeOvercloud, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.add_machine("a", "first")
    stopped = {"status": "SHUTOFF", "OS-EXT-STS:power_state": 4}
    after_move(monkeypatch, fake, lambda: fake.servers[0].update(stopped))
    with empty(deployment, "first") as stuck:
        assert stuck is None


def test_machines_that_were_there_are_not_stopped_because_nova_is_silent(
    fake: FakeOvercloud, deployment: Deployment
) -> None:
    fake.is_silent = True
    with empty(deployment, "first") as stuck:
        assert stuck is None
    there = dataclasses.replace(deployment.observed, machines={"second": ("a",)})
    with (
        pytest.raises(errors.NotMoved, match="does not say any more what runs on first"),
        empty(dataclasses.replace(deployment, observed=there), "first"),
    ):
        pytest.fail("nobody knows what runs there")


def test_answers_may_be_missing_while_a_machine_moves(
    fake: FakeOvercloud, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.add_machine("a", "first")
    after_move(monkeypatch, fake, lambda: setattr(fake, "hang_ups", 3))
    with empty(deployment, "first"):
        assert (fake.at("second"), fake.hang_ups) == (["a"], 0)


def test_what_runs_on_an_instance_that_is_down_is_not_moved(
    fake: FakeOvercloud, deployment: Deployment
) -> None:
    fake.add_machine("a", "first")
    dead = dataclasses.replace(
        deployment.observed, servers=(Server("first", "first", "SHUTOFF", False),)
    )
    with empty(dataclasses.replace(deployment, observed=dead), "first") as stuck:
        assert stuck is None
    assert fake.at("first") == ["a"]
