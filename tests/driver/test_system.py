"""A whole system in a container of the real engine: what it can and cannot do."""

import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import IMAGE, World, admin, new_instance, new_vif, privileged_instance
from nova import objects
from nova.network import model

pytestmark = pytest.mark.real
METADATA = {"altostratus:state_disk": "demo.identity", "altostratus:state_gib": "1"}


@pytest.fixture
def world(real_world: World) -> World:
    return real_world


def inside(instance: Any, *command: str, status: int | None = 0) -> str:
    done = subprocess.run(
        ["docker", "exec", f"nova-{instance.uuid}", *command],
        capture_output=True,
        text=True,
        check=False,
    )
    assert status is None or done.returncode == status, done.stderr
    return done.stdout


def wait_for_system(instance: Any) -> str:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = inside(instance, "systemctl", "is-system-running", "--wait", status=None).strip()
        if found in ("running", "degraded"):
            return found
        time.sleep(0.1)
    return found


def test_systemd_comes_all_the_way_up(world: World) -> None:
    instance = new_instance(METADATA)
    vifs = model.NetworkInfo([new_vif(1), new_vif(2, gateway=False)])
    world.spawn(instance, vifs)
    assert wait_for_system(instance) == "running", inside(
        instance, "systemctl", "--failed", "--no-legend"
    )
    assert inside(instance, "hostname").strip() == "identity"
    assert inside(instance, "systemctl", "is-active", "ssh", "dbus", "multi-user.target")


def test_network_is_there_before_init(world: World) -> None:
    """PID 1's environment has no say: the interfaces were there when systemd looked first."""
    instance = new_instance()
    vif = new_vif(1)
    world.spawn(instance, model.NetworkInfo([vif]))
    wait_for_system(instance)
    link = inside(instance, "ip", "-o", "link", "show", "eth0")
    assert f"mtu {1450}" in link
    assert vif["address"] in link
    assert "10.99.1.5/24" in inside(instance, "ip", "-o", "addr", "show", "eth0")
    assert "default via 10.99.1.1 dev eth0" in inside(instance, "ip", "route")
    pid = world.driver.engine.get(instance.uuid).pid
    offload = world.root.in_network_of(pid, "ethtool", "-k", "eth0")
    assert "tx-checksumming: off" in offload


def test_traffic_passes(world: World) -> None:
    instance, vif = new_instance(), new_vif(1)
    world.spawn(instance, model.NetworkInfo([vif]))
    world.root.run("ip", "addr", "add", "10.99.1.1/24", "dev", vif["devname"])
    wait_for_system(instance)
    assert ssh_banner() == "SSH-2.0"


def ssh_banner() -> str:
    return subprocess.run(
        ["bash", "-c", "exec 3<>/dev/tcp/10.99.1.5/22; head -c 7 <&3"],
        capture_output=True,
        text=True,
        timeout=10,
        check=True,
    ).stdout


def test_instance_holds_little_power(world: World) -> None:
    instance = new_instance()
    world.spawn(instance)
    wait_for_system(instance)
    status = dict(
        line.split(":\t", 1)
        for line in inside(instance, "cat", "/proc/1/status").splitlines()
        if ":\t" in line
    )
    admin_bit, module_bit, ptrace_bit, mknod_bit = 1 << 21, 1 << 16, 1 << 19, 1 << 27
    held = int(status["CapBnd"], 16)
    assert held & (admin_bit | module_bit | ptrace_bit | mknod_bit) == 0
    assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1")
    for command in (
        "mount -t tmpfs none /mnt",
        "mount -o remount,rw /sys/fs/cgroup/memory",
        "mknod /tmp/sda b 8 0",
        "sh -c 'echo 1 > /proc/sys/kernel/sysrq'",
        "rm -r /var/lib/cloud/seed/config_drive/openstack",
    ):
        inside(instance, "sh", "-c", f"{command} 2>/dev/null && exit 0; exit 9", status=9)


