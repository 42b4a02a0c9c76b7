"""Builds that run at the same time share what they download, and nothing else."""

import pathlib

import pytest

from altostratus import rootfs


def fetched(folder: pathlib.Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (folder / rootfs._ARCHIVES).iterdir()}


def test_builds_share_the_packages_that_they_fetch(tmp_path: pathlib.Path) -> None:
    cache, one, two = (tmp_path / name for name in ("cache", "one", "two"))
    with rootfs._archives(one, cache), rootfs._archives(two, cache):
        for work in (one, two):
            own = work / rootfs._ARCHIVES
            (own / "same.deb").write_text("same")
            (own / f"{work.name}.deb").write_text(work.name)
            (own / "lock").touch()
        assert "one.deb" not in fetched(two)
    expected = {"same.deb": "same", "one.deb": "one", "two.deb": "two"}
    assert fetched(cache) == expected
    with rootfs._archives(tmp_path / "three", cache):
        assert fetched(tmp_path / "three") == expected


def test_what_a_build_that_fails_has_fetched_is_kept(tmp_path: pathlib.Path) -> None:
    cache, work = tmp_path / "cache", tmp_path / "work"
    with pytest.raises(KeyError), rootfs._archives(work, cache):
        (work / rootfs._ARCHIVES / "one.deb").touch()
        raise KeyError
    assert list(fetched(cache)) == ["one.deb"]
