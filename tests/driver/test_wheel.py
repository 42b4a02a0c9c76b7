"""The wheel installed beside nova gives the drivers that nova.conf names."""

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import DRIVER

LOAD = """
import sys
import nova.conf
from nova.virt import driver
import nova.virt.altostratus
assert nova.virt.altostratus.__file__.startswith(sys.argv[1]), nova.virt.altostratus.__file__
nova.conf.CONF([], default_config_files=[])
# Nova makes an object of this, which takes libvirt's binding for LibvirtDriver.
found = getattr(nova.virt.altostratus, sys.argv[2])
assert issubclass(found, driver.ComputeDriver)
if sys.argv[2] == "DockerDriver":
    assert type(driver.load_compute_driver(None, "altostratus.DockerDriver")) is found
print(found.__name__)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place for packages with nova in it, and the wheel beside it."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("site")
    source = shutil.copytree(
        DRIVER, folder / "source", ignore=shutil.ignore_patterns("dist", "*cache*")
    )
    subprocess.run(
        [
            sys.executable,
            "-m",
            "hatchling",
            "build",
            "-t",
            "wheel",
            "-d",
            str(folder / "dist"),
        ],
        cwd=source,
        check=True,
        capture_output=True,
    )
    place = folder / "packages"
    _link_nova(place / "nova")
    (wheel,) = (folder / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as content:
        content.extractall(place)
    return place


def _link_nova(target: Path) -> None:
    spec = importlib.util.find_spec("nova")
    assert spec and spec.origin
    shutil.copytree(
        Path(spec.origin).parent,
        target,
        copy_function=os.symlink,
        ignore=shutil.ignore_patterns("tests", "altostratus", "*.mo", "__pycache__"),
    )


def test_wheel_brings_the_shim_and_nothing_else_of_nova(site: Path) -> None:
    ours = {str(path.relative_to(site)) for path in site.rglob("*.py") if not path.is_symlink()}
    assert {one for one in ours if one.startswith("nova/")} == {"nova/virt/altostratus/__init__.py"}


@pytest.mark.parametrize("name", ["DockerDriver", "LibvirtDriver"])
def test_nova_loads_the_driver(site: Path, name: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOAD, str(site), name],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == name
