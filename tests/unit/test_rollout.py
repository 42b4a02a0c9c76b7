"""Upgrade and rollback: which instances change, in which order, and what is said of a failure."""

import pathlib
from typing import Any

import pytest

from altostratus import deploy, errors, history, plan, rollout, spec, survey, upgrade, yamlfile
from altostratus.deployment import Deployment
from altostratus.observed import Deployed, Observed, Stack
from tests.unit import golden

_FILE = str(pathlib.Path(__file__).parents[2] / "examples/quickstart.yaml")
_TEXT = pathlib.Path(_FILE).read_text()
_DEMO = spec.parse(_TEXT, _FILE)
_DOCUMENT = yamlfile.parse(_TEXT, _FILE)
_NAMES = ("database", "identity", "images")


def image(digest: str) -> plan.Image:
    return plan.Image("altostratus-some", digest)


def all_on(digest: str, **others: str) -> dict[str, plan.Image]:
    return {name: image(others.get(name, digest)) for name in _NAMES}


def entry(minute: int, images: dict[str, plan.Image]) -> history.Entry:
    return history.Entry(f"2026-11-25T12:{minute:02}:00Z", "root@node", _FILE, "", "", images)


def test_those_that_others_need_change_first() -> None:
    found = rollout.changes(_DEMO, all_on("old"), all_on("new", images="old"))
    assert [change.instance for change in found] == ["database", "identity"]
    assert rollout.to_text("demo", found) == (
        "Overcloud demo: 2 to change, one after the other\n"
        "  database  altostratus-some  old -> new\n"
        "  identity  altostratus-some  old -> new\n"
    )


def test_only_those_that_are_asked_for_change() -> None:
    found = rollout.changes(_DEMO, all_on("old"), all_on("new"), ("images",))
    assert [change.instance for change in found] == ["images"]
    assert "Nothing to do" in rollout.to_text("demo", ())
    with pytest.raises(errors.Error, match="no instance 'imags'") as caught:
        rollout.changes(_DEMO, all_on("old"), all_on("new"), ("imags",))
    assert "did you mean 'images'" in str(caught.value.hint)


def test_way_back_is_to_the_last_other_image_of_each() -> None:
    entries = (
        entry(0, all_on("first")),
        entry(1, all_on("second")),
        entry(2, all_on("second", identity="third")),
    )
    now = all_on("second", identity="third")
    assert rollout.earlier(entries, now, None) == all_on("first", identity="second")
    assert rollout.earlier(entries, now, entries[0].when) == all_on("first")
    assert rollout.earlier((), now, None) == now
    with pytest.raises(errors.Error, match="no deployment of '2026'") as caught:
        rollout.earlier(entries, now, "2026")
    assert entries[1].when in str(caught.value.hint)


def test_images_of_one_step_back_are_kept() -> None:
    entries = (entry(0, all_on("first")), entry(1, all_on("second", images="first")))
    assert rollout.kept_for_rollback(entries) == {"first"}
    assert rollout.kept_for_rollback(()) == set()


class Cloud:
    """What of Heat, Nova and the overcloud an upgrade deals with: digests that are there or not."""

    def __init__(self, digest: str) -> None:
        self.images = dict.fromkeys(_NAMES, digest)
        self.loaded = {digest}
        self.done: list[str] = []
        self.does_not_do = ""
        self.is_unwell = False
        self.entries: list[history.Entry] = []

    def prepare(self, overcloud: Any, document: Any, alone: Any = None) -> Deployment:
        instances = {
            found.name: Deployed(
                found.hypervisor, found.services, {}, "", 1, self.images[found.name], ""
            )
            for found in overcloud.instances
        }
        there = Stack("1", "UPDATE_COMPLETE", "", "", instances)
        seen = Observed(
            golden.empty_undercloud().control, there, images=dict.fromkeys(self.loaded, "id")
        )
        wanted = golden.fixed_images(overcloud)
        if alone is not None:
            wanted = rollout.running(seen, wanted) | alone
        steps = [
            plan.Step(kind, one.name, "", digest=one.digest)
            for one in wanted.values()
            for kind in (plan.Kind.BUILD_IMAGE, plan.Kind.LOAD_IMAGE)
            if one.digest not in self.loaded
        ]
        if {name: one.digest for name, one in wanted.items()} != self.images or self.is_unwell:
            steps.append(plan.Step(plan.Kind.UPDATE_STACK, overcloud.name, ""))
        made = plan.Plan(overcloud, tuple(steps), {}, wanted, ())
        return Deployment(None, made, {}, seen, {}, document)  # type: ignore[arg-type]

    def execute(self, deployment: Deployment) -> None:
        for step in deployment.plan.steps:
            if step.kind is plan.Kind.LOAD_IMAGE and step.digest:
                self.loaded.add(step.digest)
            if step.kind is plan.Kind.UPDATE_STACK:
                self.update(deployment.plan)

    def update(self, made: plan.Plan) -> None:
        changed = [name for name in _NAMES if made.images[name].digest != self.images[name]]
        assert len(changed) == 1, "one at a time"
        assert made.images[changed[0]].digest in self.loaded
        self.images = {name: one.digest for name, one in made.images.items()}
        self.entries.append(entry(len(self.entries), made.images))
        self.done += changed
        unwell = self.does_not_do
        self.is_unwell = bool(unwell) and self.images[unwell] == golden_digest(unwell)
        if self.is_unwell:
            raise errors.VerifyFailed("it does not answer", hint="look")


def golden_digest(name: str) -> str:
    return golden.fixed_images(_DEMO)[name].digest


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    found = Cloud("old")
    found.entries.append(entry(0, all_on("old")))
    monkeypatch.setattr(deploy, "prepare", found.prepare)
    monkeypatch.setattr(deploy, "execute", found.execute)
    monkeypatch.setattr(survey, "deployments", lambda *_of: tuple(found.entries))
    return found


def test_upgrade_changes_one_after_the_other_and_rollback_the_other_way(demo: Cloud) -> None:
    upgrade.execute(upgrade.prepare_upgrade(_DEMO, _DOCUMENT, ()))
    assert demo.done == ["database", "identity", "images"]
    assert demo.images == {name: golden_digest(name) for name in _NAMES}
    assert upgrade.prepare_upgrade(_DEMO, _DOCUMENT, ()).changes == ()
    upgrade.execute(upgrade.prepare_rollback(_DEMO, _DOCUMENT, (), None))
    assert demo.done[3:] == ["images", "identity", "database"]
    assert demo.images == dict.fromkeys(_NAMES, "old")


def test_image_that_does_not_do_is_taken_back(demo: Cloud) -> None:
    demo.does_not_do = "identity"
    with pytest.raises(errors.UpgradeFailed) as caught:
        upgrade.execute(upgrade.prepare_upgrade(_DEMO, _DOCUMENT, ()))
    assert demo.images == {
        "database": golden_digest("database"),
        "identity": "old",
        "images": "old",
    }
    assert demo.done == ["database", "identity", "identity"]
    assert caught.value.message.splitlines() == [
        "the new image of identity does not do: it does not answer",
        "database: changed",
        "identity: failed, and has its earlier image again",
        "images: not changed",
    ]


def test_rollback_to_an_image_that_is_gone_is_refused(demo: Cloud) -> None:
    upgrade.execute(upgrade.prepare_upgrade(_DEMO, _DOCUMENT, ("identity",)))
    demo.loaded.remove("old")
    with pytest.raises(errors.Error, match=r"no longer .* identity \(old\)"):
        upgrade.prepare_rollback(_DEMO, _DOCUMENT, (), None)
    assert demo.done == ["identity"]
