"""Between compute nodes machines move by TLS alone, and libvirt lets in their certificates alone."""

import configparser
import datetime
import json
import pathlib
import re
from typing import Any

import pytest
from cryptography import x509
from nova.compute import provider_config
from os_apply_config import renderers

from altostratus import certificates, computenodes

_ROOT = pathlib.Path(__file__).parents[2]
_ELEMENT = _ROOT / "elements/nova-compute"
_TREES = json.loads((_ROOT / "tests/golden/baremetal/metadata.json").read_text())
NODES = ("compute-0", "compute-1")


def rendered(name: str, tree: dict[str, Any]) -> str:
    template = (_ELEMENT / "os-apply-config" / name).read_text()
    return str(renderers.JsonRenderer(missing_tags="ignore").render(template, tree))


def test_libvirt_lets_in_the_certificates_of_compute_nodes() -> None:
    now = datetime.datetime(2026, 11, 25, tzinfo=datetime.UTC)
    addresses = {name: ("192.168.24.20",) for name in ("controller", *NODES)}
    secrets = certificates.renewed({}, "demo", addresses, now)
    read = x509.load_pem_x509_certificate
    shown = {
        name: read(secrets[certificates.of(name)].encode()).subject.rfc4514_string()
        for name in addresses
    }
    files = [rendered("etc/libvirt/libvirtd.conf", _TREES[name]) for name in NODES]
    for file in files:
        (listed,) = re.findall(r"^tls_allowed_dn_list = \[(.*)\]$", file, re.MULTILINE)
        assert re.findall(r'"(.*?)"', listed) == [shown[name] for name in NODES]
    # It refuses to move a machine to itself.
    assert len({re.findall(r'^host_uuid = "(.*)"$', file, re.MULTILINE)[0] for file in files}) == 2


@pytest.mark.parametrize("name", NODES)
def test_nova_has_libvirt_ask_at_the_address_of_the_certificate(name: str) -> None:
    config = configparser.ConfigParser()
    config.read_string(rendered("etc/nova/compute/nova-qemu.conf", _TREES[name]))
    assert config["libvirt"]["live_migration_scheme"] == "tls"
    assert config["libvirt"]["live_migration_with_native_tls"] == "true"
    assert config["libvirt"]["live_migration_inbound_addr"] == _TREES[name]["nova"]["my_ip"]


def test_placement_is_told_by_the_name_that_is_asked_for() -> None:
    found = provider_config.get_provider_configs(str(_ELEMENT / "static/etc/nova/provider_config"))
    assert found["$COMPUTE_NODE"]["traits"]["additional"] == [computenodes.ABLE]
