"""The worlds that the drivers are tested in: a fake engine, and the same with the real one.

They need an environment with nova; elsewhere they are skipped. The real engine (marked `real`, so
not with `--fast`) needs root, and runs MariaDB's image. DOCKER_HOST may name another engine, such
as one with a user namespace.
"""

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

DRIVER = Path(__file__).parents[2] / "nova-driver"
sys.path[:0] = [str(DRIVER), str(Path(__file__).parent)]
os.environ.setdefault("OS_NOVA_DISABLE_EVENTLET_PATCHING", "1")

try:
    import nova.conf
except ImportError:
    collect_ignore_glob = ["test_*.py"]
else:
    import nova_altostratus.conf  # noqa: F401  (registers the options)
    from doubles import FakeGlance, FakeRoot, FakeSwitch, FakeVirtAPI, RealRoot
    from fake_engine import FakeContainer, FakeEngine
    from nova import context, objects
    from nova.network import model, security_group_api

    objects.register_all()

REAL_HOST = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
REAL_IMAGE = "altostratus-test:real"
IMAGE = "11111111-2222-3333-4444-555555555555"
NEXT_IMAGE = "22222222-3333-4444-5555-666666666666"
BOOTED_S = 10
PROJECT = "0123456789abcdef0123456789abcdef"


@dataclass
class World:
    """A driver with everything around it, and the means to look at that."""

    driver: Any
    virtapi: Any
    switch: Any
    root: Any
    glance: Any
    engine: Any  # the fake engine, or None
    state_disks: Path

    @property
    def is_real(self) -> bool:
        return self.engine is None

    def container(self, instance: Any) -> "FakeContainer":
        return self.engine.containers[f"nova-{instance.uuid}"]

    def is_booted(self, instance: Any) -> bool:
        """Whether the init has been let go."""
        if self.engine:
            return self.container(instance).booted.wait(2)
        command = Path(f"/proc/{self.driver.engine.get(instance.uuid).pid}/cmdline")
        deadline = time.monotonic() + BOOTED_S
        while b"altostratus.gate" in command.read_bytes():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def reboot_from_within(self, instance: Any) -> None:
        """What an administrator does inside."""
        name = f"nova-{instance.uuid}"
        wait = ["systemctl", "is-system-running", "--wait"]
        for _attempt in range(50):
            if subprocess.run(["docker", "exec", name, *wait], check=False).returncode == 0:
                break
            time.sleep(0.1)
        subprocess.run(["docker", "exec", name, "systemctl", "reboot"], check=False)

    def spawn(self, instance: Any, network_info: Any = (), **changes: Any) -> None:
        arguments: dict[str, Any] = {
            "injected_files": [],
            "admin_password": None,
            "allocations": {},
            "network_info": network_info,
        }
        meta = objects.ImageMeta(id=instance.image_ref)
        self.driver.spawn(admin(), instance, meta, **{**arguments, **changes})

    def rebuild(
        self, instance: Any, network_info: Any = (), image: str = NEXT_IMAGE, **changes: Any
    ) -> None:
        """Do what nova-compute does when an instance is to have another image."""
        arguments: dict[str, Any] = {
            "injected_files": [],
            "admin_password": None,
            "allocations": {},
            "bdms": None,
            "detach_block_devices": None,
            "attach_block_devices": None,
            "network_info": network_info,
            "preserve_ephemeral": True,
        }
        instance.image_ref, instance.task_state = image, "rebuilding"
        meta = objects.ImageMeta(id=image)
        self.driver.rebuild(admin(), instance, meta, **{**arguments, **changes})

    def new_driver(self) -> Any:
        """The driver of a nova-compute that starts anew."""
        from nova_altostratus.driver import DockerDriver

        return DockerDriver(self.virtapi, self.root, self.switch, self.glance)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Nova's configuration, as on an undercloud."""
    conf = nova.conf.CONF
    conf([], default_config_files=[])
    changes = {
        None: {
            "host": "node-docker",
            "instances_path": str(tmp_path / "instances"),
            "state_path": str(tmp_path),
            "vif_plugging_timeout": 2,
            "vif_plugging_is_fatal": True,
            "force_config_drive": True,
        },
        "altostratus": {
            "memory_mb": 3000,
            "disk_gb": 20,
            "vcpus": 2,
            "network_host": "node",
            "state_disks_path": str(tmp_path / "state-disks"),
            "shutdown_timeout": 20,
        },
    }
    for group, options in changes.items():
        for name, value in options.items():
            conf.set_override(name, value, group)
    (tmp_path / "instances").mkdir()
    # What in nova's metadata asks the database and Neutron.
    no_disks = objects.BlockDeviceMappingList(objects=[])
    monkeypatch.setattr(objects.Instance, "get_bdms", lambda _self: no_disks)
    monkeypatch.setattr(security_group_api, "get_instance_security_groups", lambda *_: [])
    yield conf
    conf.reset()
    conf.clear_override("host")


