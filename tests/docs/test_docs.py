"""The documents keep to what there is: their links, the commands they show, the paths they name."""

import collections.abc
import pathlib
import re
import shlex

import click
import pytest

from altostratus import cli

ROOT = pathlib.Path(__file__).parents[2]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "STYLE.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
ROWS = range(1, 30)


def _name(path: pathlib.Path) -> str:
    return str(path.relative_to(ROOT))


def commands(text: str) -> collections.abc.Iterator[list[str]]:
    """The arguments of each ``./altostratus`` in an indented block."""
    for line in text.splitlines():
        if line.startswith("    ./altostratus"):
            yield shlex.split(line)[1:]


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_links_lead_somewhere(document: pathlib.Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)", document.read_text())
    inside = [target for target in targets if "://" not in target]
    assert [target for target in inside if not (document.parent / target).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_commands_exist(document: pathlib.Path) -> None:
    for arguments in commands(document.read_text()):
        _parse(cli.cli, arguments)


def test_a_command_that_is_not_there_is_found() -> None:
    for line in ("    ./altostratus overcloud explode", "    ./altostratus devtest --warp 9"):
        ((arguments),) = commands(line)
        with pytest.raises(click.ClickException):
            _parse(cli.cli, arguments)


def test_specification_has_each_row_once() -> None:
    text = (ROOT / "docs/specification.md").read_text()
    assert [int(row) for row in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)] == list(ROWS)


def test_specification_names_what_is_there() -> None:
    text = (ROOT / "docs/specification.md").read_text()
    paths = re.findall(r"`([\w.-]+/[\w./-]+)`", text)
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


def _parse(command: click.Command, arguments: list[str]) -> None:
    """Parse as click would, down to the last command, without running any."""
    if isinstance(command, click.Group):
        with command.make_context(command.name, list(arguments), resilient_parsing=False) as found:
            name, inner, rest = command.resolve_command(
                found, [*found._protected_args, *found.args]
            )
            assert inner is not None, name
            _parse(inner, rest)
    else:
        # Files of the examples are not there: only options and their number are looked at.
        parameters = [p for p in command.params if isinstance(p, click.Option)]
        arguments_ = [p for p in command.params if isinstance(p, click.Argument)]
        plain = click.Command(
            command.name,
            params=[
                *parameters,
                *(
                    click.Argument(
                        [p.name or "x"], nargs=p.nargs, required=p.required, default=None
                    )
                    for p in arguments_
                ),
            ],
            context_settings=command.context_settings,
        )
        for option in parameters:
            if isinstance(option.type, click.Path):
                option.type = click.STRING
        plain.make_context(command.name, list(arguments))
