"""The command line's part for the undercloud of this machine, and for its further nodes."""

import pathlib

import click

from altostratus import cli_file, hypervisors
from altostratus.errors import Exit

_UP = "./altostratus undercloud up"


@click.group()
def undercloud() -> None:
    """The undercloud on this machine."""


@undercloud.command("up")
@cli_file.undercloud_file
def undercloud_up(file: pathlib.Path | None) -> None:
    """Bring it up as FILE says, with its nodes, or finish bringing it up."""
    from altostratus import (
        log,
        machine,
        node,
        scaleout,
        undercloudfile,
        verify,
        virtualization,
    )

    asked = undercloudfile.parse(cli_file.read(file), str(file)) if file else None
    machine.prepare()
    if asked is None:
        scaleout.up(node.undercloud(), {}, {})
    else:
        wanted = node.undercloud(asked=asked.hypervisors, site=asked.site)
        scaleout.up(wanted, asked.nodes, asked.hypervisors)
    verify.undercloud()
    log.info(virtualization.to_text(virtualization.read()))


@undercloud.command("down")
def undercloud_down() -> None:
    """Remove it with everything in it, its nodes too."""
    from altostratus import scaleout, testbed, undercloud

    testbed.down()
    scaleout.down()
    undercloud.down()


@undercloud.command("status")
def undercloud_status() -> int:
    """Say what it and its nodes are at; exit status 1 if it is not there."""
    from altostratus import scaleout, status, undercloud, virtualization

    state = undercloud.status()
    click.echo(f"undercloud: {state or 'there is none'}")
    if state is not None:
        for line in scaleout.lines():
            click.echo(line)
    if state == "configured":
        click.echo(virtualization.to_text(virtualization.read()))
        shown = undercloud.shown_certificates()
        for line in status.certificate_lines(shown) + status.warnings(shown, _UP):
            click.echo(line)
    return Exit.DONE if state else Exit.FAILED


@undercloud.command(
    "shell", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@click.option("--node", metavar="NAME", help="On a further node.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def undercloud_shell(node: str | None, command: tuple[str, ...]) -> None:
    """Open a shell in it, or run COMMAND there."""
    from altostratus import scaleout, undercloud

    container = scaleout.container_of(node) if node else undercloud.CONTAINER
    undercloud.shell(command or ("bash", "-l"), container)


@undercloud.command("add-node")
@click.argument("name")
@click.option(
    "--hypervisor",
    "names",
    multiple=True,
    type=click.Choice(hypervisors.default()),
    help="What it has; given several times it has several. By default it has all.",
)
@click.option("--memory", type=click.IntRange(1), help="For its instances, in MiB.")
@click.option("--disk", type=click.IntRange(1), help="For its instances, in GiB.")
def undercloud_add_node(
    name: str, names: tuple[str, ...], memory: int | None, disk: int | None
) -> None:
    """Add a node NAME with compute processes alone, or finish adding it."""
    from altostratus import nodes, scaleout
    from altostratus.model import Hypervisor

    chosen = tuple(dict.fromkeys(map(Hypervisor, names))) or None
    scaleout.add(name, nodes.Asked(chosen, memory, disk))


@undercloud.command("remove-node")
@click.argument("name")
def undercloud_remove_node(name: str) -> None:
    """Remove the node NAME with all that belongs to it, unless instances are on it."""
    from altostratus import scaleout

    scaleout.remove(name)
