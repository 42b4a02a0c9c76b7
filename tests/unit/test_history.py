"""The history of an overcloud: what it says, that it stays small, and that the stack carries it on."""

import dataclasses
import datetime
import functools
import hashlib
import json
import pathlib
import types
from typing import Any

import pytest

from altostratus import deploy, history, lock, plan, spec, stack, survey, yamlfile
from altostratus.deployment import Deployment
from altostratus.model import Image
from tests.unit import golden

_ROOT = pathlib.Path(__file__).parents[2]
_FILE = "examples/quickstart.yaml"
_TEXT = (_ROOT / _FILE).read_text()
_DEMO = spec.parse(_TEXT, _FILE)
_DOCUMENT = yamlfile.parse(_TEXT, _FILE)
_PLAN = golden.make_plan(_DEMO, golden.empty_undercloud())
_NOON = datetime.datetime(2026, 11, 25, 12, tzinfo=datetime.UTC)
# Heat's own limit of a template as Python prints it.
_HEAT_TAKES = 524288


def image(number: int) -> Image:
    """An image that is told from others by its number."""
    return Image("altostratus-keystone-docker", f"{number:02}" * 32)


def entry(minute: int, why: str = "there is none", **of: Image) -> history.Entry:
    """The entry of a deployment so many minutes after noon."""
    made = dataclasses.replace(_PLAN, images=of)
    when = _NOON + datetime.timedelta(minutes=minute)
    return history.entry(made, why, _DOCUMENT, "root@node", when)


def test_entry_names_who_when_the_file_and_the_images() -> None:
    east = datetime.timezone(datetime.timedelta(hours=2))
    when = datetime.datetime(2026, 11, 25, 14, 30, 59, 999, tzinfo=east)
    made = history.entry(_PLAN, "there is none", _DOCUMENT, "ada@node", when)
    assert (made.when, made.who, made.file) == ("2026-11-25T12:30:59Z", "ada@node", _FILE)
    assert made.file_digest == hashlib.sha256((_ROOT / _FILE).read_bytes()).hexdigest()
    assert made.images == golden.fixed_images(_DEMO)


def test_history_comes_back_from_the_stack() -> None:
    entries = (entry(0, identity=image(1)), entry(1, identity=image(2)))
    text = history.to_output(entries)
    assert history.parse(text) == entries
    later = json.dumps([one | {"of a later version": 1} for one in json.loads(text)])
    assert history.parse(later) == entries
    assert history.parse(None) == history.parse("") == ()


_SHOWN = """\
Overcloud demo: what was deployed, the last first
WHEN                  WHO        FILE                                     WHY
2026-11-25T12:10:00Z  root@node  examples/quickstart.yaml (0123456789ab)  changed: cache is new
    cache   altostratus-keystone-docker 2026.2 (030303030303)
    images  is gone
2026-11-25T12:09:00Z  root@node  examples/quickstart.yaml (0123456789ab)  changed: the configuration
2026-11-25T12:05:00Z  root@node  examples/quickstart.yaml (0123456789ab)  changed: the image
    identity  altostratus-keystone-docker 2026.2 (020202020202), was altostratus-keystone-docker 2026.2 (010101010101)
2026-11-25T12:00:00Z  root@node  examples/quickstart.yaml (0123456789ab)  there is none
    identity  altostratus-keystone-docker 2026.2 (010101010101)
    images    altostratus-keystone-docker 2026.2 (010101010101)
"""


def test_history_says_what_changed_the_newest_first() -> None:
    entries = (
        entry(0, identity=image(1), images=image(1)),
        entry(5, "changed: the image", identity=image(2), images=image(1)),
        entry(9, "changed: the configuration", identity=image(2), images=image(1)),
        entry(10, "changed: cache is new", identity=image(2), cache=image(3)),
    )
    digest = entries[0].file_digest[:12]
    assert history.to_text("demo", entries).replace(digest, "0123456789ab") == _SHOWN
    shown = json.loads(history.to_json(entries))
    changed = [one["changed"] for one in shown]
    assert changed == [["cache", "images"], [], ["identity"], ["identity", "images"]]
    assert shown[0]["images"]["cache"] == dataclasses.asdict(image(3))


def test_no_history_is_said() -> None:
    assert history.to_text("demo", ()).startswith("Overcloud demo: no history")
    assert history.to_json(()) == "[]\n"


def test_only_the_last_are_kept() -> None:
    entries: tuple[history.Entry, ...] = ()
    for minute in range(60):
        entries = history.extended(entries, entry(minute, identity=image(minute)))
    assert [one.when[14:16] for one in entries] == [f"{minute:02}" for minute in range(10, 60)]