@pytest.fixture(
    params=["fake", pytest.param("real", marks=[pytest.mark.real])],
    name="world",
    scope="function",
)
def any_world(request: pytest.FixtureRequest, settings: Any, tmp_path: Path) -> Iterator[World]:
    """A world with a fake engine, and the same with the real one."""
    if request.param == "fake":
        yield from _fake_world(settings, tmp_path)
    else:
        yield request.getfixturevalue("real_world")


@pytest.fixture(scope="session")
def real_image() -> Iterator[str]:
    """An image with a whole system in the real engine."""
    import docker

    from altostratus import images, imagespec, machine

    if os.geteuid() != 0:
        pytest.skip("the real engine needs root")
    machine.prepare()
    archive = images.build(imagespec.wanted(("mariadb",), "docker"))
    client = docker.DockerClient(base_url=REAL_HOST)
    with archive.open("rb") as stream:
        (loaded,) = client.images.load(stream)
    loaded.tag(REAL_IMAGE)
    yield REAL_IMAGE
    client.images.remove(loaded.id, force=True)
    client.close()


@pytest.fixture
def real_world(real_image: str, settings: Any, tmp_path: Path) -> Iterator[World]:
    """A world with the real engine."""
    yield from _real_world(tmp_path)


@pytest.fixture
def fake_world(settings: Any, tmp_path: Path) -> Iterator[World]:
    """A world with a fake engine."""
    yield from _fake_world(settings, tmp_path)


def _fake_world(settings: Any, tmp_path: Path) -> Iterator[World]:
    engine = FakeEngine(tmp_path / "docker.sock")
    engine.images = {
        "sha256:feed": "sha256:feed",
        f"altostratus:{IMAGE}": "sha256:feed",
        "sha256:beef": "sha256:beef",
        f"altostratus:{NEXT_IMAGE}": "sha256:beef",
    }
    engine.serve()
    settings.set_override("docker_host", engine.url, "altostratus")
    root = FakeRoot()
    engine.on_end, root.words = root.end, engine.words
    world = _world(root, engine, tmp_path)
    yield world
    world.driver.cleanup_host("")
    engine.close()


def _real_world(tmp_path: Path) -> Iterator[World]:
    import docker

    nova.conf.CONF.set_override("docker_host", REAL_HOST, "altostratus")
    client = docker.APIClient(base_url=REAL_HOST)
    for image in (IMAGE, NEXT_IMAGE):
        client.tag(REAL_IMAGE, "altostratus", image)
    before = RealRoot().machine_devices()
    world = _world(RealRoot(), None, tmp_path)
    try:
        yield world
    finally:
        world.driver.cleanup_host("")
        for one in client.containers(all=True, filters=world.driver.engine.filters()):
            client.remove_container(one["Id"], force=True)
        for device in RealRoot().machine_devices() - before:
            # Others on the machine make devices as well.
            if device.startswith(("tap", "ngu")):
                RealRoot().run("ip", "link", "delete", device, ok=(0, 1))
        for image in (IMAGE, NEXT_IMAGE):
            client.remove_image(f"altostratus:{image}")


def _world(root: Any, engine: Any, tmp_path: Path) -> World:
    virtapi, switch, glance = FakeVirtAPI(), FakeSwitch(), FakeGlance()
    world = World(None, virtapi, switch, root, glance, engine, tmp_path / "state-disks")
    world.driver = world.new_driver()
    return world


