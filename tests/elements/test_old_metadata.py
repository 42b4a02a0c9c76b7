"""Metadata of 2014's templates configures the processes as today's does.

Each folder of tests/old_metadata is a case: the elements of an image and what it is configured
with. ``ALTOSTRATUS_GOLDEN=write ./altostratus test --fast`` writes the results anew. What is said
and translated is kept of every case; a rendered file is, where a case is about it.
"""

import collections.abc
import configparser
import json
import os
import pathlib
import runpy
import shutil
import stat
import types
from typing import Any

import oslo_messaging
import pytest
from nova.conf import base, compute, configdrive, imagecache, libvirt, netconf, paths
from nova_altostratus import conf as own
from os_apply_config import apply_config
from oslo_config import cfg
from oslo_log import log
from oslo_utils import importutils

from altostratus import hypervisors, metadata
from altostratus.model import Undercloud

# It leaves the templates that it has read for Python to close.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file .*/templates/:ResourceWarning")

REPOSITORY = pathlib.Path(__file__).parents[2]
ELEMENTS = REPOSITORY / "elements"
PROGRAM = ELEMENTS / "old-metadata/os-refresh-config/configure.d/12-translate-metadata"
CASES = REPOSITORY / "tests/old_metadata"
GOLDEN = REPOSITORY / "tests/golden"
SIZE = {"memory_mb": 65536, "disk_gb": 500, "vcpus": 8}
IMAGE = ["docker", "ironic", "kvm", "lxc"]
BAREMETAL = "nova.virt.baremetal.driver.BareMetalDriver"
NOVA = "etc/nova/nova.conf"
# What is below the keys of a process, or has been.
DEFINITIONS = (base, compute, configdrive, imagecache, libvirt, netconf, paths)
SECTIONS = ("DEFAULT", "altostratus", "image_cache", "libvirt")


program = types.SimpleNamespace(**runpy.run_path(str(PROGRAM)))


class Run:
    """What os-refresh-config does up to os-apply-config, for an image with a case's elements."""

    def __init__(self, case: str, folder: pathlib.Path) -> None:
        self.templates, self.output = folder / "templates", folder / "output"
        self.target = folder / "run" / "translated.json"
        self.files = [str(CASES / case / "metadata.json"), str(self.target)]
        for element in (CASES / case / "elements").read_text().split():
            source = ELEMENTS / element / "os-apply-config"
            shutil.copytree(source, self.templates, dirs_exist_ok=True)
        os.environ["OS_CONFIG_FILES"] = ":".join(self.files)
        self.status = program.main(self.target, self.templates, SIZE)
        if self.status == 0:
            apply_config.install_config(self.files, str(self.templates), str(self.output), False)

    def translated(self) -> dict[str, Any]:
        """What was added to the metadata."""
        return json.loads(self.target.read_text()) if self.target.exists() else {}

    def rendered(self) -> dict[str, str]:
        """The files of the processes."""
        paths = [path for path in self.output.rglob("*") if path.is_file()]
        return {str(path.relative_to(self.output)): path.read_text() for path in paths}

    def configured(self) -> dict[str, pathlib.Path]:
        """The files of those compute processes that the metadata is about."""
        found = {
            path.stem.removeprefix("nova-"): path
            for path in (self.output / "etc/nova/compute").glob("*.conf")
        }
        return {name: path for name, path in found.items() if "host = \n" not in path.read_text()}


