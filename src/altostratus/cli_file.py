"""What commands are given: a deployment file, and the hypervisor that is chosen beside it."""

import os
import pathlib

import click

from altostratus import errors, heatenv, spec, yamlfile
from altostratus.model import Overcloud

_QUICKSTART = pathlib.Path(__file__).parents[2] / "examples" / "quickstart.yaml"

file = click.argument(
    "file", type=click.Path(path_type=pathlib.Path, dir_okay=False), default=_QUICKSTART
)
hypervisor = click.option(
    "--hypervisor",
    metavar="NAME",
    help="Where instances run that do not say it themselves; comes before HEAT_ENV and the file.",
)


def load(path: pathlib.Path, option: str | None) -> tuple[Overcloud, yamlfile.Document]:
    """The overcloud that a file describes; an environment file may say where its instances run."""
    text, chosen = read(path), _chosen(option)
    name = str(path)
    if path.is_absolute() and path.is_relative_to(pathlib.Path.cwd()):
        name = str(path.relative_to(pathlib.Path.cwd()))
    return spec.parse(text, name, chosen), yamlfile.parse(text, name)


def read(path: pathlib.Path) -> str:
    """The text of a file. Raises :class:`errors.Error` if it cannot be read."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as exc:
        raise errors.Error(f"{path} cannot be read: {exc}") from exc


def _chosen(option: str | None) -> str | None:
    """The hypervisor that is chosen beside the file: by the option, or an environment file."""
    environment = os.environ.get(heatenv.VARIABLE)
    if environment and option is None:
        return heatenv.hypervisor(read(pathlib.Path(environment)), environment)
    return option
