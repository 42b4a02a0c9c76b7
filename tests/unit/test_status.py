"""What an overcloud's status shows: states, versions, when, what is used, and what answers."""

import dataclasses
import pathlib
import re
import types
from typing import Any

import pytest

from altostratus import spec, status, usage
from altostratus.model import Hypervisor
from altostratus.observed import Observed, Provider
from tests.unit import fake_undercloud, golden

_ROOT = pathlib.Path(__file__).parents[2]
_FILE = _ROOT / "examples" / "quickstart.yaml"
_DEMO = spec.parse(_FILE.read_text(), "quickstart.yaml")
_SEEN = golden.deployed(_DEMO)
_KEYSTONE = "https://192.168.24.21:5000/v3"


def server(instance: str) -> Any:
    """A server as the SDK shows it."""
    return types.SimpleNamespace(
        id=f"id-of-{instance}",
        image={"id": f"image-of-{instance}"},
        created_at="2026-11-25T12:00:00Z",
        launched_at="2026-11-25T12:00:31.000000",
    )


def facts(**changes: Any) -> status.Facts:
    """What is known of the quickstart, deployed and well; Glance has an image of before."""
    known: dict[str, Any] = {
        "servers": {one.name: server(one.name) for one in _DEMO.instances},
        "configured": {f"id-of-{one.name}": "2026-11-25T12:01:05Z" for one in _DEMO.instances},
        "versions": {
            "image-of-database": {"mariadb": "1:10.11.14-0+deb12u2"},
            "image-of-identity": {"keystone": "29.0.0"},
            "image-of-images": {},
        },
        "before": {"id-of-database": usage.Look(100.0, 300, 2048, 5.0)},
        "after": {"id-of-database": usage.Look(102.0, 310, 2048, 5.5)},
        "answers": {_KEYSTONE: True, "https://192.168.24.22:9292": False},
    }
    return status.Facts(**(known | changes))


def shown(seen: Observed = _SEEN, **changes: Any) -> str:
    """The status for people, without the lines about this machine and certificates."""
    text = status.to_text(status.describe(_DEMO, seen, facts(**changes)))
    return re.sub(r"^credentials.*\n", "", text, flags=re.MULTILINE)


_WELL = """\
Overcloud demo: CREATE_COMPLETE
INSTANCE  SERVICES  HYPERVISOR  NODE  STATE   ADDRESS        MEMORY           CPU   ACTIVE  CONFIGURED  LAST CONFIGURED
database  mariadb   lxc         -     ACTIVE  192.168.24.20  310 of 2048 MiB  25 %  31 s    65 s        2026-11-25T12:01:05Z
identity  keystone  docker      -     ACTIVE  192.168.24.21  -                -     31 s    65 s        2026-11-25T12:01:05Z
images    glance    docker      -     ACTIVE  192.168.24.22  -                -     31 s    65 s        2026-11-25T12:01:05Z
SERVICE   INSTANCE  VERSION               API              URL
mariadb   database  1:10.11.14-0+deb12u2  -                -
keystone  identity  29.0.0                answers          https://192.168.24.21:5000/v3
glance    images    unknown               does not answer  https://192.168.24.22:9292
"""


def test_status_shows_versions_times_use_and_answers() -> None:
    assert shown() == _WELL


def test_state_that_is_not_wanted_is_told() -> None:
    database, identity, _images = _SEEN.servers
    seen = dataclasses.replace(
        _SEEN,
        servers=(
            dataclasses.replace(database, status="SHUTOFF"),
            dataclasses.replace(identity, answers=False),
        ),
    )
    states = {one.name: one.state for one in status.describe(_DEMO, seen, facts()).instances}
    assert states == {"database": "SHUTOFF", "identity": "does not answer", "images": "missing"}
    assert "SHUTOFF, wanted ACTIVE" in shown(seen)


