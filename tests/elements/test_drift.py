"""What an instance says of itself that is not as it was configured, on files of a test's own."""

import json
import os
import pathlib
import subprocess

import pytest

PROGRAM = (
    pathlib.Path(__file__).parents[2] / "elements/agent/static/usr/local/sbin/configuration-drift"
)
PLACES = ("known", "started", "templates", "collected")
SYSTEMCTL = "#!/bin/sh\n# is-active --quiet UNIT\n[ -e {units}/$3 ]\n"
REFRESH = '#!/bin/sh\necho "$OS_CONFIG_FILES" > {told}\n'


class Instance:
    """A service's file and its unit, and the program with places of its own."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.file = folder / "etc" / "service.conf"
        self.units = folder / "units"
        self.started = folder / "started"
        self.told = folder / "told"
        template = folder / "templates" / str(self.file)[1:]
        for place in (self.file, self.units / "api", self.started / "api", template):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text("as configured\n")
        (self.started / "api.certificate").write_text("digest")
        template.with_name("service.conf.oac").write_text("allow_empty: false\n")
        (template.parent / "not-rendered.conf").write_text("of another combination\n")
        (folder / "collected").write_text(json.dumps(["/a.json", "/b.json"]))
        programs = {
            "systemctl": SYSTEMCTL.format(units=self.units),
            "refresh-instance": REFRESH.format(told=self.told),
            "configuration-drift": self._program(folder),
        }
        for name, content in programs.items():
            (folder / "bin").mkdir(exist_ok=True)
            (folder / "bin" / name).write_text(content)
            (folder / "bin" / name).chmod(0o755)
        self.path = f"{folder}/bin:{os.environ['PATH']}"

    def _program(self, folder: pathlib.Path) -> str:
        lines = PROGRAM.read_text().splitlines()
        for place in PLACES:
            (number,) = (n for n, line in enumerate(lines) if line.startswith(f"{place}="))
            lines[number] = f"{place}={folder / place}"
        return "\n".join(lines) + "\n"

    def says(self, *options: str) -> list[str]:
        done = subprocess.run(
            ["configuration-drift", *options],
            env={**os.environ, "PATH": self.path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()


@pytest.fixture
def instance(tmp_path: pathlib.Path) -> Instance:
    return Instance(tmp_path)


def test_instance_that_was_never_configured_says_nothing(instance: Instance) -> None:
    assert instance.says() == []


def test_instance_as_it_was_configured_says_nothing(instance: Instance) -> None:
    instance.says("--note")
    assert instance.says() == []


def test_changed_file_and_stopped_service_are_told(instance: Instance) -> None:
    instance.says("--note")
    instance.file.write_text("by hand\n")
    (instance.units / "api").unlink()
    assert instance.says() == [f"{instance.file} was changed by hand", "api does not run"]


def test_removed_file_is_told(instance: Instance) -> None:
    instance.says("--note")
    instance.file.unlink()
    assert instance.says() == [f"{instance.file} was changed by hand"]


def test_mending_configures_with_what_was_collected(instance: Instance) -> None:
    instance.says("--note")
    (instance.units / "api").unlink()
    instance.says("--mend")
    assert instance.told.read_text() == "/a.json:/b.json\n"
    assert (instance.started / "api").exists()


def test_service_of_a_changed_file_is_started_anew(instance: Instance) -> None:
    """`start-service` restarts what it has no record of."""
    instance.says("--note")
    instance.file.write_text("by hand\n")
    instance.says("--mend")
    assert not (instance.started / "api").exists()
