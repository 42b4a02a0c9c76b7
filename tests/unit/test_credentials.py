"""The user's clouds.yaml: our entry changes, all else stays."""

import pathlib

import openstack.config
import pytest

from altostratus import credentials

_OTHERS = "# mine\nclouds:\n  other:\n    auth: {auth_url: http://192.0.2.1/}\n"


@pytest.fixture
def file(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    path = tmp_path / "clouds.yaml"
    path.write_text(_OTHERS)
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(path))
    return path


def _write(authority: str | None) -> bool:
    return credentials.write(
        "overcloud",
        auth_url="https://192.0.2.2:5000/v3",
        username="admin",
        password="secret",
        project="admin",
        authority=authority,
    )


def test_clients_trust_the_authority_that_is_kept_beside(file: pathlib.Path) -> None:
    assert _write("a certificate")
    kept = file.with_name("overcloud-ca.pem")
    assert kept.read_text() == "a certificate"
    assert kept.stat().st_mode & 0o777 == 0o644
    assert file.stat().st_mode & 0o777 == 0o600
    found = openstack.config.OpenStackConfig(config_files=[str(file)]).get_one("overcloud")
    assert found.get_requests_verify_args()[0] == str(kept)
    assert credentials.trusted(credentials.read("overcloud") or {}) == "a certificate"


def test_a_new_authority_is_a_change(file: pathlib.Path) -> None:
    assert _write("a certificate")
    assert not _write("a certificate")
    assert _write("another")
    file.with_name("overcloud-ca.pem").unlink()
    assert _write("another")


def test_without_an_authority_there_is_no_file(file: pathlib.Path) -> None:
    assert _write(None)
    assert not _write(None)
    assert list(file.parent.iterdir()) == [file]
    assert "cacert" not in (credentials.read("overcloud") or {})


def test_removing_an_entry_leaves_nothing_of_it(file: pathlib.Path) -> None:
    _write("a certificate")
    assert credentials.remove("overcloud")
    assert list(file.parent.iterdir()) == [file]
    assert file.read_text() == _OTHERS
