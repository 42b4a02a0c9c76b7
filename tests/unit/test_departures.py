"""Which machines leave a compute node, where to, and what is told of those that cannot."""

import dataclasses

from altostratus import departures
from altostratus.departures import Leaving, Machine, Node, Size

_LARGE = Size(2048, 20, 8)


def machine(name: str, memory_mib: int = 512, **others: object) -> Machine:
    return dataclasses.replace(
        Machine(f"id-of-{name}", name, size=Size(memory_mib, 1, 1)), **others
    )


def nodes(*found: Node) -> dict[str, Node]:
    return {one.name: one for one in found}


def told(leaving: Leaving, *, may_stop: bool = False) -> str:
    return departures.to_text("first", leaving, may_stop=may_stop)


def test_machines_go_where_there_is_most_room_the_largest_first() -> None:
    there = nodes(
        Node("first", Size(), (machine("a"), machine("b", 1024), machine("c"))),
        Node("second", Size(1600, 20, 8)),
        Node("third", Size(1100, 20, 8)),
    )
    leaving = departures.find(there, "first")
    assert [(one.name, target) for one, target in leaving.places] == [
        ("b", "second"),
        ("a", "third"),
        ("c", "third"),
    ]
    assert told(leaving) == (
        "first changes when its machines have moved away: b to second, a to third, c to third\n"
    )


def test_node_stays_where_there_is_no_room_for_one_of_its_machines() -> None:
    there = nodes(
        Node("first", Size(), (machine("a", 256), machine("b", 1024))),
        Node("second", Size(512, 20, 8)),
    )
    leaving = departures.find(there, "first")
    assert told(leaving) == (
        "first stays as it is: machines run there (b, a), and of b: no other compute node has room"
        " for 1024 MiB, 1 GiB, vcpus: 1; to have them stop while it changes: --stop-machines first\n"
    )
    assert told(leaving, may_stop=True) == (
        "first changes when its machines have moved away: a to second\n"
        "first stops machines while it changes (b): of b: no other compute node has room for"
        " 1024 MiB, 1 GiB, vcpus: 1\n"
    )
    for little in (Size(4096, 0, 8), Size(4096, 20, 0)):
        there["second"] = Node("second", little)
        assert len(departures.find(there, "first").stuck) == 2


def test_reason_is_told_that_holds_for_all_machines() -> None:
    first = Node("first", Size(), (machine("a"), machine("b")))
    second = Node("second", _LARGE)

    def reason(*there: Node) -> str:
        _, _, said = told(departures.find(nodes(*there), "first")).partition(" (a, b), and ")
        return said.partition("; to have them stop")[0]

    assert reason(first) == "there is no other compute node"
    down = dataclasses.replace(second, is_up=False)
    no_other = "no other compute node takes them (second: "
    assert reason(first, down) == f"{no_other}its compute process is not heard of)"
    closed = dataclasses.replace(second, closed="a fan is loud")
    assert reason(first, closed) == f"{no_other}it is disabled: a fan is loud)"
    old = dataclasses.replace(second, is_able=False)
    assert reason(first, old) == f"{no_other}its image is from before machines could move)"
    source = dataclasses.replace(first, is_able=False)
    assert reason(source, second) == "its image is from before machines could move"
    source = dataclasses.replace(first, is_up=False)
    assert reason(source, second) == "its compute process is not heard of"


def test_what_would_lose_its_network_or_is_refused_by_nova_does_not_move() -> None:
    there = nodes(
        Node(
            "first",
            Size(),
            (machine("a", apart=("private",)), machine("b", status="ERROR"), machine("c")),
        ),
        Node("second", _LARGE),
    )
    said = told(departures.find(there, "first"))
    assert "of a: the network private does not reach other compute nodes" in said
    assert "of b: Nova moves none that is ERROR" in said


def test_machine_that_is_on_its_way_is_not_asked_where_it_has_room() -> None:
    moving = machine("a", 9999, status=departures.MIGRATING)
    there = nodes(Node("first", Size(), (moving,)), Node("second", Size()))
    assert departures.find(there, "first") == Leaving(((moving, "where Nova finds room"),))
    sent = dataclasses.replace(moving, target="second")
    there["first"] = Node("first", Size(), (sent,))
    found = departures.foresee(there, ["first", "second"])
    assert found["first"].places == ((sent, "second"),)
    assert [one.name for one, _ in found["second"].places] == ["a"]


def test_node_that_changed_takes_the_machines_of_the_next() -> None:
    there = nodes(
        Node("first", Size(512, 20, 8), (machine("a", 1024),)),
        Node("second", Size(1024, 20, 8), (machine("b"),)),
    )
    found = departures.foresee(there, ["controller", "first", "second"])
    assert {name: [one.name for one, _ in of.places] for name, of in found.items()} == {
        "first": ["a"],
        "second": ["a", "b"],
    }
    assert departures.staying(found) == set()


def test_node_that_stays_keeps_its_machines_and_the_next_may_change() -> None:
    there = nodes(
        Node("first", Size(512, 20, 8), (machine("a", 2048),)),
        Node("second", Size(0, 20, 8), (machine("b"),)),
    )
    found = departures.foresee(there, ["first", "second"])
    assert departures.staying(found) == {"first"}
    assert [(one.name, target) for one, target in found["second"].places] == [("b", "first")]
    assert departures.staying(found, ["first"]) == set()


def test_nodes_that_nothing_is_known_of_stay() -> None:
    found = {"first": departures.unknown(("a", "b"))}
    assert departures.staying(found) == {"first"}
    assert "machines run there (a, b), and Nova says no more of them now" in told(found["first"])
