"""What commands are given: a deployment file and the hypervisor chosen beside it, a kept plan."""

import os
import pathlib

import click

from altostratus import errors, heatenv, keptplan, spec, yamlfile
from altostratus.model import Overcloud

_QUICKSTART = pathlib.Path(__file__).parents[2] / "examples" / "quickstart.yaml"

file = click.argument(
    "file", type=click.Path(path_type=pathlib.Path, dir_okay=False), default=_QUICKSTART
)
file_or_plan = click.argument(
    "file", type=click.Path(path_type=pathlib.Path, dir_okay=False), required=False
)
undercloud_file = click.argument(
    "file", type=click.Path(path_type=pathlib.Path, dir_okay=False), required=False
)
hypervisor = click.option(
    "--hypervisor",
    metavar="NAME",
    help="Where instances run that do not say it themselves; comes before HEAT_ENV and the file.",
)


def load(path: pathlib.Path | None, option: str | None) -> tuple[Overcloud, yamlfile.Document]:
    """The overcloud that a file describes; an environment file may say where its instances run."""
    path = path or _QUICKSTART
    text = read(path)
    name = str(path)
    if path.is_absolute() and path.is_relative_to(pathlib.Path.cwd()):
        name = str(path.relative_to(pathlib.Path.cwd()))
    return _parsed(text, name, chosen(option))


def read(path: pathlib.Path) -> str:
    """The text of a file. Raises :class:`errors.Error` if it cannot be read."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as exc:
        raise errors.Error(f"{path} cannot be read: {exc}") from exc


def load_kept(
    kept: keptplan.Kept, kept_in: pathlib.Path, path: pathlib.Path | None, option: str | None
) -> tuple[Overcloud, yamlfile.Document]:
    """The overcloud that a kept plan is for.

    Raises :class:`errors.StalePlan` if a file or a hypervisor is given that makes it another one.
    """
    wanted, document = _parsed(kept.text, kept.file, kept.hypervisor)
    text = read(path) if path else kept.text
    given, _ = _parsed(text, str(path or kept.file), option or kept.hypervisor)
    keptplan.refuse_if(keptplan.other_overcloud(wanted, given), kept, str(kept_in))
    return wanted, document


def write(path: pathlib.Path, text: str) -> None:
    """Write a file. Raises :class:`errors.Error` if it cannot be written."""
    try:
        path.write_text(text)
    except OSError as exc:
        raise errors.Error(f"{path} cannot be written: {exc}") from exc


def chosen(option: str | None) -> str | None:
    """The hypervisor that is chosen beside the file: by the option, or an environment file."""
    environment = os.environ.get(heatenv.VARIABLE)
    if environment and option is None:
        return heatenv.hypervisor(read(pathlib.Path(environment)), environment)
    return option


def _parsed(text: str, name: str, option: str | None) -> tuple[Overcloud, yamlfile.Document]:
    return spec.parse(text, name, option), yamlfile.parse(text, name)
