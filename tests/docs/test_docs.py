"""What the documents name exists: the targets of links, commands, rows of the specification."""

import collections.abc
import itertools
import pathlib
import re
import shlex

import click
import pytest

from altostratus import cli

_ROOT = pathlib.Path(__file__).parents[2]
_TOP = ("README.md", "CONTRIBUTING.md", "STYLE.md", "CHANGELOG.md")
_DOCS = _ROOT / "docs"
_PAGES = [*(_ROOT / name for name in _TOP), *sorted(_DOCS.rglob("*.md"))]
_SPECIFICATION = _DOCS / "specification.md"
_COMMAND_LINE = _DOCS / "reference" / "command-line.md"
_LAUNCHER = "./altostratus"
_STATES = {"done", "partial", "not yet"}
_ROWS = 29

_FENCE = re.compile(r"^(```+|~~~+).*?^\1[ \t]*$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)
_OPERATOR = re.compile(r"[();<>|&]+")
_ROW = re.compile(r"^\| *(\d+) *\|.*\| *([^|]+?) *\| *$", re.MULTILINE)

_by_path = pytest.mark.parametrize(
    "page", _PAGES, ids=lambda path: str(path.relative_to(_ROOT))
)  # fmt: skip


@_by_path
def test_links_lead_somewhere(page: pathlib.Path) -> None:
    broken = [target for target in links(page.read_text()) if not _leads(page, target)]
    assert broken == []


@_by_path
def test_commands_are_those_of_the_command_line(page: pathlib.Path) -> None:
    found = [(shlex.join(words), complaint(words)) for words in commands(page.read_text())]
    assert [(words, said) for words, said in found if said] == []


def test_every_page_is_reached_from_the_index() -> None:
    reached = {_DOCS / "index.md"}
    new = set(reached)
    while new:
        targets = {_target(page, link) for page in new for link in links(page.read_text())}
        new = {target for target in targets if target.suffix == ".md"} - reached
        reached |= new
    assert {
        str(page.relative_to(_ROOT)) for page in _DOCS.rglob("*.md") if page not in reached
    } == set()


def test_the_reference_names_every_command_and_option() -> None:
    sections = re.split(r"^#+ ", _COMMAND_LINE.read_text(), flags=re.MULTILINE)
    for path, command in _leaves(cli.cli, ()):
        name = " ".join(path)
        (section,) = (text for text in sections if text.startswith(f"`{name}`\n"))
        for option in (word for param in command.params for word in param.opts):
            assert not option.startswith("-") or f"`{option}" in section, f"{name} {option}"


def test_the_specification_has_each_row_once() -> None:
    rows = _ROW.findall(_SPECIFICATION.read_text())
    assert [int(number) for number, _ in rows] == list(range(1, _ROWS + 1))
    assert {state for _, state in rows} <= _STATES


def test_each_row_of_the_specification_has_its_section() -> None:
    text = _SPECIFICATION.read_text()
    numbers = [match[1] for match in re.finditer(r"^### (\d+)\. ", text, re.MULTILINE)]
    assert numbers == [number for number, _ in _ROW.findall(text)]


def test_the_specification_names_files_and_tests_that_exist() -> None:
    spans = _SPAN.findall(_without_fences(_SPECIFICATION.read_text()))
    named = [span for span in spans if is_path(span)]
    assert named
    assert [span for span in named if not _exists(span)] == []


def test_the_worked_example_shows_what_is_in_the_repository() -> None:
    page = (_DOCS / "howto" / "add-a-service.md").read_text()
    places = ["elements/barbican", "releases/2026.2/barbican.in", "src/altostratus/services.py"]
    named = [path for place in places for path in _files(_ROOT / place)]
    lines = {line.strip() for path in named for line in path.read_text().splitlines()}
    shown = [line.strip() for block in _FENCE.finditer(page) for line in block[0].split("\n")[1:-1]]
    assert shown
    assert [line for line in shown if line and line not in lines] == []
    element = _ROOT / "elements" / "barbican"
    listed = re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)
    assert sorted(listed) == [str(path.relative_to(element)) for path in _files(element)]


def _files(place: pathlib.Path) -> list[pathlib.Path]:
    found = [place] if place.is_file() else sorted(place.rglob("*"))
    return [path for path in found if path.is_file()]


@pytest.mark.parametrize(
    "line",
    [
        "./altostratus",
        "./altostratus overcloud",
        "./altostratus overcloud explode",
        "./altostratus overcloud plan --detailed-exit-code",
        "./altostratus overcloud plan --out",
        "./altostratus overcloud deploy one.yaml two.yaml",
        "./altostratus image build",
        "./altostratus image build keystone --hypervisor xen",
        "./altostratus undercloud status --json",
        "A=1 ./altostratus devtest --quick  # the short way",
    ],
)
def test_a_wrong_command_is_noticed(line: str) -> None:
    (words,) = commands(f"```sh\n{line}\n```\n")
    assert complaint(words)


