"""What the scheduler is asked, and what it wrote; tests/driver holds both against Nova itself."""

from altostratus import scheduling
from altostratus.scheduling import Aggregate, Demand, Filter, Record

SERVER = "6f2d70dc-2eda-4273-99f4-7be03a29d2b1"
REQUEST = "req-11f3d6d8-38ec-4c9c-9e08-cdc23da351fa"
OTHER = "req-54a1ca6f-7406-4c79-9caa-58ba354061fb"
_AT = "2026-01-01 00:00:00.000 2441 INFO"
_CONTEXT = "1e257c64b1fa453c9806bab02215249e d45683b04c4a4b37a96c983b1c351f3e - - default default"
NOTHING = f"{_AT} nova.scheduler.host_manager [None {REQUEST} {_CONTEXT}] Host node-lxc is there"
FILTERED = (
    f"{_AT} nova.filters [None {REQUEST} {_CONTEXT}] Filtering removed all hosts for the request"
    f" with instance ID '{SERVER}'. Filter results:"
    " ['ComputeFilter: (start: 2, end: 1)', 'ImagePropertiesFilter: (start: 1, end: 0)']"
)
NO_CANDIDATES = (
    f"{_AT} nova.scheduler.manager [None {REQUEST} {_CONTEXT}] Got no allocation candidates from"
    " the Placement API. This could be due to insufficient resources or a temporary occurrence as"
    " compute nodes start up."
)
FILTERS = (Filter("ComputeFilter", 2, 1), Filter("ImagePropertiesFilter", 1, 0))


def test_last_word_of_the_scheduler_counts() -> None:
    lines = [NOTHING, NO_CANDIDATES, FILTERED]
    assert scheduling.record(lines, SERVER, [REQUEST]) == Record(FILTERS)
    lines.reverse()
    assert scheduling.record(lines, SERVER, [REQUEST]) == Record(had_no_candidates=True)


def test_what_it_wrote_of_others_does_not_count() -> None:
    lines = [NO_CANDIDATES, FILTERED.replace(SERVER, "another")]
    found = scheduling.record(lines, SERVER, [OTHER])
    assert found == Record(silence="has no refusal of this server in its journal")


def test_flavor_s_own_amounts_come_before_its_size() -> None:
    flavor = {"resources:VCPU": "0", "resources:CUSTOM_GPU": "1", "altostratus:privileged": "true"}
    found = scheduling.demand(512, 2, 1, flavor, {"trait:CUSTOM_A": "required", "trait:B": "x"})
    assert found == Demand(
        {"CUSTOM_GPU": 1, "DISK_GB": 1, "MEMORY_MB": 512}, frozenset(["CUSTOM_A"]), ""
    )


def test_aggregates_are_closed_to_those_who_do_not_ask_for_all_their_traits() -> None:
    wanted = Demand({"MEMORY_MB": 1}, frozenset(["A"]), "")
    traits: list[list[str]] = [[], ["A"], ["A", "B"], ["C"]]
    aggregates = [
        Aggregate(str(number), f"aggregate-{number}", frozenset(one))
        for number, one in enumerate(traits)
    ]
    assert [one.id for one in scheduling.isolated(wanted, aggregates)] == ["2", "3"]
    assert ("member_of", "!in:2,3") in scheduling.query(wanted, aggregates)


def test_a_zone_is_asked_for_by_its_aggregate() -> None:
    wanted = scheduling.demand(1024, 1, 2, {}, {})
    aggregates = [
        scheduling.Aggregate("1", "hypervisor-lxc", frozenset(["CUSTOM_HYPERVISOR_LXC"])),
        scheduling.Aggregate("2", "second", zone="second"),
        scheduling.Aggregate("3", "undercloud", zone="undercloud"),
    ]
    asked = [
        value for key, value in scheduling.query(wanted, aggregates, "second") if key == "member_of"
    ]
    assert asked == ["!in:1", "in:2"]
