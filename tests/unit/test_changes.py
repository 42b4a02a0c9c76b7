"""What a plan says that instances are down for, and what of them Heat replaces."""

import dataclasses
import json
import math
import pathlib

import pytest

from altostratus import changes, check, hypervisors, plan, spec, yamlfile
from altostratus.changes import Action
from altostratus.observed import Observed
from tests.unit import golden

_ROOT = pathlib.Path(__file__).parents[2]
_FILE = _ROOT / "examples" / "quickstart.yaml"
_DEMO = spec.parse(_FILE.read_text(), "quickstart.yaml")
_SEEN = golden.deployed(_DEMO)


def with_stack(status: str = "UPDATE_COMPLETE", **image: str) -> Observed:
    """The quickstart, whose stack has this status and some instances other images."""
    assert _SEEN.stack
    instances = {
        name: dataclasses.replace(one, image=image.get(name, one.image))
        for name, one in _SEEN.stack.instances.items()
    }
    digest = "before" if image else _SEEN.stack.digest
    stack = dataclasses.replace(_SEEN.stack, status=status, digest=digest, instances=instances)
    return dataclasses.replace(_SEEN, stack=stack)


def with_server(observed: Observed, instance: str, **fields: object) -> Observed:
    """The same with something else about one server."""
    servers = tuple(
        dataclasses.replace(one, **fields) if one.instance == instance else one  # type: ignore[arg-type]
        for one in observed.servers
    )
    return dataclasses.replace(observed, servers=servers)


@pytest.mark.parametrize(
    ("instance", "hypervisor", "down_s"), [("identity", "docker", 7), ("database", "lxc", 8)]
)
def test_rebuild_is_told_with_its_downtime(instance: str, hypervisor: str, down_s: int) -> None:
    made = golden.make_plan(_DEMO, with_stack(**{instance: "of-before"}))
    (change,) = json.loads(plan.to_json(made))["changes"]
    assert change == {
        "instance": instance,
        "action": "rebuild",
        "reason": "the image (the server is rebuilt)",
        "effect": f"down for about {down_s} s on {hypervisor}",
        "down_s": down_s,
    }


@pytest.mark.parametrize("hypervisor", hypervisors.names())
def test_downtime_of_a_rebuild_is_what_was_measured(hypervisor: str) -> None:
    (figures,) = json.loads((_ROOT / "bench" / "upgrade.json").read_text()).values()
    measured = figures.get(hypervisor)
    wanted = math.ceil(measured["upgrade"]["without an answer"]) if measured else None
    assert hypervisors.entry(hypervisor).rebuild_s == wanted


def test_server_that_never_ran_is_replaced_and_no_other() -> None:
    failed = with_stack("CREATE_FAILED")
    made = golden.make_plan(
        _DEMO, with_server(failed, "images", status="ERROR", answers=False, has_run=False)
    )
    assert [(one.instance, one.action) for one in made.changes] == [("images", Action.REPLACE)]
    assert made.irreplaceable == ("database", "identity")
    ran = golden.make_plan(_DEMO, with_server(failed, "images", status="ERROR", answers=False))
    assert [(one.instance, one.action) for one in ran.changes] == [("images", Action.REBUILD)]
    assert ran.irreplaceable == ("database", "identity", "images")


def test_instance_whose_server_heat_never_made_is_created() -> None:
    failed = with_stack("CREATE_FAILED")
    made = golden.make_plan(_DEMO, dataclasses.replace(failed, servers=failed.servers[:2]))
    assert [(one.instance, one.action) for one in made.changes] == [("images", Action.CREATE)]


def test_nothing_changes_where_nothing_is_to_do() -> None:
    assert golden.make_plan(_DEMO, _SEEN).changes == ()


def test_networks_alone_change_no_instance() -> None:
    made = golden.make_plan(_DEMO, golden.empty_undercloud())
    alone = plan.restricted(made, plan.Kind.CREATE_NETWORK)
    assert made.changes
    assert alone.changes == ()
    assert "INSTANCE" not in plan.to_text(alone)


def test_changes_of_a_stack_are_told_in_one_line() -> None:
    found = [
        changes.Change("cache", Action.CREATE, "is new", ""),
        changes.Change("images", Action.CONFIGURE, "the configuration", ""),
        changes.Change("queue", Action.REPLACE, "is ERROR and never ran", ""),
    ]
    assert changes.in_words(found) == (
        "cache is new; the configuration of images; queue is ERROR and never ran"
    )


def test_machines_that_would_stop_speak_against_a_rebuild() -> None:
    seen = dataclasses.replace(with_stack(identity="of-before"), machines={"identity": ("web",)})
    document = yamlfile.parse(_FILE.read_text(), "quickstart.yaml")
    found = golden.make_plan(_DEMO, seen).changes
    (finding,) = check.check_stopped(found, seen, document)
    assert "machines that run there would stop: web" in finding.message
    down = with_server(seen, "identity", answers=False)
    assert check.check_stopped(golden.make_plan(_DEMO, down).changes, down, document) == ()


def test_server_with_another_image_than_heat_knows_of_is_rebuilt() -> None:
    """A rebuild that failed leaves Nova with the new image noted, and Heat with the one of before."""
    seen = with_server(_SEEN, "identity", image="of-a-rebuild-that-failed")
    (change,) = golden.make_plan(_DEMO, seen).changes
    assert (change.instance, change.action) == ("identity", Action.REBUILD)
    assert change.reason == "it has another image than it was deployed with"
    assert _SEEN.stack
    known = _SEEN.stack.instances["identity"].image
    assert golden.make_plan(_DEMO, with_server(_SEEN, "identity", image=known)).changes == ()
    # While Heat has something to do, it is Heat's.
    assert golden.make_plan(_DEMO, with_stack(identity="of-before")).changes[0].reason == (
        "the image (the server is rebuilt)"
    )
