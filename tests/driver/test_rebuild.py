"""Rebuild in place under Docker: another root, the same state and ports, and the way back."""

import dataclasses
import functools
import json
import time
from pathlib import Path
from typing import Any

import killed
import pytest
from conftest import IMAGE, NEXT_IMAGE, World, admin, new_instance, new_vif
from doubles import docker_archive
from nova import exception, objects
from nova.compute import power_state
from nova.network import model
from nova_altostratus import events, lifecycle
from nova_altostratus.engine import EngineError

STATE = {"altostratus:state_disk": "demo.identity", "altostratus:state_gib": "1"}
THIRD_IMAGE = "33333333-4444-5555-6666-777777777777"


@pytest.fixture(autouse=True)
def saved(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Any]]:
    """What is told to Nova's database: the state of an instance, and the one before."""
    found: list[tuple[Any, Any]] = []

    def save(instance: Any, expected_task_state: Any = None) -> None:
        found.append((instance.task_state, expected_task_state))

    monkeypatch.setattr(objects.Instance, "save", save)
    return found


def spawned(world: World, vifs: Any = (), **changes: Any) -> Any:
    instance = new_instance(STATE, **changes)
    instance.vm_state = "active"
    instance.info_cache.network_info = model.NetworkInfo(vifs)
    world.spawn(instance, model.NetworkInfo(vifs))
    return instance


def roots(world: World, instance: Any) -> dict[str, str]:
    """Return which images the containers of an instance are from, by the last word of a name."""
    found = world.driver.engine.roots(instance.uuid)
    label = "altostratus.image"
    return {one.name.removeprefix(f"nova-{instance.uuid}"): one.labels[label] for one in found}


def identity(world: World, instance: Any) -> str:
    return world.driver.engine.get(instance.uuid).id


def test_rebuilt_instance_runs_from_another_root(
    world: World, saved: list[tuple[Any, Any]]
) -> None:
    instance = spawned(world)
    before = identity(world, instance)
    world.rebuild(instance)
    assert world.is_booted(instance)
    assert world.driver.get_info(instance).state == power_state.RUNNING
    assert roots(world, instance) == {"": NEXT_IMAGE, ".kept-1": IMAGE}
    assert identity(world, instance) != before
    assert saved == [("rebuild_spawning", ["rebuilding"])]


def test_ports_stay_plugged(world: World) -> None:
    """The interfaces move from container to container, so that nobody has to be waited for."""
    world.virtapi.neutron = "at once"
    vifs = model.NetworkInfo([new_vif(1), new_vif(2, gateway=False)])
    instance = spawned(world, vifs)
    world.virtapi.neutron, world.virtapi.waited_for = "never", []
    world.rebuild(instance, vifs)
    assert world.is_booted(instance)
    assert world.switch.plugged == len(vifs)
    assert set(world.switch.ports) == {vif["devname"] for vif in vifs}
    assert world.virtapi.waited_for == []
    names = world.driver.network.names(world.driver.engine.get(instance.uuid).pid)
    assert {"eth0", "eth1"} <= set(names)
    assert {vif["devname"] for vif in vifs} <= world.root.machine_devices()


def test_interface_under_another_name_is_found(fake_world: World) -> None:
    vifs = model.NetworkInfo([new_vif()])
    instance = spawned(fake_world, vifs)
    pid = fake_world.driver.engine.get(instance.uuid).pid
    fake_world.root.in_network_of(pid, "ip", "link", "set", "dev", "eth0", "name", "mine")
    fake_world.rebuild(instance, vifs)
    assert fake_world.switch.plugged == 1
    pid = fake_world.driver.engine.get(instance.uuid).pid
    assert fake_world.driver.network.names(pid) == ["eth0"]


def test_ports_of_an_instance_that_lost_them_are_plugged_anew(fake_world: World) -> None:
    vifs = model.NetworkInfo([new_vif(1, active=True)])
    instance = spawned(fake_world, vifs)
    pid = fake_world.driver.engine.get(instance.uuid).pid
    fake_world.root.in_network_of(pid, "ip", "link", "delete", "eth0")
    fake_world.rebuild(instance, vifs)
    assert fake_world.switch.plugged == 2
    assert fake_world.root.machine_devices() == {vifs[0]["devname"]}


