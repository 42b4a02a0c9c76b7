"""How the process ends, whatever ends it."""

import pathlib

import keystoneauth1.exceptions
import openstack.exceptions
import pytest

from altostratus import cli, errors
from altostratus.errors import Exit


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        (errors.Error("no room", hint="make some"), Exit.FAILED, "error: no room\nhint: make some"),
        (openstack.exceptions.SDKException("409"), Exit.FAILED, "error: OpenStack refused: 409"),
        (keystoneauth1.exceptions.ConnectFailure("gone"), Exit.FAILED, "OpenStack refused: gone"),
        (KeyError("lost"), Exit.BUG, "this is a bug of Altostratus: KeyError: 'lost'"),
    ],
)
def test_what_ends_a_command_is_told(
    raised: Exception,
    status: Exit,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: pathlib.Path,
) -> None:
    def ends(*_words: object, **_options: object) -> None:
        raise raised

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["altostratus", "overcloud", "plan"])
    monkeypatch.setattr(cli.cli, "main", ends)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == status
    told = capsys.readouterr().err
    assert said in told
    assert "Traceback" not in told
    assert len(list(tmp_path.iterdir())) == (status == Exit.BUG)
