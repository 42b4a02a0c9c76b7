"""The dependency direction of the modules, and what may do input and output."""

import ast
import collections.abc
import pathlib
import sys

import pytest

_SOURCE = pathlib.Path(__file__).parents[2] / "src" / "altostratus"
_MODULES = sorted(path.stem for path in _SOURCE.glob("*.py"))

# Each may import those of its own layer and of the layers below.
_LAYERS = (
    {"__main__"},
    {"cli"},
    {"cli_file", "cli_image", "cli_node", "cli_overcloud", "cli_undercloud", "virtualization"},
    {"upgrade"},
    {"emptying"},
    {
        "deploy",
        "undercloud",
        "node",
        "nodedisks",
        "reach",
        "removal",
        "scaleout",
        "testbed",
        "trunk",
        "status",
        "tempest",
        "agentramdisk",
        "verify",
        "failures",
        "evidence",
        "deployment",
        "servers",
    },
    {
        "baremetal",
        "administrator",
        "baseline",
        "computenodes",
        "metalnode",
        "metalproviders",
        "provision",
        "dashboard",
        "drift",
        "glance",
        "networks",
        "survey",
        "keypair",
        "heat",
        "lock",
        "schemas",
        "ssh",
        "statedisks",
        "systemcontainer",
        "usage",
    },
    {"why"},
    {"history", "keptplan", "moves", "rollout"},
    {"check", "plan", "obstacles", "departures"},
    {"changes", "spread"},
    {"outages"},
    {"room", "scheduling"},
    {"stack", "addresses"},
    {"stackports"},
    {"metadata", "nodes", "spec", "observed", "heatenv", "nodesfile", "undercloudfile"},
    {"crosschecks", "inventory", "sitefile"},
    {"nodemetadata", "sitemetadata"},
    {"images", "sections"},
    {"imagespec"},
    {"elements", "workers"},
    {"endpoints"},
    {"fields"},
    {"certificates", "hypervisors", "services", "seal", "tempest_conf", "yamlfile"},
    {"model"},
    {"archive", "guest", "ramdisk", "rootfs", "sbom", "snapshot"},
    {"layers"},
    {"machine", "registries", "registry", "capabilities"},
    {"catalog", "cloud", "credentials", "placement"},
    {"run"},
    {"phases", "releases", "table"},
    {"log"},
    {"errors"},
    {"__init__"},
)
_PURE = {
    "addresses", "certificates", "changes", "check", "crosschecks", "departures", "endpoints",
    "errors", "fields", "heatenv", "history",
    "hypervisors", "keptplan", "metadata", "model", "moves", "nodemetadata", "nodes", "nodesfile", "observed", "obstacles", "outages", "plan",
    "releases", "rollout",
    "room", "scheduling", "seal", "sections", "services", "sitefile", "sitemetadata", "spec", "spread", "stack", "stackports", "table", "tempest_conf",
    "undercloudfile", "why", "yamlfile",
}  # fmt: skip
_IO = {
    "docker", "http", "io", "keystoneauth1", "openstack", "os", "pathlib", "requests", "shutil",
    "socket", "subprocess", "tempfile", "urllib",
}  # fmt: skip


def _imports(module: str) -> collections.abc.Iterator[str]:
    """The modules imported anywhere in one of ours: ours by their own name."""
    for node in ast.walk(ast.parse((_SOURCE / f"{module}.py").read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.module == "altostratus":
                yield from (f"altostratus.{alias.name}" for alias in node.names)
            else:
                yield node.module or ""


def _ours(module: str) -> set[str]:
    return {name.split(".")[1] for name in _imports(module) if name.startswith("altostratus.")}


def _foreign(module: str) -> set[str]:
    return {name.split(".")[0] for name in _imports(module)} - {"altostratus"}


def test_every_module_has_a_layer() -> None:
    assert sorted(name for layer in _LAYERS for name in layer) == _MODULES


@pytest.mark.parametrize("module", _MODULES)
def test_modules_import_nothing_above_them(module: str) -> None:
    (height,) = (index for index, layer in enumerate(_LAYERS) if module in layer)
    allowed = set[str]().union(*_LAYERS[height:])
    assert _ours(module) <= allowed


@pytest.mark.parametrize("module", sorted(_PURE))
def test_pure_modules_do_no_input_or_output(module: str) -> None:
    assert not _foreign(module) & _IO
    assert _ours(module) <= _PURE


@pytest.mark.parametrize("module", _MODULES)
def test_nothing_imports_nova(module: str) -> None:
    assert "nova" not in _foreign(module)


@pytest.mark.parametrize("module", sorted(set(_MODULES) - {"run"}))
def test_programs_are_run_by_one_door(module: str) -> None:
    assert "subprocess" not in _foreign(module)


def test_the_catalog_program_needs_only_the_sdk() -> None:
    """It runs inside the undercloud's image, where nothing else of ours is."""
    known = {"openstack", "keystoneauth1", *sys.stdlib_module_names}
    assert _foreign("catalog") <= known
    assert not _ours("catalog")


@pytest.mark.parametrize("module", _MODULES)
def test_modules_stay_short(module: str) -> None:
    assert len((_SOURCE / f"{module}.py").read_text().splitlines()) <= 400
