"""What is said of the images that are kept, and which of them are old."""

import datetime
import pathlib

import pytest

from altostratus import guest, images, imagespec, inventory
from altostratus.model import DEBIAN

NOW = datetime.datetime(2026, 11, 23, 12, tzinfo=datetime.UTC)


def loaded(name: str, digest: str, servers: int = 0) -> inventory.Loaded:
    hour = NOW - datetime.timedelta(hours=1)
    return inventory.Loaded(name, name, digest, ("keystone",), "docker", 1 << 29, hour, servers)


def local(digest: str) -> inventory.Local:
    day = NOW - datetime.timedelta(days=3)
    path = pathlib.Path(f"altostratus-glance-lxc-{digest}.raw")
    return inventory.Local(path, "altostratus-glance-lxc", digest, ("glance",), "lxc", 3 << 29, day)


def test_rows_say_where_an_image_is_and_whether_it_is_used() -> None:
    ours = [loaded("a", "a" * 64, servers=2), loaded("b", "b" * 64), loaded("foreign", "")]
    assert inventory.rows(ours, [local("b" * 16), local("c" * 16)], NOW) == [
        ("a", "512 MiB", "1 h", "a" * 12, "docker", "2 servers", "loaded"),
        ("altostratus-glance-lxc", "1.5 GiB", "3 d", "c" * 12, "lxc", "-", "local"),
        ("b", "512 MiB", "1 h", "b" * 12, "docker", "-", "loaded, local"),
        ("foreign", "512 MiB", "1 h", "-", "docker", "-", "loaded"),
    ]


def test_only_images_of_ours_that_nothing_uses_and_wants_are_unused() -> None:
    found = [
        loaded("used", "a" * 64, servers=1),
        loaded("current", "b" * 64),
        loaded("foreign", ""),
        loaded("old", "d" * 64),
        loaded("of a rollback", "e" * 64),
    ]
    unused = inventory.unused(found, lambda services, hypervisor: "b" * 64, {"e" * 64})
    assert [one.name for one in unused] == ["old"]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(5, "5 s"), (119, "1 min"), (7200, "2 h"), (200_000, "2 d"), (-9, "0 s")],
)
def test_age_is_in_the_largest_unit(seconds: int, expected: str) -> None:
    assert inventory.age(datetime.timedelta(seconds=seconds)) == expected


def test_old_files_are_those_that_no_build_would_use(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALTOSTRATUS_CACHE", str(tmp_path))
    spec = imagespec.wanted(("keystone",), "docker")
    kept = [images.path(spec), images.manifest(spec), *images.root_paths(spec), guest.path()]
    ramdisk = imagespec.agent_ramdisk()
    kept += [images.path(ramdisk), images.kernel(ramdisk), images.manifest(ramdisk)]
    old = [
        tmp_path / "images" / f"altostratus-guest-{'0' * 16}.raw",
        tmp_path / "images" / f"altostratus-keystone-docker-{'0' * 16}.cdx.json",
        tmp_path / "images" / f"altostratus-keystone-docker-{'0' * 16}.tar",
        tmp_path / "images" / f"altostratus-no-such-service-docker-{'0' * 16}.tar",
        tmp_path / "roots" / f"base-{'0' * 16}",
        tmp_path / "roots" / f"base-{'0' * 16}.tar",
        tmp_path / "roots" / f"keystone-{'0' * 16}",
    ]
    for path in (*kept, *old):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert inventory.old_files(DEBIAN) == old
    assert [one.digest for one in inventory.local() if one.path in kept] == [
        imagespec.digest(spec)[:16]
    ]


def test_the_image_of_a_service_that_is_no_more_has_no_current_digest() -> None:
    assert inventory.current_digests(("no-such-service",), "docker", DEBIAN) == set()
    assert inventory.current_digests(("keystone",), "", DEBIAN) == set()


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, "0 KiB"), (1, "1 KiB"), (1 << 20, "1 MiB"), (3 << 29, "1.5 GiB")],
)
def test_size_is_short(count: int, expected: str) -> None:
    assert inventory.size(count) == expected