@functools.cache
def full(instances: int, why: str, deployments: int = 60) -> tuple[history.Entry, ...]:
    """The history of an overcloud of so many instances that was deployed often."""
    names = [f"instance-{number:03}-name" for number in range(instances)]
    entries: tuple[history.Entry, ...] = ()
    for minute in range(deployments):
        one = entry(minute, why, **{name: image(minute) for name in names})
        entries = history.extended(entries, one)
    return entries


def test_fifty_deployments_of_the_largest_overcloud_fit() -> None:
    why = "changed: " + "; ".join(["the image (the server is rebuilt) of instance-name"] * 12)
    assert len(full(12, why)) == 50
    assert 1 < len(full(100, why)) < 50
    assert len(full(2000, why, 3)) == 1


@pytest.mark.parametrize(
    "example", sorted((_ROOT / "examples").glob("*.yaml")), ids=lambda one: one.stem
)
def test_heat_takes_the_template_with_the_longest_history(example: pathlib.Path) -> None:
    overcloud = spec.parse(example.read_text(), example.name)
    made = golden.make_plan(overcloud, golden.empty_undercloud())
    secrets = golden.fixed_secrets(overcloud)
    inputs = stack.Inputs(overcloud, made.addresses, made.images, secrets, golden.TEMPLATES)
    kept = history.to_output(full(40, "for a reason"))
    template = stack.render(inputs, history=kept).template
    assert len(kept) > 180_000
    assert len(str(template)) < _HEAT_TAKES // 2


class FakeUndercloud:
    """Heat, Glance and Neutron as far as a request for a stack goes: Heat keeps what it was last
    given."""

    def __init__(self, digests: dict[str, str]) -> None:
        self.orchestration = self.image = self.network = self
        self.stacks: dict[str, Any] = {}
        self.digests = digests

    def networks(self) -> list[Any]:
        names = ("control", "demo-internal_api")
        return [types.SimpleNamespace(name=name, id="an-id") for name in names]

    def find_stack(self, name: str, **_: bool) -> Any:
        if name not in self.stacks:
            return None
        given = self.stacks[name]["outputs"]
        outputs = [{"output_key": key, "output_value": one["value"]} for key, one in given.items()]
        return types.SimpleNamespace(id="an-id", status="CREATE_COMPLETE", outputs=outputs)

    def post(self, path: str, json: Any) -> Any:
        assert path == "/stacks"
        assert json["stack_name"] not in self.stacks
        self.stacks[json["stack_name"]] = json["template"]
        return types.SimpleNamespace(status_code=201)

    def put(self, path: str, json: Any) -> Any:
        _, _, name, identity = path.split("/")
        assert (name in self.stacks, identity) == (True, "an-id")
        self.stacks[name] = json["template"]
        return types.SimpleNamespace(status_code=202)

    def images(self, status: str) -> list[Any]:
        return [
            types.SimpleNamespace(
                id=f"id-of-{digest}",
                properties={survey.IMAGE_OWNER: survey.OWNER, survey.IMAGE_DIGEST: digest},
            )
            for digest in self.digests
        ]


def deployment(undercloud: Any) -> Deployment:
    """The quickstart, planned for a double."""
    secrets, seen = golden.fixed_secrets(_DEMO), golden.empty_undercloud()
    return Deployment(undercloud, _PLAN, secrets, seen, secrets, _DOCUMENT)


def test_each_request_for_the_stack_carries_the_history_on() -> None:
    undercloud: Any = FakeUndercloud({one.digest: name for name, one in _PLAN.images.items()})
    assert survey.deployments(undercloud, "demo") == ()
    reasons = ["there is none", "it is CREATE_FAILED", "changed: the configuration of identity"]
    digests = set()
    for reason in reasons:
        deploy.request_stack(deployment(undercloud), reason)
        digests.add(undercloud.stacks["demo"]["outputs"][stack.OUTPUT]["value"]["digest"])
    found = survey.deployments(undercloud, "demo")
    assert [one.why for one in found] == reasons
    assert {one.who for one in found} == {lock.myself().operator}
    assert found[0].images == golden.fixed_images(_DEMO)
    (digest,) = digests
    before = golden.deployed(_DEMO)
    assert before.stack
    seen = dataclasses.replace(before, stack=dataclasses.replace(before.stack, digest=digest))
    secrets, wanted = golden.fixed_secrets(_DEMO), golden.fixed_images(_DEMO)
    assert plan.make(_DEMO, seen, wanted, secrets, deploy.templates()).nothing_to_do
