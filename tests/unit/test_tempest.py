"""What tempest is told, and what of its words is understood."""

import configparser
import os
import pathlib

import pytest

from altostratus import log, tempest, tempest_conf

_EXPECTED = pathlib.Path(__file__).with_name("tempest.conf")
_FACTS = tempest_conf.Facts(
    auth_url="http://192.168.24.20:5000/v3",
    username="admin",
    password="secret",
    project="admin",
    region="RegionOne",
    services=("keystone", "glance", "nova", "neutron", "nova-compute"),
    lock_path="/var/lib/altostratus/tempest/demo/lock",
    image="id-of-the-image",
    flavors=("id-of-the-flavor", "id-of-the-larger-one"),
    external_network="id-of-the-network",
    extensions=("router", "external-net"),
    ssh_user="root",
)
_OUTPUT = """\
{0} tempest.api.identity.v3.test_domains.DomainsTestJSON.test_list [1.2s] ... ok
{1} setUpClass (tempest.api.volume.test_volumes.VolumesTest) ... SKIPPED: no cinder
{1} tempest.scenario.test_basic.Basic.test_boot[id-1,smoke] [20.5s] ... FAILED
 - Passed: 1
 - Skipped: 1
 - Failed: 1
"""


def test_configuration_is_as_expected() -> None:
    text = tempest_conf.render(_FACTS)
    if os.environ.get("ALTOSTRATUS_GOLDEN") == "write":
        _EXPECTED.write_text(text)
    assert text == _EXPECTED.read_text()


def test_without_a_compute_node_no_machine_is_asked_for() -> None:
    facts = tempest_conf.Facts("url", "admin", "secret", "admin", "one", ("keystone", "nova"), "l")
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(tempest_conf.render(facts))
    assert not parser.getboolean("service_available", "nova")
    assert not parser.getboolean("validation", "run_validation")


def test_failed_tests_are_known_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = tempest._Outcome()
    with log.step("run") as step:
        for line in _OUTPUT.splitlines():
            tempest._read(line, outcome, step)
    assert outcome.failed == ["tempest.scenario.test_basic.Basic.test_boot[id-1,smoke]"]
    assert outcome.counts == {"Passed": 1, "Skipped": 1, "Failed": 1}


def test_every_exclusion_has_its_reason() -> None:
    lines = [line for line in tempest.EXCLUDED.read_text().splitlines() if line.strip()]
    assert all(line.startswith("#") or "  # " in line for line in lines)
