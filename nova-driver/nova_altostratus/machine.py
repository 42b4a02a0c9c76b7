"""What machines under QEMU have besides what Nova gives them."""

from pathlib import Path
from typing import Any

from lxml import etree
from nova.virt.libvirt import config as vconfig
from nova.virt.libvirt import vif as libvirt_vif

from nova_altostratus import network

# By its serial number a guest finds it; the last name, so that volumes get theirs as ever.
_STATE_SERIAL = "state"
_STATE_TARGET = "vdz"


class PlainInterface(vconfig.LibvirtConfigGuestInterface):
    """A NIC that leaves no checksum and no segmentation to the switch."""

    def __init__(self, found: vconfig.LibvirtConfigGuestInterface) -> None:
        super().__init__()
        self.__dict__.update(vars(found))

    def format_dom(self) -> Any:
        """Return the XML, with what QEMU is not to offer to the guest."""
        element = super().format_dom()
        driver = element.find("driver")
        if driver is None:
            driver = etree.SubElement(element, "driver")
        offloads = dict.fromkeys(("csum", "tso4", "tso6", "ecn", "ufo"), "off")
        etree.SubElement(driver, "host", offloads, gso="off")
        etree.SubElement(driver, "guest", offloads)
        return element


class Interfaces(libvirt_vif.LibvirtGenericVIFDriver):
    """Nova's interfaces, fit for the user-space datapath of Open vSwitch where a port is on it."""

    def get_config(
        self, instance: Any, vif: Any, image_meta: Any, flavor: Any, virt_type: str
    ) -> Any:
        """Return the configuration of an interface."""
        found = super().get_config(instance, vif, image_meta, flavor, virt_type)
        return found if network.offload_is_safe(vif) else PlainInterface(found)


def state_drive(file: Path) -> vconfig.LibvirtConfigGuestDisk:
    """Return a state disk as a drive of a machine."""
    drive = vconfig.LibvirtConfigGuestDisk()
    drive.driver_name, drive.driver_format, drive.driver_discard = "qemu", "raw", "unmap"
    drive.source_path, drive.serial = str(file), _STATE_SERIAL
    drive.target_dev, drive.target_bus = _STATE_TARGET, "virtio"
    return drive
