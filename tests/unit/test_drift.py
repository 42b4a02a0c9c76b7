"""What instances say of themselves, and that it is asked with the overcloud's key alone."""

import pathlib

import pytest

from altostratus import drift, errors, keypair

SSH = """\
#!/bin/sh
echo "$@" >> {folder}/asked
case "$*" in
*192.168.24.20*--mend) exit {mended} ;;
*192.168.24.20*) echo "/etc/some.conf was changed by hand"; echo "some-api does not run" ;;
*) echo "connect: no route" >&2; exit 255 ;;
esac
"""


@pytest.fixture
def folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.setenv("ALTOSTRATUS_STATE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    put(tmp_path, 0)
    return tmp_path


def put(folder: pathlib.Path, mended: int) -> None:
    """An ssh that is a script."""
    program = folder / "ssh"
    program.write_text(SSH.format(folder=folder, mended=mended))
    program.chmod(0o755)


def make_key() -> pathlib.Path:
    key = keypair.path("demo")
    key.parent.mkdir()
    key.touch()
    return key


def test_instance_says_what_differs(folder: pathlib.Path) -> None:
    key = make_key()
    assert drift.read("demo", "id-of-server", "192.168.24.20") == (
        "/etc/some.conf was changed by hand",
        "some-api does not run",
    )
    asked = (folder / "asked").read_text()
    assert f"-i {key} " in asked and "HostKeyAlias=id-of-server" in asked


def test_instance_that_is_out_of_reach_says_nothing(folder: pathlib.Path) -> None:
    make_key()
    assert drift.read("demo", "id-of-server", "192.168.24.99") == ()


def test_nobody_is_asked_without_the_key(folder: pathlib.Path) -> None:
    assert drift.read("demo", "id-of-server", "192.168.24.20") == ()
    assert not (folder / "asked").exists()


def test_instance_that_cannot_mend_itself_is_told_of(folder: pathlib.Path) -> None:
    make_key()
    drift.mend("demo", "id-of-server", "192.168.24.20")
    put(folder, 1)
    with pytest.raises(errors.Error, match=r"192\.168\.24\.20 could not configure itself") as said:
        drift.mend("demo", "id-of-server", "192.168.24.20")
    assert "refresh.log" in str(said.value.hint)
