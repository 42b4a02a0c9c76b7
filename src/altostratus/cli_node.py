"""The command line's part for bare-metal machines, and for a testbed that has some."""

import pathlib

import click

from altostratus import cli_file, errors


@click.group()
def node() -> None:
    """Bare-metal machines of the undercloud."""


@node.command("import")
@click.argument("file", type=click.Path(path_type=pathlib.Path, dir_okay=False))
def node_import(file: pathlib.Path) -> None:
    """Enrol the machines that FILE names: all of them, or none."""
    from altostratus import agentramdisk, baremetal, cloud, nodesfile

    wanted = nodesfile.parse(cli_file.read(file), str(file))
    connection = baremetal.connect()
    images = agentramdisk.load(cloud.connect("undercloud"))
    changed = baremetal.enrol(connection, wanted, images)
    for name in changed:
        click.echo(name)
    if not changed:
        click.echo("nothing to do: they are enrolled as the file says", err=True)


@node.command("list")
def node_list() -> None:
    """Show all machines."""
    from altostratus import baremetal, table

    found = baremetal.listed(baremetal.connect())
    click.echo("\n".join(table.lines(baremetal.rows(found))))


@node.command("inspect")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--boot", is_flag=True, help="Boot them, and have them look at themselves.")
def node_inspect(names: tuple[str, ...], boot: bool) -> None:
    """Find out what machines have, from their BMCs, and show it."""
    from altostratus import baremetal, table

    connection = baremetal.connect()
    found, failed = [], []
    for name in names:
        try:
            found.append(baremetal.inspect(connection, name, by_agent=boot))
        except errors.Error as exc:
            failed.append(exc)
    if found:
        click.echo("\n".join(table.lines(baremetal.rows(found))))
    _refuse(failed)


@node.command("provide")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
def node_provide(names: tuple[str, ...]) -> None:
    """Make machines ready for instances: inspect those that are not known, clean them, and offer
    them to Nova."""
    from altostratus import baremetal, cloud, provision, table

    connection = baremetal.connect()
    failed = provision.provide(connection, cloud.connect("undercloud"), names)
    found = [one for one in baremetal.listed(connection) if one.name in names]
    click.echo("\n".join(table.lines(baremetal.rows(found))))
    _refuse(failed)


def _refuse(failed: list[errors.Error]) -> None:
    if failed:
        raise errors.Error("\n".join(one.message for one in failed), failed[0].hint)


@click.group()
def testbed() -> None:
    """Virtual bare metal on this machine, for tests."""


@testbed.command("up")
@click.option("--machines", default=1, show_default=True, type=click.IntRange(0, 16))
@click.option("--memory", default=2048, show_default=True, help="Of each, in MiB.")
@click.option("--disk", default=10, show_default=True, help="Of each, in GiB.")
@click.argument("file", type=click.Path(path_type=pathlib.Path, dir_okay=False))
def testbed_up(machines: int, memory: int, disk: int, file: pathlib.Path) -> None:
    """Make machines without an operating system, and FILE, which 'node import' takes."""
    from altostratus import testbed

    cli_file.write(file, testbed.up(testbed.machines(machines, memory, disk)))


@testbed.command("down")
def testbed_down() -> None:
    """Remove the machines and all that belongs to them."""
    from altostratus import testbed

    testbed.down()
