"""The drivers override Nova's methods as the pinned Nova defines them."""

import inspect
from typing import Any

import pytest
from nova.virt import driver
from nova_altostratus.driver import DockerDriver


def overridden(child: type, parent: type) -> list[Any]:
    """Return the methods that a class and its parent both define, as (name, child's, parent's)."""
    return [
        (name, method, getattr(parent, name))
        for name, method in vars(child).items()
        if inspect.isfunction(method) and hasattr(parent, name) and name != "__init__"
    ]


def parameters(method: Any) -> list[tuple[str, Any, Any]]:
    """Return what callers rely on: names, kinds and defaults."""
    found = inspect.signature(method).parameters.values()
    return [(one.name, one.kind, one.default) for one in found]


def public(child: type) -> set[str]:
    return {name for name, value in vars(child).items() if inspect.isfunction(value)} - {"__init__"}


@pytest.mark.parametrize(
    ("name", "ours", "theirs"),
    overridden(DockerDriver, driver.ComputeDriver),
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_docker_driver_overrides_what_nova_calls(name: str, ours: Any, theirs: Any) -> None:
    assert parameters(ours) == parameters(theirs)


def test_docker_driver_has_no_verb_that_nova_does_not_know() -> None:
    names = {name for name in public(DockerDriver) if not name.startswith("_")}
    assert all(hasattr(driver.ComputeDriver, name) for name in names)


def test_libvirt_driver_overrides_what_nova_calls() -> None:
    from nova.virt.libvirt import driver as libvirt_driver
    from nova_altostratus.libvirt import LibvirtDriver

    checked = overridden(LibvirtDriver, libvirt_driver.LibvirtDriver)
    for name, ours, theirs in checked:
        assert parameters(ours) == parameters(theirs), name
    hooks = {"_get_guest_storage_config", "_create_configdrive", "_lxc_disk_handler"}
    hooks |= {"_create_guest", "_update_guest_cputune", "_try_fetch_image_cache", "rebuild"}
    assert hooks <= {name for name, _ours, _theirs in checked}, "Nova has lost a hook"


def test_libvirt_driver_s_hooks_are_called_by_nova() -> None:
    """A hook that Nova still has but calls no more would silently do nothing."""
    from nova.virt.libvirt import driver as libvirt_driver

    source = inspect.getsource(libvirt_driver.LibvirtDriver)
    for hook in (
        "self._get_guest_storage_config(",
        "self._create_configdrive,",
        "self._lxc_disk_handler(",
        "self._create_guest(",
        "self._update_guest_cputune(",
        "self._try_fetch_image_cache(",
    ):
        assert hook in source
