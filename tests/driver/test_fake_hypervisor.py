"""Nova's own fake driver is what the entry of the fake hypervisor says of it."""

from typing import Any

import pytest
from nova.compute import provider_config
from nova.virt import driver, fake

from tests import fake_hypervisor


def test_driver_reports_the_hypervisor_type_of_the_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: Any = driver.load_compute_driver(None, fake_hypervisor.ENTRY.compute_driver)
    assert isinstance(loaded, fake.FakeDriver)
    loaded.init_host("undercloud-fake")
    (node,) = loaded.get_available_nodes()
    kind = fake_hypervisor.ENTRY.hypervisor_type
    assert loaded.get_available_resource(node)["hypervisor_type"] == kind


def test_compute_process_offers_the_trait_of_the_entry() -> None:
    folder = fake_hypervisor.ELEMENT / "static/etc/nova/provider-fake"
    found = provider_config.get_provider_configs(str(folder))
    (provider,) = found.values()
    assert provider["traits"]["additional"] == [fake_hypervisor.ENTRY.trait]
