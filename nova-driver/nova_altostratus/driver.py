"""DockerDriver: Nova's verbs, each in a few lines; the work is in the modules beside this one."""

import functools
import json
import shutil
from contextlib import ExitStack
from typing import Any

from nova import context as nova_context
from nova import exception, objects
from nova.objects import fields
from nova.virt import configdrive as nova_configdrive
from nova.virt import driver, hardware
from oslo_concurrency import processutils
from oslo_log import log as logging

from nova_altostratus import (
    configdrive,
    container,
    container_roots,
    diagnostics,
    events,
    images,
    lifecycle,
    network,
    rebuild,
    resources,
    statedisk,
)
from nova_altostratus.conf import CONF
from nova_altostratus.engine import About, Engine
from nova_altostratus.root import Root, do_without_helpers

LOG = logging.getLogger(__name__)

HYPERVISOR = "docker"
_CONSOLE_LINES = 2000


class DockerDriver(driver.ComputeDriver):
    """Runs an instance as a Docker container with a full init: a system container."""

    capabilities = {  # noqa: RUF012 (Nova's own attribute)
        **driver.ComputeDriver.capabilities,
        "has_imagecache": True,
        "supports_attach_interface": True,
        "supports_image_type_raw": True,
    }

    def __init__(
        self,
        virtapi: Any,
        root: Root | None = None,
        switch: Any = None,
        image_source: Any = None,
    ) -> None:
        super().__init__(virtapi)
        self.root = root or Root()
        self.engine = Engine()
        self.images = images.Images(self.engine, image_source)
        self.network = network.Network(self.root, switch or network.Switch())
        self.lifecycle = lifecycle.Lifecycle(self.engine, self.network, self.root, virtapi)
        self.watcher = events.Watcher(self.engine, self.emit_event, self._start_again)

    @functools.cached_property
    def about(self) -> About:
        """What the engine is."""
        return self.engine.about()

    def init_host(self, host: str) -> None:
        """Meet the engine, and put right what an earlier process left half done."""
        LOG.info("Docker Engine %s at %s", self.about.version, self.engine.url)
        do_without_helpers()
        self.network.switch.prepare()
        self.lifecycle.clear_gates()
        for uuid in container_roots.recover(self.engine):
            self._resume(uuid)
        self.watcher.start()

    def cleanup_host(self, host: str) -> None:
        """Stop to watch the engine, and let go of it."""
        self.watcher.stop()
        self.engine.close()

    # What is there

    def get_info(self, instance: Any, use_cache: bool = True) -> hardware.InstanceInfo:
        """Return an instance's power state."""
        found = self.engine.get(instance.uuid)
        return hardware.InstanceInfo(state=found.power_state, internal_id=found.id)

    def list_instances(self) -> list[str]:
        """Return the names of the instances here."""
        return [labels[container.LABEL_NAME] for labels in self.engine.containers()]

    def list_instance_uuids(self) -> list[str]:
        """Return the ids of the instances here."""
        return [labels[container.LABEL] for labels in self.engine.containers()]

    def instance_exists(self, instance: Any) -> bool:
        """Return whether an instance has a container."""
        return self.engine.find(instance.uuid) is not None

    def instance_on_disk(self, instance: Any) -> bool:
        """Return whether an instance's files are here."""
        return self.instance_exists(instance)

    def get_console_output(self, context: Any, instance: Any) -> bytes:
        """Return what the init and its services wrote to the console."""
        self.engine.get(instance.uuid)
        return self.engine.log(instance.uuid, _CONSOLE_LINES)

    def get_instance_diagnostics(self, instance: Any) -> Any:
        """Return what an instance uses."""
        found, usage = self.engine.get(instance.uuid), self.engine.usage(instance.uuid)
        return diagnostics.of_container(instance, found, usage)

    # Its life

    def spawn(
        self,
        context: Any,
        instance: Any,
        image_meta: Any,
        injected_files: Any,
        admin_password: str | None,
        allocations: Any,
        network_info: Any = None,
        block_device_info: Any = None,
        power_on: bool = True,
        accel_info: Any = None,
    ) -> None:
        """Create an instance's container and start it, or leave nothing behind."""
        network_info = network_info or []
        if self.instance_exists(instance):
            raise exception.InstanceExists(name=instance.name)
        with ExitStack() as undo:
            image, _fetched = self.images.ensure(context, image_meta.id)
            undo.callback(self.delete_instance_files, instance)
            self._write_files(instance, injected_files, admin_password, network_info)
            disk = self._prepare_state_disk(instance)
            if disk:
                undo.callback(statedisk.release, disk)
            nameservers = network.nameservers(network_info)
            undo.callback(self.engine.remove, container.name(instance.uuid))
            spec = container.spec(instance, image, nameservers)
            self.engine.create(container.name(instance.uuid), spec)
            if power_on:
                self.lifecycle.boot(instance, network_info, wait=True)
            undo.pop_all()

    def rebuild(
        self,
        context: Any,
        instance: Any,
        image_meta: Any,
        injected_files: Any,
        admin_password: str | None,
        allocations: Any,
        bdms: Any,
        detach_block_devices: Any,
        attach_block_devices: Any,
        network_info: Any = None,
        evacuate: bool = False,
        block_device_info: Any = None,
        preserve_ephemeral: bool = False,
        accel_uuids: Any = None,
        reimage_boot_volume: bool = False,
    ) -> None:
        """Give an instance a new container, or a previous one; its state disk and ports stay."""
        network_info = network_info or []
        given = (instance, injected_files, admin_password, network_info)
        write = functools.partial(self._write_files, *given)
        fetch = functools.partial(self.images.ensure, context, image_meta.id)
        roots = container_roots.ContainerRoots(self.engine, instance.uuid)
        roots.recover()
        roots.prepare(instance, network.nameservers(network_info), fetch, write)
        rebuild.announce(instance)
        prepare = functools.partial(self._prepare_state_disk, instance)
        self.lifecycle.change_root(instance, network_info, roots, prepare)

    def destroy(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        block_device_info: Any = None,
        destroy_disks: bool = True,
        destroy_secrets: bool = True,
    ) -> None:
        """Remove an instance's containers and all that belongs to it but its state disk."""
        container_roots.ContainerRoots(self.engine, instance.uuid).remove()
        self.cleanup(context, instance, network_info, block_device_info, destroy_disks)

    def cleanup(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        block_device_info: Any = None,
        destroy_disks: bool = True,
        migrate_data: Any = None,
        destroy_vifs: bool = True,
        destroy_secrets: bool = True,
    ) -> None:
        """Remove what is around an instance's container."""
        if destroy_vifs:
            self.lifecycle.unwire(instance, network_info or [])
        statedisk.detach(container.place(instance).state, self.root)
        if destroy_disks:
            self.delete_instance_files(instance)
            statedisk.release_if_asked(instance)

    def delete_instance_files(self, instance: Any) -> bool:
        """Remove an instance's directory."""
        place = container.place(instance)
        statedisk.detach(place.state, self.root)
        shutil.rmtree(place.directory, ignore_errors=True)
        return not place.directory.exists()

    def power_on(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        block_device_info: Any = None,
        accel_info: Any = None,
        share_info: Any = None,
    ) -> None:
        """Start a stopped instance, with new interfaces."""
        if self.engine.get(instance.uuid).running:
            return
        self.lifecycle.boot(instance, network_info or [])

    def power_off(self, instance: Any, timeout: int = 0, retry_interval: int = 0) -> None:
        """Shut an instance down; kill it after `timeout` seconds."""
        self.lifecycle.stop(instance, instance.get_network_info(), timeout)

    def reboot(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        reboot_type: str,
        block_device_info: Any = None,
        bad_volumes_callback: Any = None,
        accel_info: Any = None,
        share_info: Any = None,
    ) -> None:
        """Shut an instance down, gently or not, and start it with new interfaces."""
        timeout_s = CONF.altostratus.shutdown_timeout if reboot_type == "SOFT" else 0
        self.lifecycle.stop(instance, network_info or [], timeout_s)
        self.lifecycle.boot(instance, network_info or [])

    def resume_state_on_host_boot(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        share_info: Any,
        block_device_info: Any = None,
    ) -> None:
        """Start an instance that ran when the machine or the engine went down."""
        self.power_on(context, instance, network_info)

    def _start_again(self, uuid: str) -> None:
        """Start an instance that has rebooted itself: a container only ends."""
        wanted = ["flavor", "info_cache", "metadata"]
        instance = objects.Instance.get_by_uuid(nova_context.get_admin_context(), uuid, wanted)
        if instance.task_state is None and not self.engine.get(uuid).running:
            LOG.info("Rebooted itself; starting it again", instance=instance)
            self.lifecycle.boot(instance, instance.get_network_info())

    def _resume(self, uuid: str) -> None:
        """Start an instance whose rebuild was cut off while it was stopped."""
        try:
            instance = rebuild.instance(uuid)
            if rebuild.is_to_run(instance) and not self.engine.get(uuid).running:
                self.lifecycle.boot(instance, instance.get_network_info())
        except Exception:
            # It is one instance's failure, which Nova finds out: the others need this process.
            LOG.exception("Instance %s cannot be started after its rebuild was cut off", uuid)

    def pause(self, instance: Any) -> None:
        """Freeze an instance."""
        self.engine.pause(instance.uuid)

    def unpause(self, instance: Any) -> None:
        """Thaw an instance."""
        self.engine.unpause(instance.uuid)

    def _write_files(
        self,
        instance: Any,
        files: Any,
        admin_password: str | None,
        network_info: Any,
        number: int = 0,
    ) -> None:
        place = container.place(instance)
        # An instance's own root must be able to reach its mounts in a user namespace.
        place.directory.mkdir(mode=0o711, parents=True, exist_ok=True)
        place.config_drive(number).mkdir(mode=0o700, exist_ok=True)
        lifecycle.make_gate(place.gate)
        if nova_configdrive.required_by(instance):
            base = self.about.user_base
            configdrive.write(
                place.config_drive(number), instance, files, admin_password, network_info, base
            )

    def _prepare_state_disk(self, instance: Any) -> statedisk.StateDisk | None:
        """Make an instance's state disk, or let it grow; return it if it is new."""
        disk = statedisk.wanted(instance)
        if disk is None:
            return None
        container.place(instance).state.mkdir(mode=0o700, exist_ok=True)
        return disk if statedisk.prepare(disk, self.root) else None

    # Its network

    def plug_vifs(self, instance: Any, network_info: Any) -> None:
        """See that the ports of a running instance exist, as when nova-compute starts."""
        found = self.engine.find(instance.uuid)
        if found and found.running:
            self.lifecycle.rewire(instance, network_info)

    def unplug_vifs(self, instance: Any, network_info: Any) -> None:
        """Take an instance's interfaces away."""
        self.lifecycle.unwire(instance, network_info)

    def attach_interface(self, context: Any, instance: Any, image_meta: Any, vif: Any) -> None:
        """Give a running instance another interface; a stopped one gets it when it starts."""
        self.lifecycle.attach(instance, vif)

    def detach_interface(self, context: Any, instance: Any, vif: Any) -> None:
        """Take an interface away from an instance."""
        self.lifecycle.unwire(instance, [vif])

    def network_binding_host_id(self, context: Any, instance: Any) -> str:
        """Return the host that ports are bound to."""
        return resources.binding_host()

    def manages_network_binding_host_id(self) -> bool:
        """Keep Nova from binding ports to the compute process's own host."""
        return True

    # Images

    def cache_image(self, context: Any, image_id: str) -> bool:
        """Fetch an image before it is needed; return whether that was necessary."""
        _image, fetched = self.images.ensure(context, image_id)
        return fetched

    def manage_image_cache(self, context: Any, all_instances: Any) -> None:
        """Remove images that no instance uses, if Nova is configured to."""
        if CONF.image_cache.remove_unused_base_images:
            used = {one.image_ref for one in all_instances}
            used |= {one.labels.get(container.LABEL_IMAGE, "") for one in self.engine.roots()}
            age = CONF.image_cache.remove_unused_original_minimum_age_seconds
            self.images.forget_unused(used, age)

    # The node

    def get_available_nodes(self, refresh: bool = False) -> list[str]:
        """Return the one node of this compute process."""
        return [resources.node_name()]

    def get_available_resource(self, nodename: str) -> dict[str, Any]:
        """Return the node's share and how much of it is given away."""
        return {
            **resources.share(),
            **container.given_away(self.engine.containers()),
            "hypervisor_type": "Docker",
            "hypervisor_version": self.about.version_number,
            "cpu_info": json.dumps({"arch": fields.Architecture.from_host()}),
            "disk_available_least": None,
            "supported_instances": [
                (fields.Architecture.from_host(), fields.HVType.DOCKER, fields.VMMode.EXE)
            ],
            "numa_topology": None,
        }

    def update_provider_tree(
        self, provider_tree: Any, nodename: str, allocations: Any = None
    ) -> None:
        """Report the share to placement."""
        resources.report(provider_tree, nodename, HYPERVISOR)

    def get_host_uptime(self) -> str:
        """Return the machine's uptime as uptime(1) says it."""
        return processutils.execute("env", "LANG=C", "uptime")[0]

    def get_host_ip_addr(self) -> str:
        """Return the machine's address."""
        return CONF.my_ip
