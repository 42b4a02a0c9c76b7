"""Upgrade and rollback: which instances change, in which order, and what is said of a failure."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest

from altostratus import (
    cloud,
    departures,
    deploy,
    emptying,
    errors,
    history,
    imagespec,
    keypair,
    lock,
    plan,
    rollout,
    schemas,
    spec,
    ssh,
    survey,
    upgrade,
    verify,
    yamlfile,
)
from altostratus.deployment import Deployment
from altostratus.model import CONTROL, Image, Overcloud
from altostratus.observed import Deployed, Observed, Server, Stack
from tests.unit import databases, golden

_FILE = str(pathlib.Path(__file__).parents[2] / "examples/quickstart.yaml")
_TEXT = pathlib.Path(_FILE).read_text()
_DEMO = spec.parse(_TEXT, _FILE)
_DOCUMENT = yamlfile.parse(_TEXT, _FILE)
_NAMES = ("database", "identity", "images")
LATER = {
    service: version
    for one in survey.image_specs(_DEMO).values()
    for service, version in imagespec.locked_versions(one).items()
}


def image(digest: str) -> Image:
    return Image("altostratus-some", digest)


def old(digest: str) -> Image:
    return Image("altostratus-some", digest, "2026.1")


def all_on(digest: str, **others: str) -> dict[str, Image]:
    return {name: image(others.get(name, digest)) for name in _NAMES}


def entry(minute: int, images: dict[str, Image]) -> history.Entry:
    return history.Entry(f"2026-11-25T12:{minute:02}:00Z", "root@node", _FILE, "", "", images)


def test_those_that_others_need_change_first() -> None:
    found = rollout.differing(_DEMO, all_on("old"), all_on("new", images="old"))
    assert [change.instance for change in found] == ["database", "identity"]
    assert rollout.to_text(_DEMO, found, {}) == (
        "Overcloud demo: 2 to change, one after the other\n"
        "  database  altostratus-some  old -> new  2026.2  down for about 8 s on lxc\n"
        "  identity  altostratus-some  old -> new  2026.2  down for about 7 s on docker\n"
    )


def test_release_is_said_and_goes_on_alone() -> None:
    found = rollout.differing(_DEMO, {**all_on("new"), "identity": old("old")}, all_on("new"))
    assert rollout.to_text(_DEMO, found, {}).count("  2026.1 -> 2026.2  ") == 1
    rollout.refuse_older(found)
    back = rollout.differing(_DEMO, all_on("new"), {**all_on("new"), "identity": old("old")})
    with pytest.raises(
        errors.Error, match=r"identity has 2026\.2, and 2026\.1 came before"
    ) as caught:
        rollout.refuse_older(back)
    assert "rollback" in str(caught.value.hint)


def test_only_those_that_are_asked_for_change() -> None:
    found = rollout.differing(_DEMO, all_on("old"), all_on("new"), ("images",))
    assert [change.instance for change in found] == ["images"]
    assert "Nothing to do" in rollout.to_text(_DEMO, (), {})
    with pytest.raises(errors.Error, match="no instance 'imags'") as caught:
        rollout.differing(_DEMO, all_on("old"), all_on("new"), ("imags",))
    assert "did you mean 'images'" in str(caught.value.hint)


def test_compute_node_stays_as_it_is_while_machines_run_on_it() -> None:
    found = rollout.differing(_DEMO, all_on("old"), all_on("new", images="old"))
    servers = tuple(Server(name, name, "ACTIVE", answers=name != "database") for name in _NAMES)
    observed = dataclasses.replace(
        golden.empty_undercloud(),
        servers=servers,
        machines={"identity": ("a", "b"), "images": ("c",), "database": ("d",)},
    )
    # That of "images" does not change, and "database" is down with all that it carried.
    carrying = rollout.carrying(found, observed)
    assert carrying == {"identity": ("a", "b")}
    leaving = {"identity": departures.unknown(carrying["identity"])}
    left = rollout.without(found, departures.staying(leaving))
    assert [change.instance for change in left] == ["database"]
    said = rollout.to_text(_DEMO, left, leaving)
    assert "identity stays as it is: machines run there (a, b)" in said
    assert "--stop-machines identity" in said
    assert "Nothing to do" not in rollout.to_text(_DEMO, (), leaving)
    assert departures.staying(leaving, ("identity",)) == set()
    said = rollout.to_text(_DEMO, found, leaving, ("identity",))
    assert "identity stops machines while it changes (a, b)" in said
    rollout.refuse_unknown(("identity",), observed)
    with pytest.raises(errors.Error, match="no instance 'identiti'"):
        rollout.refuse_unknown(("identiti",), observed)


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
        self.databases = databases.Databases({"keystone": "identity", "glance": "images"})

    def prepare_change(self, target: Deployment, overcloud: Any, alone: Any) -> Deployment:
        return self.prepare(overcloud, target.document, alone, is_rollout=True)

    def prepare(
        self, overcloud: Any, document: Any, alone: Any = None, *, is_rollout: bool
    ) -> Deployment:
        instances = {
            found.name: Deployed(
                hypervisor=found.hypervisor,
                services=found.services,
                addresses={CONTROL: found.name},
                flavor="",
                state_gib=1,
                image=self.images[found.name],
                digest="",
                release="2026.1" if self.images[found.name] == "old" else "2026.2",
            )
            for found in overcloud.instances
        }
        there = Stack("1", "UPDATE_COMPLETE", "", "", instances)
        seen = Observed(
            golden.empty_undercloud().control,
            there,
            servers=tuple(Server(name, name, "ACTIVE", answers=True) for name in _NAMES),
            images=dict.fromkeys(self.loaded, "id"),
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
        self.come_up(changed[0])
        unwell = self.does_not_do
        self.is_unwell = bool(unwell) and self.images[unwell] == golden_digest(unwell)
        if self.is_unwell:
            raise errors.VerifyFailed("it does not answer", hint="look")

    def come_up(self, instance: str) -> None:
        """Have the service of an instance look at its database, as it does with a new root."""
        for service, place in self.databases.place.items():
            if place == instance:
                is_old = self.images[instance] == "old"
                version = databases.EARLIER[service] if is_old else LATER[service]
                self.databases.come_up(service, version)


def golden_digest(name: str) -> str:
    return golden.fixed_images(_DEMO)[name].digest


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> Cloud:
    found = Cloud("old")
    found.entries.append(entry(0, all_on("old")))
    monkeypatch.setattr(deploy, "prepare", found.prepare)
    monkeypatch.setattr(deploy, "prepare_change", found.prepare_change)
    monkeypatch.setattr(deploy, "execute", found.execute)
    monkeypatch.setattr(lock, "held", lambda *_of: contextlib.nullcontext())
    key = tmp_path / "ssh_key"
    key.touch()
    monkeypatch.setattr(keypair, "path", lambda _of: key)
    monkeypatch.setattr(ssh, "run_in", found.databases.run_in)
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


@pytest.mark.parametrize(("before", "after"), [("2026.1", "2026.2"), ("2026.2", "2026.1")])
def test_image_of_an_earlier_release_is_known(before: str, after: str) -> None:
    change = rollout.Change("compute", Image("x", "old", before), Image("x", "new", after))
    found = {one.release for one in (change.before, change.after) if rollout.is_older(change, one)}
    assert found == {"2026.1"}


def test_what_is_there_is_verified_before_an_upgrade(
    demo: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    def does_not_do(_overcloud: Overcloud) -> None:
        raise errors.VerifyFailed("glance does not answer", "look")

    monkeypatch.setattr(verify, "overcloud", does_not_do)
    with pytest.raises(errors.VerifyFailed, match="glance does not answer") as caught:
        upgrade.verify_before(upgrade.prepare_upgrade(_DEMO, _DOCUMENT, ()))
    assert "rollback FILE" in str(caught.value.hint)
    assert demo.done == []


def test_rollback_to_an_image_that_is_gone_is_refused(demo: Cloud) -> None:
    upgrade.execute(upgrade.prepare_upgrade(_DEMO, _DOCUMENT, ("identity",)))
    demo.loaded.remove("old")
    with pytest.raises(errors.Error, match=r"no longer .* identity \(old\)"):
        upgrade.prepare_rollback(_DEMO, _DOCUMENT, (), None)
    assert demo.done == ["identity"]


def test_databases_are_copied_before_new_software_and_stay_when_it_goes(demo: Cloud) -> None:
    upgrade.execute(upgrade.prepare_upgrade(_DEMO, _DOCUMENT, ()))
    assert list(demo.databases.copies) == ["keystone-29.1.0-old", "glance-32.0.0-old"]
    demo.databases.data["keystone"] += 1
    back = upgrade.prepare_rollback(_DEMO, _DOCUMENT, (), None)
    assert back.lost == {}
    upgrade.execute(back)
    assert demo.databases.data["keystone"] == 2
    assert demo.databases.software == databases.EARLIER
    # Forth again: the schema does for it, and nothing is copied.
    assert upgrade.prepare_upgrade(_DEMO, _DOCUMENT, ()).moved == ()
    with pytest.raises(errors.Error, match="database-schema finish"):
        upgrade.finish(_DEMO, _DOCUMENT, ())


def test_rollback_past_a_finished_upgrade_costs_what_was_written(demo: Cloud) -> None:
    upgrade.execute(upgrade.prepare_upgrade(_DEMO, _DOCUMENT, ()))
    demo.databases.data["keystone"] += 1
    finished = upgrade.finish(_DEMO, _DOCUMENT, ())
    assert schemas.to_text(finished).splitlines() == [
        f"keystone in identity: {LATER['keystone']} alone, no longer 29.1.0",
        f"glance in images: {LATER['glance']} alone, no longer 32.0.0",
    ]
    assert upgrade.finish(_DEMO, _DOCUMENT, ()) == ()
    with pytest.raises(errors.Error, match=r"identity has moved .* keystone 29\.1\.0") as caught:
        upgrade.prepare_rollback(_DEMO, _DOCUMENT, ("identity",), None)
    assert databases.COPIED in caught.value.message
    assert "--accept-loss identity" in str(caught.value.hint)
    upgrade.execute(upgrade.prepare_rollback(_DEMO, _DOCUMENT, ("identity",), None, ("identity",)))
    assert demo.databases.data == {"keystone": 1, "glance": 1}
    assert demo.databases.software["keystone"] == "29.1.0"
    assert demo.databases.known["keystone"] == ["29.1.0"]


def test_rollback_past_a_finished_upgrade_costs_nothing_where_the_schema_stayed(
    demo: Cloud,
) -> None:
    upgrade.execute(upgrade.prepare_upgrade(_DEMO, _DOCUMENT, ()))
    demo.databases.revision = dict(databases.EARLIER)
    upgrade.finish(_DEMO, _DOCUMENT, ())
    assert upgrade.prepare_rollback(_DEMO, _DOCUMENT, (), None).lost == {}


def test_upgrade_on_an_unfinished_one_is_refused(demo: Cloud) -> None:
    demo.databases.known["keystone"] = ["28.0.0", "29.1.0"]
    with pytest.raises(errors.Error, match=r"keystone in identity from 28\.0\.0 to 29\.1\.0"):
        upgrade.prepare_upgrade(_DEMO, _DOCUMENT, ())
    assert upgrade.prepare_upgrade(_DEMO, _DOCUMENT, ("images",)).moved


def test_upgrade_needs_the_key_to_the_databases(demo: Cloud, tmp_path: pathlib.Path) -> None:
    (tmp_path / "ssh_key").unlink()
    with pytest.raises(errors.Error, match="the key to the instances of demo is not here"):
        upgrade.prepare_upgrade(_DEMO, _DOCUMENT, ())


def test_only_a_deployment_looks_inside_instances(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[bool] = []

    def read(_undercloud: Any, _overcloud: Any, *, inside: bool) -> Any:
        looked.append(inside)
        raise errors.Error("seen enough")

    monkeypatch.setattr(survey, "read", read)
    monkeypatch.setattr(cloud, "connect", lambda _name: None)
    target: Any = Cloud("old").prepare(_DEMO, _DOCUMENT, is_rollout=True)
    with pytest.raises(errors.Error, match="seen enough"):
        deploy.prepare_change(target, _DEMO, {})
    with pytest.raises(errors.Error, match="seen enough"):
        deploy.prepare(_DEMO, _DOCUMENT)
    assert looked == [False, True]


class ComputeNode:
    """An overcloud with a compute node, of which it is told what becomes of its machines."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = pathlib.Path(__file__).parents[1] / "golden/compute"
        self.overcloud = spec.parse((folder / "overcloud.yaml").read_text(), "overcloud.yaml")
        self.changed: list[str] = []
        self.stuck: departures.Leaving | None = None
        self.failure: errors.NotMoved | None = None
        changes = rollout.differing(
            self.overcloud,
            dict.fromkeys(("controller", "compute"), image("old")),
            dict.fromkeys(("controller", "compute"), image("new")),
        )
        target: Any = Cloud("old").prepare(_DEMO, _DOCUMENT, is_rollout=True)
        self.wanted = upgrade.Rollout(self.overcloud, target, changes)
        monkeypatch.setattr(deploy, "prepare_change", lambda _target, _of, alone: list(alone))
        monkeypatch.setattr(deploy, "execute", self.execute)
        monkeypatch.setattr(lock, "held", lambda *_: contextlib.nullcontext())
        monkeypatch.setattr(emptying, "open_left", lambda _of: None)
        monkeypatch.setattr(emptying, "emptied", self.emptied)

    def execute(self, deployed: Any) -> None:
        if isinstance(deployed, list):
            self.changed += deployed

    @contextlib.contextmanager
    def emptied(self, _of: Any, instance: str, *, may_stop: bool) -> Iterator[Any]:
        assert (instance, may_stop) == ("compute", False)
        if self.failure:
            raise self.failure
        yield self.stuck


def test_compute_node_changes_when_its_machines_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    there = ComputeNode(monkeypatch)
    upgrade.execute(there.wanted)
    assert there.changed == ["controller", "compute"]


def test_compute_node_stays_whose_machines_have_lost_their_place_meanwhile(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    there = ComputeNode(monkeypatch)
    there.stuck = departures.unknown(("a",))
    upgrade.execute(there.wanted)
    assert there.changed == ["controller"]
    assert "compute stays as it is: machines run there (a)" in capfd.readouterr().err


def test_upgrade_stops_at_a_machine_that_does_not_move(monkeypatch: pytest.MonkeyPatch) -> None:
    there = ComputeNode(monkeypatch)
    there.failure = errors.NotMoved("the machine a does not move", hint="stop it")
    with pytest.raises(errors.UpgradeFailed) as caught:
        upgrade.execute(there.wanted)
    assert caught.value.message.splitlines() == [
        "the machine a does not move",
        "controller: changed",
        "compute: not changed",
    ]
    assert caught.value.hint == "stop it"