def test_node_that_is_down_is_told_with_its_instances_and_the_way_out() -> None:
    """One process that is silent is no node, and the undercloud's own node cannot be down."""
    providers = (
        provider("undercloud-lxc", silent_since="2026-11-25T13:00:00"),
        provider("second-docker", silent_since="2026-11-25T13:00:00"),
        provider("second-lxc", silent_since="2026-11-25T13:00:04"),
        provider("third-docker"),
        provider("third-lxc", silent_since="2026-11-25T13:00:00"),
        provider("fourth-lxc", silent_since="2026-11-25T12:00:00"),
    )
    hosts = {"database": "third-lxc", "identity": "second-docker", "images": "undercloud-docker"}
    servers = tuple(
        dataclasses.replace(one, host=hosts[one.instance], answers=one.instance == "images")
        for one in _SEEN.servers
    )
    seen = dataclasses.replace(_SEEN, providers=providers, servers=servers)
    text = shown(seen)
    assert (
        "warning: the node second is down, last heard of at 2026-11-25T13:00:04; on it: identity;"
        " bring it back: ./altostratus undercloud up; or have them elsewhere: ./altostratus"
        " overcloud evacuate second FILE\n"
    ) in text
    assert "fourth is down, last heard of at 2026-11-25T12:00:00; no instance is on it\n" in text
    assert "third is down" not in text and "undercloud is down" not in text
    found = status.describe(_DEMO, seen, facts()).instances
    assert [one.node for one in found] == ["third", "second", "undercloud"]


def provider(name: str, silent_since: str | None = None) -> Provider:
    """A compute process, which is silent or not."""
    hypervisor = Hypervisor(name.rpartition("-")[2])
    return Provider(name, hypervisor, 4096, 20, silent_since=silent_since)


def test_instances_that_the_file_adds_or_leaves_out_are_told() -> None:
    database, identity, _images = _DEMO.instances
    changed = dataclasses.replace(
        _DEMO, instances=(database, identity, dataclasses.replace(identity, name="second"))
    )
    found = status.describe(changed, _SEEN, facts()).instances
    assert {one.name: (one.state, one.wanted) for one in found} == {
        "database": ("ACTIVE", "ACTIVE"),
        "identity": ("ACTIVE", "ACTIVE"),
        "images": ("ACTIVE", "gone"),
        "second": ("missing", "ACTIVE"),
    }


def test_what_is_not_deployed_has_no_instances() -> None:
    found = status.describe(_DEMO, golden.empty_undercloud(), facts(servers={}))
    assert (found.stack, found.instances, found.services) == ("not deployed", (), ())


def test_urls_of_services_are_known_though_keystone_is_silent() -> None:
    seen = dataclasses.replace(_SEEN, endpoints=None)
    found = status.describe(_DEMO, seen, facts(answers={_KEYSTONE: False}))
    assert {one.name: (one.url, one.answers) for one in found.services}["keystone"] == (
        _KEYSTONE,
        False,
    )


def test_server_that_is_gone_leaves_nothing_to_tell() -> None:
    found = status.describe(_DEMO, _SEEN, facts(servers={}))
    assert {one.configured_at for one in found.instances} == {None}
    assert {one.version for one in found.services} == {None}


_DIAGNOSTICS = {
    "memory_details": {"maximum": 1024, "used": 200},
    "cpu_details": [{"id": 0, "time": 3 * 10**9}, {"id": 1, "time": None}],
}


def test_servers_that_do_not_tell_what_they_use_are_left_out() -> None:
    with fake_undercloud.running() as fake:
        fake.diagnostics["one"] = _DIAGNOSTICS
        found = usage.read(fake_undercloud.connect(fake), ["one", "stopped"])
    assert [(name, look.memory_mib, look.cpu_s) for name, look in found.items()] == [
        ("one", 200, 3.0)
    ]


@pytest.mark.parametrize(
    ("moment_s", "cpu_s", "percent"),
    [(12.0, 5.5, 25.0), (12.0, 1.0, None), (10.0, 5.5, None)],
    ids=["it ran", "it started meanwhile", "there was no time between"],
)
def test_use_of_processors_is_seen_between_two_looks(
    moment_s: float, cpu_s: float, percent: float | None
) -> None:
    before = usage.Look(10.0, 300, 1024, 5.0)
    assert usage.cpu_percent(before, usage.Look(moment_s, 300, 1024, cpu_s)) == percent
    assert usage.cpu_percent(before, None) is usage.cpu_percent(None, before) is None