def test_stopped_instance_waits_for_neutron_whatever_nova_remembers(world: World) -> None:
    vifs = model.NetworkInfo([new_vif(1, active=True)])
    instance = spawned(world, vifs)
    world.driver.power_off(instance)
    world.rebuild(instance, vifs)
    assert world.is_booted(instance)
    assert world.virtapi.waited_for == [("network-vif-plugged", vifs[0]["id"])]


def test_stopped_instance_stays_what_it_was_if_neutron_does_not_answer(world: World) -> None:
    vifs = model.NetworkInfo([new_vif(1, active=True)])
    instance = spawned(world, vifs)
    world.driver.power_off(instance)
    world.virtapi.neutron = "never"
    with pytest.raises(exception.VirtualInterfaceCreateException):
        world.rebuild(instance, vifs)
    assert roots(world, instance) == {"": IMAGE}
    assert world.driver.get_info(instance).state == power_state.SHUTDOWN
    assert not world.switch.ports


def test_image_is_fetched_while_the_instance_runs(fake_world: World) -> None:
    instance = spawned(fake_world)
    seen: list[str] = []
    fake_world.glance.on_download = lambda: seen.append(fake_world.container(instance).status)
    fake_world.glance.images[THIRD_IMAGE] = docker_archive("altostratus-identity:1")
    fake_world.rebuild(instance, image=THIRD_IMAGE)
    assert seen == ["running"]
    assert roots(fake_world, instance) == {"": THIRD_IMAGE, ".kept-1": IMAGE}


def test_image_that_is_cached_ahead_is_not_fetched(fake_world: World) -> None:
    instance = spawned(fake_world)
    fake_world.glance.images[THIRD_IMAGE] = docker_archive("altostratus-identity:1")
    assert fake_world.driver.cache_image(admin(), THIRD_IMAGE) is True
    fake_world.rebuild(instance, image=THIRD_IMAGE)
    assert fake_world.glance.downloads == 1


def test_instance_runs_on_if_the_image_cannot_be_had(world: World) -> None:
    instance = spawned(world)
    before = identity(world, instance)
    with pytest.raises(exception.ImageNotFound):
        world.rebuild(instance, image=THIRD_IMAGE)
    assert identity(world, instance) == before
    assert world.driver.get_info(instance).state == power_state.RUNNING
    assert roots(world, instance) == {"": IMAGE}


@pytest.mark.parametrize("action", ["create", "stop", "rename", "start"])
def test_rebuild_that_fails_brings_the_old_root_back(fake_world: World, action: str) -> None:
    vifs = model.NetworkInfo([new_vif()])
    instance = spawned(fake_world, vifs, image_ref=IMAGE)
    before = identity(fake_world, instance)
    fake_world.engine.fail(action, "no space left")
    with pytest.raises(EngineError, match="no space left"):
        fake_world.rebuild(instance, vifs)
    assert identity(fake_world, instance) == before
    assert fake_world.is_booted(instance)
    assert fake_world.driver.get_info(instance).state == power_state.RUNNING
    assert roots(fake_world, instance) == {"": IMAGE}
    assert set(fake_world.switch.ports) == {vifs[0]["devname"]}
    assert vifs[0]["devname"] in fake_world.root.machine_devices()