@pytest.fixture
def run(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> collections.abc.Callable[[str], Run]:
    """Runs a case, with the environment as it was afterwards."""
    monkeypatch.setenv("OS_CONFIG_FILES", "")
    return lambda case: Run(case, tmp_path)


def cases(prefix: str = "") -> list[str]:
    return sorted(path.name for path in CASES.iterdir() if path.name.startswith(prefix))


def translate(nova: dict[str, Any], **more: Any) -> Any:
    """What the program makes of keys of Nova in an image with Ironic."""
    tree = {"altostratus": {"instance": "node"}, "nova": nova, **more}
    return program.translate(tree, IMAGE, SIZE)


@pytest.mark.parametrize("case", cases())
def test_case(case: str, run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    done = run(case)
    results = {
        "said.txt": capsys.readouterr().err,
        "translated.json": json.dumps(done.translated(), indent=1, sort_keys=True) + "\n",
        **done.rendered(),
    }
    folder = CASES / case
    kept = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    kept = (kept | {"said.txt", "translated.json"}) - {"elements", "metadata.json"}
    assert kept <= results.keys()
    for name in sorted(kept):
        if os.environ.get("ALTOSTRATUS_GOLDEN") == "write":
            (folder / name).write_text(results[name])
        assert results[name] == (folder / name).read_text(), f"{case}/{name}"


@pytest.mark.parametrize("case", cases())
def test_only_what_is_refused_fails(case: str, run: Any) -> None:
    assert run(case).status == (1 if case.startswith("refused") else 0)


@pytest.mark.parametrize("case", sorted(set(cases()) - set(cases("refused"))))
def test_nova_knows_every_option_and_takes_every_value(case: str, run: Any) -> None:
    done = run(case)
    assert done.configured() or case == "control-services"
    for name, path in (done.configured() or {"": done.output / NOVA}).items():
        files = [str(done.output / NOVA), str(path)]
        conf = configuration(files)
        for section, option in sorted(options(files)):
            group = conf if section == "DEFAULT" else conf[section]
            assert option in group, f"[{section}] {option}"
            group[option]
        assert oslo_messaging.TransportURL.parse(conf).hosts
        if name:
            assert conf.compute_driver == program.DRIVERS[name]


def configuration(files: list[str]) -> cfg.ConfigOpts:
    """Nova's configuration, read by Nova's and its libraries' own definitions."""
    conf = cfg.ConfigOpts()
    for module in DEFINITIONS:
        module.register_opts(conf)
    log.register_options(conf)
    conf.register_opts([*own.COMMON, *own.DOCKER], "altostratus")
    conf([], default_config_files=files)
    oslo_messaging.TransportURL.parse(conf)
    return conf


def options(files: list[str]) -> set[tuple[str, str]]:
    """The options in files, of sections that can be known."""
    parser = configparser.RawConfigParser(strict=False, default_section="")
    parser.read(files)
    return {(section, option) for section in SECTIONS if section in parser
            for option in parser[section]}  # fmt: skip


def test_option_of_a_process_comes_after_that_of_all(run: Any) -> None:
    done = run("old-kvm")
    files = [str(done.output / NOVA), str(done.configured()["kvm"])]
    conf = configuration(files)
    # Also after what the template itself says of it.
    assert conf.running_deleted_instance_action == "shutdown"
    assert conf.cpu_allocation_ratio == 4.0
    assert conf.libvirt.disk_cachemodes == ["file=writeback"]


def test_file_with_secrets_is_for_root_alone_and_goes_with_the_old_keys(
    run: Any, tmp_path: pathlib.Path
) -> None:
    done = run("old-lxc")
    assert stat.S_IMODE(done.target.stat().st_mode) == 0o600
    first = done.target.read_text()
    # Its own answer of the run before does not count.
    assert program.main(done.target, done.templates, SIZE) == 0
    assert done.target.read_text() == first
    run("new")
    assert not done.target.exists()


@pytest.mark.parametrize(
    "case", sorted(path.parent.name for path in GOLDEN.glob("*/metadata.json"))
)
def test_metadata_of_an_overcloud_is_left_alone(case: str) -> None:
    for tree in json.loads((GOLDEN / case / "metadata.json").read_text()).values():
        done = program.translate(tree, ["qemu"], SIZE)
        assert (done.added, done.said, done.refused) == ({}, [], [])


def test_metadata_of_an_undercloud_is_left_alone() -> None:
    wanted = Undercloud(hypervisors.shares(24000, 48, 2, {}))
    tree = metadata.undercloud(wanted, _Secrets())
    done = program.translate(tree, list(hypervisors.names()), SIZE)
    assert (done.added, done.said, done.refused) == ({}, [], [])


class _Secrets(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return f"secret {name}"


def test_drivers_are_those_that_nova_loads() -> None:
    for name in hypervisors.default():
        assert program.DRIVERS[name] == hypervisors.entry(name).compute_driver
    for driver in set(program.DRIVERS.values()):
        if not driver.startswith("altostratus."):
            assert importutils.import_class(f"nova.virt.{driver}")


@pytest.mark.parametrize(
    ("driver", "kind", "name"),
    [
        ("libvirt.LibvirtDriver", "", "kvm"),
        ("nova.virt.libvirt.LibvirtDriver", "kvm", "kvm"),
        ("libvirt.driver.LibvirtDriver", "lxc", "lxc"),
        ("", "lxc", "lxc"),
        ("novadocker.virt.docker.driver.DockerDriver", "", "docker"),
        ("docker.DockerDriver", "kvm", "docker"),
        ("ironic.IronicDriver", "", "ironic"),
        ("nova.virt.ironic.driver.IronicDriver", "", "ironic"),
        ("ironic.nova.virt.ironic.driver.IronicDriver", "", "ironic"),
        (BAREMETAL, "", "ironic"),
        ("baremetal.BareMetalDriver", "", "ironic"),
    ],
)
def test_old_spelling_of_a_driver_is_a_process(driver: str, kind: str, name: str) -> None:
    done = translate({"compute_driver": driver, "compute_libvirt_type": kind,
                      "compute_hostname": "seed"})  # fmt: skip
    assert not done.refused
    (found,) = done.added["nova"]["compute"]
    process = done.added["nova"]["compute"][found]
    assert found == name
    assert process["driver"] == program.DRIVERS[name]
    assert process["host"] == "seed"
    assert process["state_path"] == f"/mnt/state/nova-{name}"


def test_keys_of_the_baremetal_driver_lead_to_ironic() -> None:
    nova = {"compute_driver": BAREMETAL, "baremetal": {"arch": "amd64", "power_manager": "example"}}
    consulted, arch, power = translate(nova).said
    assert consulted == f"nova.compute_driver: {BAREMETAL} is now ironic.IronicDriver"
    assert arch.startswith("nova.baremetal.arch is not consulted: it is cpu_arch")
    assert power.endswith("it is the driver of each of Ironic's nodes")


@pytest.mark.parametrize(
    ("driver", "becomes"),
    [
        ("altostratus.LibvirtDriver", None),
        # Nova's own, by whoever wants that: it loads.
        ("libvirt.LibvirtDriver", None),
        ("nova.virt.libvirt.driver.LibvirtDriver", "altostratus.LibvirtDriver"),
    ],
)
def test_new_key_has_a_new_value(driver: str, becomes: str | None) -> None:
    done = translate({"compute": {"lxc": {"driver": driver}}})
    assert done.added["nova"]["compute"]["lxc"].get("driver") == becomes


def test_processes_without_a_host_have_different_ones() -> None:
    done = translate({"compute": {"docker": {}, "lxc": {}}, "compute_libvirt_type": "lxc"})
    found = {name: one["host"] for name, one in done.added["nova"]["compute"].items()}
    assert found == {"docker": "node-docker", "lxc": "node-lxc"}


def test_shares_that_nobody_told_are_together_what_the_others_leave() -> None:
    told = {"memory_mb": 10000, "disk_gb": 100, "vcpus": 2}
    tuning = {"reserved_host_memory_mb": 5536, "ram_allocation_ratio": 1.0}
    done = translate({"compute": {"docker": told, "lxc": {}, "kvm": {}}, "tuning": tuning})
    processes = done.added["nova"]["compute"]
    assert processes["docker"].keys().isdisjoint(told)
    for name in ("lxc", "kvm"):
        assert processes[name]["memory_mb"] == 25000
        assert processes[name]["disk_gb"] == 200
        assert processes[name]["vcpus"] == 3


@pytest.mark.parametrize(
    ("url", "becomes"),
    [
        ("mysql://nova:p@localhost/nova", "mysql+pymysql://nova:p@localhost:3306/nova?charset=utf8mb4"),
        ("mysql://nova:p@db:3307/nova?charset=utf8", "mysql+pymysql://nova:p@db:3307/nova?charset=utf8"),
        ("mysql+pymysql://nova:p@db/nova", "mysql+pymysql://nova:p@db/nova"),
    ],
)  # fmt: skip
def test_database_is_reached_by_the_driver_that_there_is(url: str, becomes: str) -> None:
    assert translate({"db": url}).find("nova.database_url") == becomes


def test_node_is_this_machine() -> None:
    size = program.node()
    assert size["memory_mb"] > 256
    assert size["disk_gb"] > 0
    assert size["vcpus"] == os.cpu_count()
