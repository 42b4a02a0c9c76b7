"""LibvirtDriver: nova's own, made fit to share a node and to run full systems in LXC.

Three things are added at its own hooks: the state disk; a network whose TCP works through Open
vSwitch's user-space datapath; and for LXC the config drive, which Nova writes and never attaches.
"""

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nova.compute import task_states
from nova.virt import configdrive as nova_configdrive
from nova.virt.libvirt import config as vconfig
from nova.virt.libvirt import driver as libvirt_driver
from nova.virt.libvirt import utils as libvirt_utils
from oslo_concurrency import processutils
from oslo_log import log as logging

from nova_altostratus import (
    configdrive,
    diagnostics,
    libvirt_rebuild,
    lxc,
    machine,
    network,
    rebuild,
    resources,
    statedisk,
)
from nova_altostratus.conf import CONF
from nova_altostratus.disk_roots import DiskRoots
from nova_altostratus.root import Root, do_without_helpers

LOG = logging.getLogger(__name__)

_CPU_PERIOD_US = 100_000
_STATE_LINK = "disk.state"
_OWNED = "disk.mount"


class Ended(BaseException):
    """Ends a thread that goes on after each exception of what it calls."""


def _end() -> None:
    raise Ended


class LibvirtDriver(libvirt_driver.LibvirtDriver):
    """Nova's libvirt driver under a name, a share and a network host of its own."""

    def __init__(self, virtapi: Any, read_only: bool = False, root: Root | None = None) -> None:
        super().__init__(virtapi, read_only)
        self.root = root or Root()
        if not is_lxc():
            self.vif_driver = machine.Interfaces(self._host)

    def init_host(self, host: str) -> None:
        """Prepare as Nova's driver does, and undo rebuilds that an earlier process began."""
        do_without_helpers()
        super().init_host(host)
        libvirt_rebuild.recover(self)

    def cleanup_host(self, host: str) -> None:
        """Clean up as Nova's driver does, and end the thread that tells of lost connections.

        Nova waits for all its threads when it stops, and that one never ends by itself
        (``Host._conn_event_thread``): the process would have to be killed each time.
        """
        super().cleanup_host(host)
        self._host._conn_event_handler_queue.put(_end)

    # One of several compute processes of a node

    def get_available_nodes(self, refresh: bool = False) -> list[str]:
        """Return a name that the node's other compute processes do not have."""
        return [resources.node_name()]

    def get_nodenames_by_uuid(self, refresh: bool = False) -> dict[str, str]:
        """Return the same name by the node's id."""
        return {self._host.get_node_uuid(): resources.node_name()}

    def get_available_resource(self, nodename: str) -> dict[str, Any]:
        """Return the share in place of the whole machine."""
        return {**super().get_available_resource(nodename), **resources.share()}

    def update_provider_tree(
        self, provider_tree: Any, nodename: str, allocations: Any = None
    ) -> None:
        """Report the share in place of the whole machine."""
        super().update_provider_tree(provider_tree, nodename, allocations)
        resources.report(provider_tree, nodename, hypervisor())

    def network_binding_host_id(self, context: Any, instance: Any) -> str:
        """Return the host that ports are bound to."""
        return resources.binding_host()

    def manages_network_binding_host_id(self) -> bool:
        """Keep Nova from binding ports to the compute process's own host."""
        return True

    def get_instance_diagnostics(self, instance: Any) -> Any:
        """Return what an instance uses."""
        told = super().get_instance_diagnostics(instance)
        return diagnostics.complete(told, self._host.get_guest(instance)._domain)

    # What the domain has

    def _get_guest_storage_config(
        self,
        context: Any,
        instance: Any,
        image_meta: Any,
        disk_info: Any,
        rescue: Any,
        block_device_info: Any,
        flavor: Any,
        os_type: Any,
    ) -> list[Any]:
        devices = super()._get_guest_storage_config(
            context, instance, image_meta, disk_info, rescue, block_device_info, flavor, os_type
        )
        directory = _directory(instance)
        if not is_lxc():
            if statedisk.wanted(instance):
                devices.append(machine.state_drive(directory / _STATE_LINK))
            return devices
        if nova_configdrive.required_by(instance):
            source = directory / "config_drive"
            devices.append(lxc.MountedDirectory(source, configdrive.TARGET, read_only=True))
        if statedisk.wanted(instance):
            source = directory / "state"
            devices.append(lxc.MountedDirectory(source, statedisk.TARGET, read_only=False))
        return devices

    def _get_guest_idmaps(self) -> list[Any]:
        return [lxc.unpackable(one) for one in super()._get_guest_idmaps()]

    def _update_guest_cputune(self, guest: Any, flavor: Any) -> None:
        super()._update_guest_cputune(guest, flavor)
        if not (is_lxc() and self._host.is_cpu_control_policy_capable()):
            return
        # Unlike a machine's, a container's vcpus are only a number unless a quota makes them true.
        guest.cputune = guest.cputune or vconfig.LibvirtConfigGuestCPUTune()
        if guest.cputune.quota is None:
            guest.cputune.period = _CPU_PERIOD_US
            guest.cputune.quota = _CPU_PERIOD_US * flavor.vcpus

    def _create_configdrive(
        self, context: Any, instance: Any, injection_info: Any, rescue: bool = False
    ) -> None:
        if not is_lxc():
            fixed = configdrive.without_dhcp(injection_info.network_info)
            given = injection_info._replace(network_info=fixed)
            super()._create_configdrive(context, instance, given, rescue)
            return
        instance.device_metadata = self._build_device_metadata(context, instance)
        if nova_configdrive.required_by(instance):
            configdrive.write(
                _directory(instance) / "config_drive",
                instance,
                injection_info.files,
                injection_info.admin_pass,
                injection_info.network_info,
                user_base(),
            )

    # Its life

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
        """Give an instance a new root, or a previous one; its state disk and ports stay."""
        libvirt_rebuild.refuse_others(instance, block_device_info, preserve_ephemeral)
        roots = DiskRoots(_directory(instance))
        libvirt_rebuild.prepare(self, context, instance, image_meta.id, roots)
        rebuild.announce(instance)
        given = (context, instance, image_meta, injected_files, admin_password, allocations)
        spawn = functools.partial(self.spawn, *given)
        power = libvirt_rebuild.power(
            self, context, instance, network_info, block_device_info, spawn
        )
        rebuild.change_root(instance, roots, power)

    def _try_fetch_image_cache(
        self,
        image: Any,
        fetch_func: Any,
        context: Any,
        filename: str,
        image_id: str,
        instance: Any,
        size: int | None,
        fallback_from_host: Any = None,
    ) -> None:
        # Nova would fetch the image of a previous root again though the root is there.
        if instance.task_state == task_states.REBUILD_SPAWNING and image.exists():
            return
        super()._try_fetch_image_cache(
            image, fetch_func, context, filename, image_id, instance, size, fallback_from_host
        )

    @contextlib.contextmanager
    def _lxc_disk_handler(
        self, context: Any, instance: Any, image_meta: Any, block_device_info: Any
    ) -> Iterator[None]:
        """Have root file system and state disk there, owned by the instance, while it starts.

        Nova enters it for machines as well, and does nothing in it.
        """
        with contextlib.ExitStack() as held:
            roots = DiskRoots(_directory(instance))
            roots.record(instance.image_ref)
            self.own_root(instance, roots.current)
            self._hold_state_disk(instance, held)
            held.enter_context(
                super()._lxc_disk_handler(context, instance, image_meta, block_device_info)
            )
            yield
            if is_lxc():
                self._end_root_device_with(instance)

    def own_root(self, instance: Any, disk: Path) -> None:
        """Shift a container's root file system into the user namespace before Nova would.

        Nova's way takes the setuid bits from every program, and an interrupted one gives files
        to nobody. It leaves alone what it finds shifted.
        """
        if not is_lxc():
            return
        statedisk.make_loop_nodes(self.root)
        at = _directory(instance) / _OWNED
        if not (user_base() and disk.is_file()):
            return
        at.mkdir(exist_ok=True)
        statedisk.detach(at, self.root)
        self.root.run("mount", "-o", "loop", str(disk), str(at))
        try:
            statedisk.shift(at, user_base())
        finally:
            statedisk.detach(at, self.root)

    def _end_root_device_with(self, instance: Any) -> None:
        """Have the kernel free the root's loop device when the container ends, however it ends.

        Nova remembers one device and frees it with the instance: those of earlier starts would
        stay, and all of them where the instance is not deleted but the whole node is.
        """
        disk = str(_directory(instance) / "disk")
        found = self.root.run("losetup", "--noheadings", "--output", "NAME", "--associated", disk)
        for device in found.split():
            self.root.run("losetup", "--detach", device)
        instance.system_metadata.pop("rootfs_device_name", None)

    def _hold_state_disk(self, instance: Any, held: contextlib.ExitStack) -> None:
        disk = statedisk.wanted(instance)
        if disk is None:
            return
        statedisk.prepare(disk, self.root)
        at = _directory(instance) / "state"
        if is_lxc():
            held.enter_context(statedisk.mounted(disk, at, user_base(), self.root))
            return
        held.enter_context(statedisk.attached(disk, at, self.root))
        # Nova makes each file of a domain anew that it does not find beside the instance's others.
        link = _directory(instance) / _STATE_LINK
        link.unlink(missing_ok=True)
        link.symlink_to(disk.path)

    def _create_guest(
        self,
        context: Any,
        xml: str,
        instance: Any,
        power_on: bool = True,
        pause: bool = False,
        post_xml_callback: Any = None,
    ) -> Any:
        guest = super()._create_guest(
            context,
            xml,
            instance,
            power_on=power_on,
            pause=pause,
            post_xml_callback=post_xml_callback,
        )
        if power_on or pause:
            self._fit_to_switch(instance)
        return guest

    def _fit_to_switch(self, instance: Any) -> None:
        """Make the interfaces usable through Open vSwitch's user-space datapath."""
        unsafe = [vif for vif in instance.get_network_info() if not network.offload_is_safe(vif)]
        if not unsafe:
            return
        for vif in unsafe:
            network.raise_outer_end(vif["devname"], self.root)
        if not is_lxc():
            return
        # Asked anew: libvirt does not tell the id to whom it started the domain for.
        pid = lxc.first_process(self._host.get_guest(instance).id)
        for name in network.Network(self.root, None).names(pid):
            if name != "lo":
                try:
                    self.root.in_network_of(pid, "ethtool", "-K", name, "tx", "off")
                except processutils.ProcessExecutionError as error:
                    LOG.debug("%s has no checksum offload: %s", name, error, instance=instance)

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
        """Remove what is around an instance, and its state disk if its metadata says so."""
        for name in ("state", _OWNED):
            statedisk.detach(_directory(instance) / name, self.root)
        super().cleanup(
            context,
            instance,
            network_info,
            block_device_info,
            destroy_disks,
            migrate_data,
            destroy_vifs,
            destroy_secrets,
        )
        if destroy_disks:
            statedisk.release_if_asked(instance)


def hypervisor() -> str:
    """Return Altostratus's word for what libvirt is used as."""
    return "lxc" if is_lxc() else "kvm"


def is_lxc() -> bool:
    """Return whether instances are LXC containers."""
    return CONF.libvirt.virt_type == "lxc"


def user_base() -> int:
    """Return the machine's id of an instance's root; 0 without a user namespace."""
    for one in CONF.libvirt.uid_maps or ():
        inside, outside, _count = one.split(":")
        if inside == "0":
            return int(outside)
    return 0


def _directory(instance: Any) -> Path:
    return Path(libvirt_utils.get_instance_path(instance))