def test_root_whose_init_does_not_come_up_is_no_root(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    vifs = model.NetworkInfo([new_vif()])
    instance = spawned(world, vifs)
    before = identity(world, instance)
    open_gate = lifecycle.Lifecycle._open_gate

    def fail_once(*_arguments: Any) -> None:
        monkeypatch.setattr(lifecycle.Lifecycle, "_open_gate", open_gate)
        raise lifecycle.StartError(uuid=instance.uuid, reason="there is no init")

    monkeypatch.setattr(lifecycle.Lifecycle, "_open_gate", fail_once)
    with pytest.raises(lifecycle.StartError, match="no init"):
        world.rebuild(instance, vifs)
    assert identity(world, instance) == before
    assert world.is_booted(instance)
    assert roots(world, instance) == {"": IMAGE}
    assert vifs[0]["devname"] in world.root.machine_devices()


def test_old_root_keeps_its_own_config_drive(fake_world: World) -> None:
    instance = new_instance(STATE)
    fake_world.spawn(instance, admin_password="old")
    fake_world.engine.fail("start")
    with pytest.raises(EngineError):
        fake_world.rebuild(instance, admin_password="new")
    assert admin_password(fake_world, instance) == "old"
    fake_world.rebuild(instance, admin_password="new")
    assert admin_password(fake_world, instance) == "new"
    fake_world.rebuild(instance, image=IMAGE, admin_password="newer")
    assert admin_password(fake_world, instance) == "newer"


def admin_password(world: World, instance: Any) -> str:
    found: str = config_drive(world, instance)["admin_pass"]
    return found


def config_drive(world: World, instance: Any) -> dict[str, Any]:
    """Return the metadata that the container of an instance has mounted."""
    mounts = world.container(instance).config["HostConfig"]["Mounts"]
    (source,) = [one["Source"] for one in mounts if "config_drive" in one["Target"]]
    found: dict[str, Any] = json.loads(Path(source, "openstack/latest/meta_data.json").read_text())
    return found


def test_rollback_takes_the_previous_root_up_again(world: World) -> None:
    instance = spawned(world)
    before = identity(world, instance)
    world.rebuild(instance)
    world.rebuild(instance, image=IMAGE)
    assert identity(world, instance) == before
    assert world.is_booted(instance)
    assert roots(world, instance) == {"": IMAGE, ".kept-1": NEXT_IMAGE}


def test_rollback_fetches_nothing(fake_world: World) -> None:
    instance = spawned(fake_world)
    fake_world.rebuild(instance)
    del fake_world.engine.images[f"altostratus:{IMAGE}"]
    fake_world.rebuild(instance, image=IMAGE)
    assert fake_world.glance.downloads == 0


def test_previous_root_that_would_be_made_otherwise_now_is_not_taken_up(
    fake_world: World, settings: Any
) -> None:
    instance = spawned(fake_world)
    before = identity(fake_world, instance)
    fake_world.rebuild(instance)
    settings.set_override("pids_limit", 100, "altostratus")
    fake_world.rebuild(instance, image=IMAGE)
    assert identity(fake_world, instance) != before
    assert fake_world.container(instance).config["HostConfig"]["PidsLimit"] == 100
    assert fake_world.glance.downloads == 0
    assert roots(fake_world, instance) == {"": IMAGE, ".kept-2": NEXT_IMAGE}


def test_repair_makes_the_root_anew_and_leaves_the_previous_one(world: World) -> None:
    """A rebuild with the image that an instance has: its root is not worth keeping."""
    instance = spawned(world)
    world.rebuild(instance)
    before = identity(world, instance)
    world.rebuild(instance)
    assert identity(world, instance) != before
    assert roots(world, instance) == {"": NEXT_IMAGE, ".kept-1": IMAGE}


@pytest.mark.parametrize(("count", "kept"), [(0, 0), (1, 1), (2, 2)])
def test_as_many_previous_roots_are_kept_as_configured(
    fake_world: World, settings: Any, count: int, kept: int
) -> None:
    settings.set_override("previous_roots", count, "altostratus")
    fake_world.glance.images[THIRD_IMAGE] = docker_archive("altostratus-identity:1")
    instance = spawned(fake_world)
    for image in (NEXT_IMAGE, THIRD_IMAGE):
        fake_world.rebuild(instance, image=image)
    found = roots(fake_world, instance)
    assert found.pop("") == THIRD_IMAGE
    assert list(found.values()) == [IMAGE, NEXT_IMAGE][2 - kept :]
    folders = list((fake_world.state_disks.parent / "instances" / instance.uuid).glob("config_*"))
    assert len(folders) == 1 + kept


def test_previous_roots_that_are_too_many_go_when_nova_compute_starts(
    fake_world: World, settings: Any
) -> None:
    instance = spawned(fake_world)
    fake_world.rebuild(instance)
    settings.set_override("previous_roots", 0, "altostratus")
    restart(fake_world)
    assert roots(fake_world, instance) == {"": NEXT_IMAGE}


def test_previous_root_is_no_instance(world: World) -> None:
    instance = spawned(world)
    world.rebuild(instance)
    assert world.driver.list_instances() == [instance.name]
    assert world.driver.list_instance_uuids() == [instance.uuid]
    assert world.driver.get_available_resource("node-docker")["memory_mb_used"] == 512


def test_image_of_a_previous_root_is_in_use(fake_world: World, settings: Any) -> None:
    settings.set_override("remove_unused_original_minimum_age_seconds", 0, "image_cache")
    instance = spawned(fake_world)
    fake_world.rebuild(instance)
    fake_world.driver.manage_image_cache(admin(), [instance])
    assert f"altostratus:{IMAGE}" in fake_world.engine.images


def test_previous_roots_go_with_their_instance(world: World) -> None:
    instance = spawned(world)
    world.rebuild(instance)
    world.driver.destroy(admin(), instance, model.NetworkInfo([]))
    assert world.driver.engine.roots(instance.uuid) == []


def test_state_disk_grows_while_the_instance_is_stopped(fake_world: World) -> None:
    instance = spawned(fake_world)
    (disk,) = fake_world.state_disks.rglob("*.img")
    instance.metadata = {**STATE, "altostratus:state_gib": "2"}
    fake_world.rebuild(instance)
    assert disk.stat().st_size == 2 << 30


def test_events_tell_of_the_instance_alone(fake_world: World) -> None:
    seen: list[str] = []
    fake_world.driver.register_event_listener(lambda event: seen.append(event.get_name()))
    fake_world.driver.init_host("node-docker")
    deadline = time.monotonic() + 5
    while not fake_world.engine.listeners:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    instance = spawned(fake_world)
    fake_world.rebuild(instance)
    # A container that has died under another name is not the instance.
    other = fake_world.engine.containers[f"nova-{instance.uuid}.kept-1"]
    fake_world.engine.set_status(other, "exited", "die", 137)
    fake_world.driver.power_off(instance)
    while len(seen) < 4:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert seen == ["Started", "Stopped", "Started", "Stopped"]


# A nova-compute that is killed


def restart(world: World) -> None:
    again = world.new_driver()
    again.init_host("node-docker")
    again.cleanup_host("node-docker")


DEEDS = {"create", "rename", "remove", "start", "stop", "run", "plug", "unplug"}
DEEDS |= {"write", "make_gate", "open_gate", "announce", "prepare"}


def is_deed(frame: Any, event: str) -> bool:
    """Whether something is done now that is seen outside of the process."""
    return event == "call" and frame.f_code.co_name in DEEDS


@pytest.mark.parametrize("back", [False, True], ids=["forth", "back"])
def test_nova_compute_killed_anywhere_leaves_one_root_or_the_other(
    fake_world: World, monkeypatch: pytest.MonkeyPatch, back: bool
) -> None:
    """In a rebuild to a new root and in one to a previous root."""
    monkeypatch.setattr(events.Watcher, "start", lambda _self: None)  # It takes long to stop.
    fake_world.virtapi.neutron = "at once"
    vifs = model.NetworkInfo([new_vif()])
    old, new = (NEXT_IMAGE, IMAGE) if back else (IMAGE, NEXT_IMAGE)
    seen, step = [], 1
    while True:
        instance = spawned(fake_world, vifs, image_ref=IMAGE)
        monkeypatch.setattr(objects.Instance, "get_by_uuid", lambda *_, found=instance: found)
        if back:
            fake_world.rebuild(instance, vifs)
        (disk,) = fake_world.state_disks.rglob("*.img")
        disk.write_bytes(b"precious")
        theirs = dataclasses.replace(fake_world, driver=fake_world.new_driver())
        rebuilding = functools.partial(theirs.rebuild, instance, vifs, new)
        if killed.runs_to_its_end(rebuilding, is_deed, kill_at=step):
            break
        # The machine's part of what the process did went with it.
        fake_world.root.namespaces = {"machine": {}}
        restart(fake_world)
        found = roots(fake_world, instance)
        seen.append(found[""])
        assert found.keys() <= {"", ".kept-1", ".kept-2"}, step
        assert len(found) <= 2, step
        assert fake_world.driver.get_info(instance).state == power_state.RUNNING, step
        assert fake_world.is_booted(instance), step
        assert config_drive(fake_world, instance)["uuid"] == instance.uuid, step
        with disk.open("rb") as content:
            assert content.read(8) == b"precious", step
        fake_world.rebuild(instance, vifs, new)
        assert roots(fake_world, instance)[""] == new, step
        fake_world.driver.destroy(admin(), instance, vifs)
        disk.unlink()
        step += 1
    assert seen[0] == old
    assert seen[-1] == new
    assert seen == sorted(seen, key=[old, new].index), "a later death must not undo more"
    assert step > 20
