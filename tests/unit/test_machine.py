"""A machine that is too small is refused at the start, with what it has and what it needs."""

import pytest

from altostratus import errors, machine

ENOUGH = {"memory_mib": 24000, "disk_gib": 70, "vcpus": 2}


@pytest.mark.parametrize(
    ("has", "words"),
    [({"memory_mib": 7900}, ("7900 MiB", "memory")), ({"disk_gib": 9}, ("9 GiB", "/var/lib"))],
)
def test_small_machine_is_refused(
    has: dict[str, int], words: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "size", lambda: machine.Size(**ENOUGH | has))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(machine, "install", lambda _packages: pytest.fail("it went on"))
    with pytest.raises(errors.Error) as refusal:
        machine.prepare()
    assert all(word in refusal.value.message for word in words)
    assert refusal.value.hint
