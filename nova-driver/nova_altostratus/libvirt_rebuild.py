"""Rebuild in place under libvirt: what LibvirtDriver does at each step of it."""

import functools
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from nova import context as nova_context
from nova import exception
from nova.compute import power_state
from nova.virt import driver as virt_driver
from nova.virt.libvirt import imagecache
from nova.virt.libvirt import utils as libvirt_utils
from oslo_log import log as logging
from oslo_utils import uuidutils

from nova_altostratus import network, rebuild
from nova_altostratus.conf import CONF
from nova_altostratus.disk_roots import DiskRoots

LOG = logging.getLogger(__name__)

_ASK_AGAIN_S = 10


def refuse_others(instance: Any, block_device_info: Any, preserve_ephemeral: bool) -> None:
    """See that an instance has its root in a file of its own, and nothing that Nova would renew.

    :raises NotImplementedError: it has not; Nova then goes its usual way, or refuses
    """
    flavor = instance.flavor
    renewed = not preserve_ephemeral and (flavor.ephemeral_gb or flavor.swap)
    volumes = virt_driver.block_device_info_get_mapping(block_device_info)
    if renewed or volumes or CONF.libvirt.images_type not in ("raw", "flat"):
        raise NotImplementedError


def prepare(driver: Any, context: Any, instance: Any, image: str, roots: DiskRoots) -> None:
    """Make the next disk while the instance runs, or take a previous one."""
    _recover(driver, instance, roots)
    size = instance.flavor.root_gb << 30
    make = functools.partial(_make, driver, context, instance, image, size)
    roots.prepare(image, size, make)


def _make(driver: Any, context: Any, instance: Any, image: str, size: int, path: Path) -> None:
    disk = driver.image_backend.by_name(instance, path.name)
    name = imagecache.get_cache_fname(image)
    fetch = libvirt_utils.fetch_image
    driver._try_fetch_image_cache(disk, fetch, context, name, image, instance, size or None)
    driver.own_root(instance, path)


def power(
    driver: Any,
    context: Any,
    instance: Any,
    network_info: Any,
    block_device_info: Any,
    spawn: Any,
) -> rebuild.Power:
    """Return how an instance stops and starts in a rebuild.

    :param spawn: Nova's, but for the ports and disks
    """
    was_running = is_running(driver, instance)

    def stop() -> None:
        driver.power_off(instance, CONF.altostratus.shutdown_timeout, _ASK_AGAIN_S)
        _undefine(driver, context, instance, network_info, block_device_info)

    def start() -> None:
        # libvirt takes the ports out of the switch with the domain, and plugs them again.
        with ExitStack() as failed:
            failed.callback(_undefine, driver, context, instance, network_info, block_device_info)
            spawn(network_info=network.awaited(network_info), block_device_info=block_device_info)
            failed.pop_all()

    def start_again() -> None:
        if was_running and not is_running(driver, instance):
            driver.power_on(context, instance, network_info, block_device_info)

    return rebuild.Power(stop, start, start_again)


def recover(driver: Any) -> None:
    """Undo the rebuilds that a nova-compute left that died, and start their instances again."""
    for directory in Path(CONF.instances_path).glob("*"):
        roots = DiskRoots(directory)
        if not uuidutils.is_uuid_like(directory.name):
            continue
        if not roots.is_cut_off():
            roots.trim(CONF.altostratus.previous_roots)
            continue
        try:
            _undo(driver, rebuild.instance(directory.name), roots)
        except Exception:
            # It is one instance's failure: the others need this process.
            LOG.exception("The rebuild of instance %s cannot be undone", directory.name)


def _undo(driver: Any, instance: Any, roots: DiskRoots) -> None:
    _recover(driver, instance, roots)
    if rebuild.is_to_run(instance) and not is_running(driver, instance):
        admin = nova_context.get_admin_context()
        driver.power_on(admin, instance, instance.get_network_info())


def _recover(driver: Any, instance: Any, roots: DiskRoots) -> None:
    if roots.is_swapped():
        # A domain may be there, and run, but without working ports.
        admin = nova_context.get_admin_context()
        _undefine(driver, admin, instance, instance.get_network_info(), None)
    rebuild.recover(roots, is_up=False)


def _undefine(
    driver: Any, context: Any, instance: Any, network_info: Any, block_device_info: Any
) -> None:
    driver.destroy(
        context,
        instance,
        network_info,
        block_device_info,
        destroy_disks=False,
        destroy_secrets=False,
    )


def is_running(driver: Any, instance: Any) -> bool:
    """Return whether an instance has a domain that runs."""
    try:
        return bool(driver.get_info(instance).state == power_state.RUNNING)
    except exception.InstanceNotFound:
        return False
