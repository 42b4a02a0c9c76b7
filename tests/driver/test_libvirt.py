"""What LibvirtDriver adds to Nova's own, as far as it needs no libvirt; tests/e2e show the rest."""

from pathlib import Path
from typing import Any

import pytest
from nova_altostratus import libvirt

BASE = 1_000_000


def test_mounted_directory_s_xml() -> None:
    device = libvirt.MountedDirectory(Path("/a"), "/b", read_only=True)
    assert device.to_xml(pretty_print=False) == (
        '<filesystem type="mount"><source dir="/a"/><target dir="/b"/><readonly/></filesystem>'
    )


@pytest.mark.parametrize(
    ("maps", "base"), [([], 0), (["0:1000000:65536"], BASE), (["1:5:1", "0:7:1"], 7)]
)
def test_user_base_is_the_map_of_root(settings: Any, maps: list[str], base: int) -> None:
    settings.set_override("uid_maps", maps, "libvirt")
    assert libvirt.user_base() == base
