"""Makes `compute_driver = altostratus.<Driver>` importable; the code is in nova_altostratus."""

from typing import Any


def __getattr__(name: str) -> Any:
    # Only the driver asked for is imported: libvirt is not needed where only Docker is used.
    if name == "DockerDriver":
        from nova_altostratus.driver import DockerDriver

        return DockerDriver
    if name == "LibvirtDriver":
        from nova_altostratus.libvirt import LibvirtDriver

        return LibvirtDriver
    raise AttributeError(name)
