"""What the drivers tell Nova of an instance's memory and processor time, and that Nova takes it."""

import datetime
from typing import Any

import jsonschema
import pytest
from conftest import World, new_instance, new_vif
from nova import exception
from nova.api.openstack.compute.schemas import server_diagnostics as schema
from nova.api.openstack.compute.views import server_diagnostics as view
from nova.network import model
from nova.objects import diagnostics as nova_diagnostics
from nova.virt.libvirt import driver as nova_driver
from nova_altostratus import libvirt
from oslo_utils import units


def told(driver: Any, instance: Any) -> dict[str, Any]:
    """What Nova's API says, once what the driver says has come to it."""
    sent = driver.get_instance_diagnostics(instance).obj_to_primitive()
    arrived = nova_diagnostics.Diagnostics.obj_from_primitive(sent)
    answer: dict[str, Any] = view.ViewBuilder().instance_diagnostics(arrived)
    jsonschema.validate(answer, schema.index_response_v248)
    return answer


def test_container_tells_what_it_uses(world: World) -> None:
    instance, vif = new_instance(), new_vif()
    instance.info_cache.network_info = model.NetworkInfo([vif])
    world.spawn(instance, instance.info_cache.network_info)
    assert world.is_booted(instance)
    answer = told(world.driver, instance)
    assert (answer["state"], answer["hypervisor"]) == ("running", "docker")
    assert answer["config_drive"] is True
    assert [one["mac_address"] for one in answer["nic_details"]] == [vif["address"]]
    assert 0 <= answer["uptime"] < 60
    memory = answer["memory_details"]
    if memory["used"] is None:
        pytest.skip("this engine finds no control groups: it logs so, and has no figures")
    assert memory["maximum"] == instance.flavor.memory_mb
    assert 0 < memory["used"] < memory["maximum"]
    assert answer["cpu_details"][0]["time"] > 0


def test_engine_without_control_groups_has_no_figures(fake_world: World) -> None:
    """It answers all the same: with the time before all times, and nothing."""
    fake_world.engine.has_control_groups = False
    instance = new_instance()
    fake_world.spawn(instance)
    assert told(fake_world.driver, instance)["memory_details"] == {"maximum": None, "used": None}


@pytest.mark.parametrize("key", ["total_inactive_file", "inactive_file"])
def test_files_that_can_be_read_again_are_not_counted(fake_world: World, key: str) -> None:
    """Both versions of cgroups have their own word for them."""
    fake_world.engine.memory_details = {key: 80 << 20}
    instance = new_instance()
    fake_world.spawn(instance)
    assert told(fake_world.driver, instance)["memory_details"]["used"] == 120


def test_uptime_counts_from_the_last_start(fake_world: World) -> None:
    instance = new_instance()
    fake_world.spawn(instance)
    fake_world.container(instance).started -= datetime.timedelta(hours=2)
    assert 7200 <= told(fake_world.driver, instance)["uptime"] < 7260


def test_instance_without_a_container_has_nothing_to_tell(world: World) -> None:
    with pytest.raises(exception.InstanceNotFound):
        world.driver.get_instance_diagnostics(new_instance())


class FakeDomain:
    """What libvirt says of a domain of 1 GiB that was given 768 MiB and has run 3 s."""

    def __init__(self, stats: dict[str, int]) -> None:
        self.stats = stats
        self._domain = self

    def info(self) -> list[int]:
        return [1, units.Mi, 768 * units.Ki, 1, 3 * 10**9]

    def memoryStats(self) -> dict[str, int]:
        return self.stats


class FakeHost:
    """A host with one domain."""

    def __init__(self, domain: FakeDomain) -> None:
        self.domain = domain

    def get_guest(self, _instance: Any) -> FakeDomain:
        return self.domain


def libvirt_driver(
    monkeypatch: pytest.MonkeyPatch, hypervisor: str, stats: dict[str, int], vcpus: int
) -> Any:
    """A driver whose Nova tells memory in GiB, as it does, and these virtual processors."""

    def tell(_driver: Any, _instance: Any) -> Any:
        found = nova_diagnostics.Diagnostics(
            state="running", driver="libvirt", hypervisor=hypervisor, hypervisor_os="linux"
        )
        found.config_drive, found.uptime = True, 5
        found.memory_details = nova_diagnostics.MemoryDiagnostics(maximum=1, used=1)
        for number in range(vcpus):
            found.add_cpu(id=number, time=7 * 10**9)
        return found

    monkeypatch.setattr(nova_driver.LibvirtDriver, "__init__", lambda *_: None)
    monkeypatch.setattr(nova_driver.LibvirtDriver, "get_instance_diagnostics", tell)
    monkeypatch.setattr(libvirt.LibvirtDriver, "_host", FakeHost(FakeDomain(stats)), raising=False)
    return libvirt.LibvirtDriver(None, root=None)


@pytest.mark.parametrize(
    ("hypervisor", "stats", "used"),
    [
        ("kvm", {"available": 1000 << 10, "usable": 700 << 10, "rss": 900 << 10}, 300),
        ("qemu", {"actual": 768 << 10, "rss": 210 << 10}, 210),
        ("qemu", {}, 768),
        ("lxc", {"rss": 210 << 10}, 768),
    ],
    ids=["booted", "not booted", "nothing is known", "container"],
)
def test_libvirt_tells_memory_in_mib(
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    hypervisor: str,
    stats: dict[str, int],
    used: int,
) -> None:
    answer = told(libvirt_driver(monkeypatch, hypervisor, stats, vcpus=2), new_instance())
    assert answer["memory_details"] == {"maximum": 1024, "used": used}
    assert [one["time"] for one in answer["cpu_details"]] == [7 * 10**9] * 2


def test_processor_time_of_a_container_under_libvirt_is_told(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nova asks for virtual processors, which a container has none of."""
    answer = told(libvirt_driver(monkeypatch, "lxc", {}, vcpus=0), new_instance())
    assert [one["time"] for one in answer["cpu_details"]] == [3 * 10**9]
    assert answer["num_cpus"] == 1
