"""What Nova expects of DockerDriver, on a fake engine and on the real one."""

import base64
import hashlib
import json
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import IMAGE, World, admin, new_instance, new_vif, privileged_instance
from doubles import docker_archive
from nova import exception, objects
from nova.compute import power_state
from nova.network import model
from nova_altostratus.engine import EngineError

UNFIT = "99999999-8888-7777-6666-555555555555"


def state(world: World, instance: Any) -> int:
    return world.driver.get_info(instance).state


def nothing_is_left(world: World, instance: Any) -> bool:
    directory = Path(world.driver.engine and world.state_disks.parent, "instances", instance.uuid)
    devices = {d for d in world.root.machine_devices() if d.startswith(("tap0000", "ngu0000"))}
    return not (
        world.driver.engine.roots(instance.uuid)
        or devices
        or world.switch.ports
        or directory.exists()
    )


def settle(check: Any, timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not check():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def test_spawned_instance_runs_with_its_network(world: World) -> None:
    instance, vifs = (
        new_instance(),
        model.NetworkInfo([new_vif(1), new_vif(2, gateway=False)]),
    )
    world.spawn(instance, vifs)
    assert world.is_booted(instance)
    assert state(world, instance) == power_state.RUNNING
    assert world.driver.list_instances() == [instance.name]
    assert world.driver.list_instance_uuids() == [instance.uuid]
    assert set(world.switch.ports) == {vif["devname"] for vif in vifs}
    assert [event for event, _port in world.virtapi.waited_for] == ["network-vif-plugged"] * 2


def test_spawn_refuses_an_instance_that_is_there(world: World) -> None:
    instance = new_instance()
    world.spawn(instance)
    with pytest.raises(exception.InstanceExists):
        world.spawn(instance)
    assert state(world, instance) == power_state.RUNNING


def test_spawn_without_power_leaves_it_shut_down(world: World) -> None:
    instance = new_instance()
    world.spawn(instance, model.NetworkInfo([new_vif()]), power_on=False)
    assert state(world, instance) == power_state.SHUTDOWN
    assert not world.switch.ports


@pytest.mark.parametrize("neutron", ["failed", "never"])
def test_network_that_does_not_come_up_fails_the_build(world: World, neutron: str) -> None:
    world.virtapi.neutron = neutron
    instance = new_instance()
    with pytest.raises(exception.VirtualInterfaceCreateException):
        world.spawn(instance, model.NetworkInfo([new_vif()]))
    assert nothing_is_left(world, instance)


@pytest.mark.parametrize("neutron", ["failed", "never"])
def test_network_that_does_not_come_up_is_suffered_if_told_so(
    world: World, settings: Any, neutron: str
) -> None:
    settings.set_override("vif_plugging_is_fatal", False)
    settings.set_override("vif_plugging_timeout", 1)
    world.virtapi.neutron = neutron
    instance = new_instance()
    world.spawn(instance, model.NetworkInfo([new_vif()]))
    assert world.is_booted(instance)


@pytest.mark.parametrize("neutron", ["at once", "late"])
def test_network_may_come_up_before_or_after(world: World, neutron: str) -> None:
    world.virtapi.neutron = neutron
    instance = new_instance()
    world.spawn(instance, model.NetworkInfo([new_vif()]))
    assert world.is_booted(instance)


def test_active_ports_are_not_waited_for(world: World) -> None:
    world.virtapi.neutron = "never"
    world.spawn(new_instance(), model.NetworkInfo([new_vif(active=True)]))
    assert world.virtapi.waited_for == []


def test_plug_that_fails_fails_the_build(world: World) -> None:
    world.switch.fails = True
    instance = new_instance()
    with pytest.raises(exception.VirtualInterfacePlugException, match="OVSDB does not answer"):
        world.spawn(instance, model.NetworkInfo([new_vif()]))
    assert nothing_is_left(world, instance)


@pytest.mark.parametrize("action", ["create", "start"])
def test_engine_that_fails_fails_the_build(fake_world: World, action: str) -> None:
    fake_world.engine.fail(action, "no space left")
    instance = new_instance()
    with pytest.raises(EngineError, match="no space left"):
        fake_world.spawn(instance, model.NetworkInfo([new_vif()]))
    assert nothing_is_left(fake_world, instance)


def test_engine_that_does_not_answer_is_named(fake_world: World) -> None:
    instance = new_instance()
    fake_world.spawn(instance)
    fake_world.engine.close()
    with pytest.raises(EngineError, match=r"docker\.sock"):
        fake_world.driver.get_info(instance)


def test_power_cycle_makes_the_network_anew(world: World) -> None:
    vifs = model.NetworkInfo([new_vif()])
    instance = new_instance()
    instance.info_cache.network_info = vifs
    world.spawn(instance, vifs)
    world.driver.power_off(instance, timeout=20)
    assert state(world, instance) == power_state.SHUTDOWN
    assert not world.switch.ports
    world.driver.power_on(admin(), instance, vifs)
    assert state(world, instance) == power_state.RUNNING
    assert world.is_booted(instance)
    assert world.switch.ports


@pytest.mark.parametrize("kind", ["SOFT", "HARD"])
def test_reboot_starts_a_new_init(world: World, kind: str) -> None:
    vifs = model.NetworkInfo([new_vif()])
    instance = new_instance()
    world.spawn(instance, vifs)
    world.driver.reboot(admin(), instance, vifs, kind)
    assert world.is_booted(instance)
    assert state(world, instance) == power_state.RUNNING
    assert world.switch.ports


def test_hard_reboot_starts_a_dead_instance(world: World) -> None:
    vifs = model.NetworkInfo([new_vif()])
    instance = new_instance()
    world.spawn(instance, vifs)
    world.driver.engine.stop(instance.uuid, 0)
    world.driver.reboot(admin(), instance, vifs, "HARD")
    assert world.is_booted(instance)
    assert state(world, instance) == power_state.RUNNING


def test_pause_and_unpause(world: World) -> None:
    instance = new_instance()
    world.spawn(instance)
    world.driver.pause(instance)
    assert state(world, instance) == power_state.PAUSED
    world.driver.unpause(instance)
    assert state(world, instance) == power_state.RUNNING


def test_paused_instance_can_be_powered_off(world: World) -> None:
    instance = new_instance()
    world.spawn(instance)
    world.driver.pause(instance)
    world.driver.power_off(instance, timeout=20)
    assert state(world, instance) == power_state.SHUTDOWN


def test_unknown_instance_is_not_found(world: World) -> None:
    for verb in (world.driver.get_info, world.driver.power_off, world.driver.pause):
        with pytest.raises(exception.NotFound):
            verb(new_instance())


def test_destroy_leaves_nothing(world: World) -> None:
    vifs = model.NetworkInfo([new_vif()])
    instance = new_instance()
    world.spawn(instance, vifs)
    world.driver.destroy(admin(), instance, vifs)
    settle(lambda: nothing_is_left(world, instance))


def test_destroying_what_is_not_there_is_done(world: World) -> None:
    instance = new_instance()
    world.driver.destroy(admin(), instance, model.NetworkInfo([new_vif()]))
    assert nothing_is_left(world, instance)


def test_instance_deleted_while_the_node_was_down_is_seen_and_removed(world: World) -> None:
    """Nova asks a driver what it has, and has it destroy what it knows no ports of any more."""
    instance = new_instance()
    world.spawn(instance)
    world.driver.engine.stop(instance.uuid, 0)
    assert world.driver.list_instance_uuids() == [instance.uuid]
    world.driver.destroy(admin(), instance, model.NetworkInfo([]))
    settle(lambda: nothing_is_left(world, instance))
    assert world.driver.list_instance_uuids() == []


def test_console_shows_what_init_says(world: World) -> None:
    instance = new_instance()
    world.spawn(instance)
    settle(lambda: b"Welcome" in world.driver.get_console_output(admin(), instance))


def test_config_drive_is_root_s_alone(world: World) -> None:
    instance = new_instance()
    world.spawn(instance, injected_files=[("/etc/motd", b"hello")], admin_password="secret")
    directory = world.state_disks.parent / "instances" / instance.uuid / "config_drive"
    meta = json.loads((directory / "openstack/latest/meta_data.json").read_text())
    assert (meta["uuid"], meta["admin_pass"]) == (instance.uuid, "secret")
    assert (directory / "openstack/content/0000").read_bytes() == b"hello"
    assert (directory / "openstack/latest/user_data").read_bytes() == b"#cloud-config\n"
    for path in (directory, *directory.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0


def test_interface_comes_and_goes_while_running(world: World) -> None:
    first, second = new_vif(1), new_vif(2)
    instance = new_instance()
    world.spawn(instance, model.NetworkInfo([first]))
    world.driver.attach_interface(admin(), instance, None, second)
    assert set(world.switch.ports) == {first["devname"], second["devname"]}
    world.driver.detach_interface(admin(), instance, second)
    assert set(world.switch.ports) == {first["devname"]}


def test_ports_are_there_again_after_nova_compute_restarts(world: World) -> None:
    vifs = model.NetworkInfo([new_vif()])
    instance = new_instance()
    world.spawn(instance, vifs)
    world.switch.ports.clear()
    again = world.new_driver()
    again.init_host("node-docker")
    again.plug_vifs(instance, vifs)
    again.cleanup_host("node-docker")
    assert state(world, instance) == power_state.RUNNING
    assert world.switch.ports


def test_lifecycle_events_tell_what_happens(world: World) -> None:
    seen: list[tuple[str, str]] = []
    world.driver.register_event_listener(
        lambda event: seen.append((event.get_instance_uuid(), event.get_name()))
    )
    world.driver.init_host("node-docker")
    if world.engine:
        settle(lambda: world.engine.listeners)
    time.sleep(0.3)
    instance = new_instance()
    world.spawn(instance)
    world.driver.pause(instance)
    world.driver.unpause(instance)
    world.driver.engine.stop(instance.uuid, 0)
    settle(lambda: len(seen) >= 4)
    names = ["Started", "Paused", "Resumed", "Stopped"]
    assert seen == [(instance.uuid, name) for name in names]


def test_instance_that_reboots_itself_is_started_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    world.driver.register_event_listener(lambda event: seen.append(event.get_name()))
    world.driver.init_host("node-docker")
    time.sleep(0.3)
    vifs = model.NetworkInfo([new_vif()])
    instance = new_instance()
    instance.info_cache.network_info = vifs
    monkeypatch.setattr(objects.Instance, "get_by_uuid", lambda *_arguments: instance)
    world.spawn(instance, vifs)
    settle(lambda: seen == ["Started"])
    if world.engine:
        world.engine.set_status(world.container(instance), "exited", "die", 129)
    else:
        world.reboot_from_within(instance)
    settle(lambda: seen == ["Started", "Started"], timeout_s=30)
    settle(lambda: world.is_booted(instance))
    assert world.switch.ports


def test_death_while_the_engine_was_away_is_told(fake_world: World) -> None:
    seen: list[str] = []
    fake_world.driver.register_event_listener(lambda event: seen.append(event.get_name()))
    fake_world.driver.init_host("node-docker")
    settle(lambda: fake_world.engine.listeners)
    instance = new_instance()
    fake_world.spawn(instance)
    settle(lambda: seen == ["Started"])
    fake_world.engine.close()
    fake_world.container(instance).status = "exited"
    fake_world.engine.serve()
    settle(lambda: seen == ["Started", "Stopped"])


def test_image_is_fetched_once_and_kept_by_its_glance_id(world: World) -> None:
    image = "99999999-2222-3333-4444-555555555555"
    world.glance.images[image] = docker_archive("altostratus-identity:1", note=str(time.time()))
    try:
        assert world.driver.cache_image(admin(), image) is True
        assert world.driver.cache_image(admin(), image) is False
        assert world.glance.downloads == 1
        assert world.driver.engine.image_id(f"altostratus:{image}")
        assert world.driver.engine.image_id("altostratus-identity:1") is None
    finally:
        world.driver.engine.untag(f"altostratus:{image}")


@pytest.mark.parametrize(
    "content",
    [
        b"not a tar",
        docker_archive(f"altostratus:{IMAGE}"),
        docker_archive("x/altostratus:1"),
    ],
    ids=["garbage", "another image's name", "the driver's repository"],
)
def test_unfit_image_is_refused(fake_world: World, content: bytes) -> None:
    instance = new_instance(image_ref=UNFIT)
    fake_world.glance.images[UNFIT] = content
    with pytest.raises(exception.ImageUnacceptable):
        fake_world.spawn(instance)
    assert nothing_is_left(fake_world, instance)


def test_unused_images_go_when_they_are_old(fake_world: World, settings: Any) -> None:
    engine = fake_world.engine
    engine.images["altostratus:unused"] = "sha256:dead"
    used = [new_instance()]
    fake_world.driver.manage_image_cache(admin(), used)
    assert "altostratus:unused" in engine.images
    settings.set_override("remove_unused_original_minimum_age_seconds", 0, "image_cache")
    fake_world.driver.manage_image_cache(admin(), used)
    assert "altostratus:unused" not in engine.images
    assert f"altostratus:{IMAGE}" in engine.images


def test_node_has_its_share_under_its_own_name(world: World) -> None:
    world.spawn(new_instance())
    assert world.driver.get_available_nodes() == ["node-docker"]
    resources = world.driver.get_available_resource("node-docker")
    assert resources["hypervisor_hostname"] == "node-docker"
    assert resources["hypervisor_type"] == "Docker"
    assert resources["supported_instances"] == [("x86_64", "docker", "exe")]
    assert (resources["memory_mb"], resources["memory_mb_used"]) == (3000, 512)
    assert world.driver.network_binding_host_id(admin(), new_instance()) == "node"
    assert world.driver.manages_network_binding_host_id()
    assert "load average" in world.driver.get_host_uptime()


MANIFEST = b'{"mediaType": "application/vnd.docker.distribution.manifest.v2+json", "layers": []}'
IN_REGISTRY = f"127.0.0.1:5005/images@sha256:{hashlib.sha256(MANIFEST).hexdigest()}"


def test_image_with_a_manifest_comes_from_the_registry(fake_world: World, settings: Any) -> None:
    settings.set_override("registry", "127.0.0.1:5005", "altostratus")
    settings.set_override("registry_user", "node", "altostratus")
    settings.set_override("registry_password", "secret", "altostratus")
    fake_world.glance.images[UNFIT] = MANIFEST
    fake_world.engine.registry[IN_REGISTRY] = "sha256:layers"
    instance = new_instance(image_ref=UNFIT)
    fake_world.spawn(instance)
    assert fake_world.engine.images[f"altostratus:{UNFIT}"] == "sha256:layers"
    assert IN_REGISTRY not in fake_world.engine.images
    sent = json.loads(base64.urlsafe_b64decode(fake_world.engine.pulled_with or ""))
    assert (sent["username"], sent["password"]) == ("node", "secret")


def test_image_with_a_manifest_needs_a_registry(fake_world: World) -> None:
    fake_world.glance.images[UNFIT] = MANIFEST
    with pytest.raises(exception.ImageUnacceptable, match="registry"):
        fake_world.spawn(new_instance(image_ref=UNFIT))


def test_image_that_the_registry_lacks_fails_the_build(fake_world: World, settings: Any) -> None:
    settings.set_override("registry", "127.0.0.1:5005", "altostratus")
    fake_world.glance.images[UNFIT] = MANIFEST
    instance = new_instance(image_ref=UNFIT)
    with pytest.raises(exception.NotFound, match="manifest"):
        fake_world.spawn(instance)
    assert nothing_is_left(fake_world, instance)


def test_only_a_flavor_makes_an_instance_privileged(fake_world: World) -> None:
    """Neither its own metadata nor its image's properties, which users set."""
    word = "altostratus:privileged"
    usual = new_instance({word: "true"}, system_metadata={f"image_{word}": "true"})
    privileged = privileged_instance()
    fake_world.spawn(usual)
    assert "--with-sysfs" not in fake_world.root.commands[-1]
    fake_world.spawn(privileged)
    assert "--with-sysfs" in fake_world.root.commands[-1]
    host = fake_world.container(usual).config["HostConfig"]
    assert (host["CapDrop"], host["Privileged"]) == (["ALL"], False)
    assert "SYS_ADMIN" not in host["CapAdd"]
    assert not {"Devices", "MaskedPaths", "ReadonlyPaths"} & host.keys()
    assert not any("unconfined" in option for option in host["SecurityOpt"])
    host = fake_world.container(privileged).config["HostConfig"]
    assert "seccomp=unconfined" in host["SecurityOpt"]
    # It stays in its user namespace, where there is one.
    assert (host["Privileged"], host.get("UsernsMode")) == (False, None)