def test_commands_are_found_wherever_code_is() -> None:
    text = (
        "Run `./altostratus undercloud\nup`, not ./altostratus.\n\n"
        "    sudo ./altostratus devtest && echo done\n\n"
        "```\n$ ./altostratus overcloud plan \\\n    --json | less\n```\n"
    )
    assert sorted(commands(text)) == [
        ["devtest"],
        ["overcloud", "plan", "--json"],
        ["undercloud", "up"],
    ]


@pytest.mark.parametrize(
    ("target", "leads"),
    [("docs/index.md", True), ("docs/index.md#no-such-heading", False), ("docs/none.md", False)],
)
def test_a_broken_link_is_noticed(target: str, leads: bool) -> None:
    (found,) = links(f"See [it]({target}) and [that](https://example.org/).")
    assert _leads(_ROOT / "README.md", found) is leads


@pytest.mark.parametrize(
    ("span", "exists"),
    [
        ("heat/*.yaml", True),
        ("tests/docs/test_docs.py::test_links_lead_somewhere", True),
        ("tests/docs/test_docs.py::test_of_nothing", False),
        ("heat/*.yml", False),
        ("src/altostratus/none.py", False),
    ],
)
def test_a_path_that_is_not_there_is_noticed(span: str, exists: bool) -> None:
    assert is_path(span)
    assert _exists(span) is exists


def links(text: str) -> list[str]:
    """The targets of a page's links within the repository."""
    targets = _LINK.findall(_SPAN.sub("", _without_fences(text)))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def commands(text: str) -> collections.abc.Iterator[list[str]]:
    """The words after the launcher in each command of a page's blocks and spans of code."""
    blocks = [match[0] for match in _FENCE.finditer(text)]
    rest = _without_fences(text)
    blocks += [line for line in rest.splitlines() if line.startswith("    ")]
    blocks += [" ".join(span.split()) for span in _SPAN.findall(rest)]
    for line in "\n".join(blocks).replace("\\\n", " ").splitlines():
        if _LAUNCHER in line.split():
            yield from _in_line(line)


def complaint(words: list[str]) -> str | None:
    """What the command line has against these words; None if it takes them."""
    command: click.Command = cli.cli
    context = _context(command, None)
    try:
        while True:
            values, rest, _ = command.make_parser(context).parse_args(list(words))
            asked = command.get_help_option(context)
            if asked is not None and values.get(asked.name or "") is True:
                return None
            if not isinstance(command, click.Group):
                return _complaint_of(context, values, rest)
            if not rest:
                return "it names no command"
            _, found, words = command.resolve_command(context, rest)
            assert found is not None, "click fails on a command that is not there"
            command, context = found, _context(found, context)
    except click.UsageError as exc:
        return exc.format_message()


def is_path(span: str) -> bool:
    """Whether a span of code is meant as a path in the repository."""
    return bool(re.fullmatch(r"[\w.*+@-]+(/[\w.*+@-]+)+/?(::\w+)?", span))


def _complaint_of(
    context: click.Context, values: collections.abc.Mapping[str, object], rest: list[str]
) -> str | None:
    if rest:
        return f"too many arguments: {shlex.join(rest)}"
    params = context.command.get_params(context)
    # Whether an argument may lack can depend on an option, which is eager then.
    for param in sorted(params, key=lambda one: not one.is_eager):
        # A page may name a file that its reader is to write.
        if not isinstance(param.type, click.Path):
            value, _ = param.consume_value(context, values)
            context.params[str(param.name)] = param.process_value(context, value)
    return None


def _context(command: click.Command, parent: click.Context | None) -> click.Context:
    return click.Context(
        command, parent=parent, info_name=command.name, **command.context_settings
    )  # fmt: skip


def _in_line(line: str) -> collections.abc.Iterator[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words = iter(list(lexer))
    for word in words:
        if word == _LAUNCHER:
            yield list(itertools.takewhile(lambda one: not _OPERATOR.fullmatch(one), words))


def _without_fences(text: str) -> str:
    return _FENCE.sub("", text)


def _target(page: pathlib.Path, link: str) -> pathlib.Path:
    path = link.partition("#")[0]
    return (page.parent / path).resolve() if path else page


def _leads(page: pathlib.Path, link: str) -> bool:
    target, fragment = _target(page, link), link.partition("#")[2]
    if not (target.exists() and target.is_relative_to(_ROOT)):
        return False
    return not fragment or fragment in map(_anchor, _HEADING.findall(target.read_text()))


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def _exists(span: str) -> bool:
    path, _, name = span.partition("::")
    found = list(_ROOT.glob(path.rstrip("/")))
    return bool(found) and (not name or f"def {name}(" in found[0].read_text())


def _leaves(
    command: click.Command, path: tuple[str, ...]
) -> collections.abc.Iterator[tuple[tuple[str, ...], click.Command]]:
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from _leaves(inner, (*path, name))
    else:
        yield path, command