def test_root_is_not_the_machine_s_where_the_engine_maps_users(world: World) -> None:
    instance = new_instance()
    world.spawn(instance)
    pid = world.driver.engine.get(instance.uuid).pid
    assert Path(f"/proc/{pid}").stat().st_uid == world.driver.about.user_base


def test_privileged_instance_has_network_namespaces_of_its_own(world: World) -> None:
    instance = privileged_instance()
    world.spawn(instance)
    wait_for_system(instance)
    inside(instance, "ip", "netns", "add", "router")
    forward = "/proc/sys/net/ipv4/ip_forward"
    inside(instance, "ip", "netns", "exec", "router", "sh", "-c", f"echo 1 > {forward}")
    inside(instance, "test", "-c", "/dev/net/tun")


def test_instance_is_bound_to_its_flavor(world: World) -> None:
    instance = new_instance()
    world.spawn(instance)
    host = subprocess.run(
        [
            "docker",
            "inspect",
            f"nova-{instance.uuid}",
            "--format",
            "{{json .HostConfig}}",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for limit in ('"Memory":536870912', '"MemorySwap":536870912', '"CpuQuota":100000'):
        assert limit in host
    assert '"PidsLimit":4096' in host


def test_state_is_kept_through_reboot_and_rebuild(world: World) -> None:
    instance = new_instance(METADATA)
    world.spawn(instance)
    wait_for_system(instance)
    inside(instance, "sh", "-c", "echo precious > /mnt/state/data")
    options = inside(instance, "findmnt", "-no", "OPTIONS", "/mnt/state")
    assert {"nosuid", "nodev", "rw"} <= set(options.strip().split(","))
    world.driver.reboot(admin(), instance, model.NetworkInfo([]), "SOFT")
    assert inside(instance, "cat", "/mnt/state/data") == "precious\n"
    world.driver.destroy(admin(), instance, model.NetworkInfo([]))
    world.spawn(instance)
    assert inside(instance, "cat", "/mnt/state/data") == "precious\n"
    instance.metadata = {**METADATA, "altostratus:state_release": "true"}
    world.driver.destroy(admin(), instance, model.NetworkInfo([]))
    assert not list(world.state_disks.rglob("*.img"))
    assert str(world.state_disks) not in world.root.run("losetup", "--all")


def test_rebuild_in_place_keeps_state_and_network(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects.Instance, "save", lambda *_, **__: None)
    instance, vifs = new_instance(METADATA), model.NetworkInfo([new_vif(1)])
    world.spawn(instance, vifs)
    world.root.run("ip", "addr", "add", "10.99.1.1/24", "dev", vifs[0]["devname"])
    wait_for_system(instance)
    inside(instance, "sh", "-c", "echo precious > /mnt/state/data; touch /root/first")
    world.rebuild(instance, vifs)
    assert wait_for_system(instance) == "running"
    assert inside(instance, "cat", "/mnt/state/data") == "precious\n"
    inside(instance, "test", "-e", "/root/first", status=1)
    # The machine's end has its address still: it is the same interface.
    assert ssh_banner() == "SSH-2.0"
    assert "default via 10.99.1.1 dev eth0" in inside(instance, "ip", "route")
    pid = world.driver.engine.get(instance.uuid).pid
    assert "tx-checksumming: off" in world.root.in_network_of(pid, "ethtool", "-k", "eth0")
    world.rebuild(instance, vifs, IMAGE)
    assert wait_for_system(instance) == "running"
    assert inside(instance, "cat", "/mnt/state/data") == "precious\n"
    inside(instance, "test", "-e", "/root/first")
    assert ssh_banner() == "SSH-2.0"


def test_instance_left_at_its_gate_is_stopped(world: World) -> None:
    """As when nova-compute is killed between the container's start and its wiring."""
    instance = new_instance()
    world.spawn(instance, power_on=False)
    world.driver.engine.start(instance.uuid)
    again = world.new_driver()
    again.init_host("node-docker")
    again.cleanup_host("node-docker")
    assert not again.engine.get(instance.uuid).running
