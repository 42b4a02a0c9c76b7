"""What is said of steps, of one thread and of several."""

import io
import threading

import pytest
import rich.console

from altostratus import log

PATIENCE_S = 10


def steps_of_two_threads() -> None:
    """One step in each of two threads, which run at the same time."""
    both = threading.Barrier(2, timeout=PATIENCE_S)

    def work(name: str) -> None:
        with log.step(f"build {name}") as step:
            both.wait()
            step.progress("at it")
            both.wait()

    threads = [threading.Thread(target=work, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_steps_of_several_threads_begin_and_end_in_lines_of_their_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    steps_of_two_threads()
    lines = capsys.readouterr().err.splitlines()
    assert sorted(lines[:2]) == ["     ...  build one", "     ...  build two"]
    assert sorted(line.split("s  ")[1] for line in lines[2:]) == ["build one", "build two"]


def test_a_terminal_shows_what_each_thread_is_at(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    console = rich.console.Console(file=shown, force_terminal=True, width=120)
    monkeypatch.setattr(log, "_state", log._State(console))
    with log.step("deploy"):
        steps_of_two_threads()
    text = shown.getvalue()
    assert "build one  at it" in text
    assert "build two  at it" in text
    assert "deploy | build" in text


def test_a_step_that_fails_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError), log.step("build"):
        raise KeyError
    assert capsys.readouterr().err.splitlines()[-1].endswith("s  failed: build")