def admin() -> Any:
    return context.get_admin_context()


@pytest.fixture
def make_instance(settings: Any) -> Any:
    """Return a function that makes Nova instances."""
    return new_instance


def new_instance(metadata: dict[str, str] | None = None, **changes: Any) -> Any:
    """Return a Nova instance as nova-compute gets it."""
    flavor = objects.Flavor(
        id=1,
        name="small",
        flavorid="small",
        memory_mb=512,
        vcpus=1,
        root_gb=4,
        ephemeral_gb=0,
        swap=0,
        rxtx_factor=1.0,
        extra_specs={"resources:VCPU": "0"},
    )
    network_info = model.NetworkInfo([])
    values: dict[str, Any] = {
        "id": 7,
        "uuid": str(uuid.uuid4()),
        "hostname": "identity",
        "display_name": "identity",
        "display_description": None,
        "project_id": PROJECT,
        "user_id": "user",
        "image_ref": IMAGE,
        "host": "node-docker",
        "node": "node-docker",
        "flavor": flavor,
        "metadata": metadata or {},
        "system_metadata": {},
        "availability_zone": "nova",
        "user_data": "I2Nsb3VkLWNvbmZpZwo=",
        "key_name": None,
        "key_data": None,
        "launch_index": 0,
        "memory_mb": 512,
        "vcpus": 1,
        "root_gb": 4,
        "ephemeral_gb": 0,
        "os_type": None,
        "architecture": None,
        "vm_mode": None,
        "vcpu_model": None,
        "pci_devices": objects.PciDeviceList(objects=[]),
        "pci_requests": objects.InstancePCIRequests(requests=[]),
        "resources": None,
        "trusted_certs": None,
        "power_state": 0,
        "cleaned": False,
        "deleted": False,
        "migration_context": None,
        "instance_type_id": 1,
        "services": objects.ServiceList(objects=[]),
        "fault": None,
        "old_flavor": None,
        "new_flavor": None,
        "reservation_id": "r-1",
        "config_drive": "True",
        "kernel_id": "",
        "ramdisk_id": "",
        "ephemeral_key_uuid": None,
        "root_device_name": "/dev/sda",
        "default_ephemeral_device": None,
        "default_swap_device": None,
        "task_state": None,
        "vm_state": "building",
        "numa_topology": None,
        "device_metadata": None,
        "keypairs": objects.KeyPairList(objects=[]),
        "ec2_ids": objects.EC2Ids(
            instance_id="i-1", ami_id="ami-1", kernel_id=None, ramdisk_id=None
        ),
        "info_cache": objects.InstanceInfoCache(network_info=network_info),
    }
    return objects.Instance(**{**values, **changes})


def privileged_instance() -> Any:
    """Return an instance whose flavor allows it all."""
    instance = new_instance()
    instance.flavor.extra_specs = {"altostratus:privileged": "true"}
    return instance


def new_vif(
    number: int = 1,
    *,
    active: bool = False,
    datapath: str = "netdev",
    gateway: bool = True,
) -> Any:
    """Return a port on 10.99.<number>.0/24 as Nova describes it."""
    port = f"{number:08x}-{uuid.uuid4().hex[:4]}-4000-8000-000000000000"
    route = {"address": f"10.99.{number}.1"} if gateway else None
    subnet = model.Subnet(
        cidr=f"10.99.{number}.0/24",
        version=4,
        dns=[model.IP(address=f"10.99.{number}.2", type="dns")],
        gateway=model.IP(type="gateway", **route) if route else None,
        routes=[],
        ips=[model.FixedIP(address=f"10.99.{number}.5", version=4)],
        dhcp_server=None,
    )
    network = model.Network(
        id=str(uuid.uuid4()), bridge="br-int", label="net", subnets=[subnet], mtu=1450
    )
    return model.VIF(
        id=port,
        address=f"fa:16:3e:00:00:{number:02x}",
        network=network,
        type="ovs",
        devname=f"tap{port}"[:14],
        ovs_interfaceid=port,
        details={"datapath_type": datapath, "port_filter": True},
        active=active,
        vnic_type="normal",
    )
