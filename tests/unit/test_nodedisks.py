"""State disks that leave a node which is down, and the servers that are deleted there."""

import pathlib

import pytest

from altostratus import errors, log, nodedisks, plan, servers, spec, yamlfile
from altostratus.deployment import Deployment
from tests.unit import fake_undercloud, golden

TEXT = """\
overcloud: demo
instances:
  images: {services: [mariadb, keystone, glance]}
  cache: {services: [memcached], count: 2}
"""
DEMO = spec.parse(TEXT, "overcloud.yaml")

Paths = tuple[pathlib.Path, pathlib.Path]


@pytest.fixture
def paths(tmp_path: pathlib.Path) -> Paths:
    """Where a disk is on one node, and where it is to be on another, which never had any."""
    source, target = tmp_path / "second" / "project", tmp_path / "undercloud" / "project"
    source.mkdir(parents=True)
    for ending, content in (("img", "state"), ("lock", ""), ("growing", "")):
        (source / f"demo.images.{ending}").write_text(content)
    (source / "other.images.img").write_text("of another overcloud")
    return source / "demo.images.img", target / "demo.images.img"


def test_instances_whose_disk_is_there_are_those_of_the_overcloud(paths: Paths) -> None:
    source, target = paths
    assert nodedisks.held(source.parent, DEMO) == {"images"}
    assert nodedisks.held(target.parent, DEMO) == nodedisks.held(None, DEMO) == frozenset()


def test_disk_comes_with_its_mark_and_leaves_nothing_behind(paths: Paths) -> None:
    source, target = paths
    nodedisks.move(source, target)
    assert target.read_text() == "state"
    assert target.with_suffix(".growing").exists()
    assert [one.name for one in source.parent.iterdir()] == ["other.images.img"]
    nodedisks.move(source, target)
    assert target.read_text() == "state"


def test_disk_of_before_gives_way(paths: Paths) -> None:
    source, target = paths
    target.parent.mkdir(parents=True)
    target.write_text("stale")
    nodedisks.move(source, target)
    assert target.read_text() == "state"


def test_disk_that_is_nowhere_is_not_made_up(paths: Paths) -> None:
    source, target = paths
    source.unlink()
    with pytest.raises(errors.Error, match="not there any more"):
        nodedisks.move(source, target)


def test_server_is_deleted_and_its_state_marked_to_go_where_it_is_given_up() -> None:
    seen = golden.deployed(DEMO)
    server = {
        "id": "id-of-images",
        "name": "demo-images",
        "status": "ACTIVE",
        "metadata": {"altostratus:instance": "images"},
        "OS-EXT-SRV-ATTR:host": "second-docker",
    }
    marked = {"altostratus:instance": "images", "altostratus:state_release": "true"}
    with fake_undercloud.running() as fake:
        fake.servers = [server, server | {"id": "id-of-cache-0"}]
        deployment = Deployment(
            undercloud=fake_undercloud.connect(fake),
            plan=golden.make_plan(DEMO, seen),
            secrets={},
            observed=seen,
            known={},
            document=yamlfile.parse(TEXT, "overcloud.yaml"),
        )
        step = plan.Step(plan.Kind.DELETE_SERVER, "demo-images", "", "images")
        with log.step("delete") as shown:
            servers.release_state(deployment, step, shown)
            assert server["metadata"] == marked
            for _ in range(2):
                servers.delete(deployment, step, shown)
                assert [one["id"] for one in fake.servers] == ["id-of-cache-0"]
