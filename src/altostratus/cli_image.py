"""The command line's part for images."""

import datetime
import pathlib
from typing import Any

import click

from altostratus import errors, hypervisors, imagespec, releases
from altostratus.model import DEBIAN

_services = click.argument("services", nargs=-1, required=True)
_on = click.option(
    "--hypervisor",
    type=click.Choice(hypervisors.names()),
    default="docker",
    show_default=True,
    help="What the image is for.",
)
_debian = click.option(
    "--debian",
    metavar="RELEASE",
    default=DEBIAN,
    show_default=True,
    help="The Debian release that the image is made of.",
)
_release = click.option(
    "--release",
    type=click.Choice(releases.ALL),
    default=releases.LATEST,
    show_default=True,
    help="The OpenStack release that the image is made of.",
)


@click.group()
def image() -> None:
    """Images of services."""


def _named_unless_each(
    context: click.Context, parameter: click.Parameter, services: tuple[str, ...]
) -> tuple[str, ...]:
    from altostratus import services as catalogue

    if services:
        return services
    if not context.params.get("each"):
        raise click.MissingParameter(ctx=context, param=parameter)
    return catalogue.names()


@image.command("build")
@click.argument("services", nargs=-1, callback=_named_unless_each)
@_on
@_debian
@_release
@click.option(
    "--each",
    is_flag=True,
    is_eager=True,
    help="Build an image for each of SERVICES, and for all that there are where none is named.",
)
@click.option("--refresh", is_flag=True, help="Take in the updates of Debian's archive first.")
def image_build(
    services: tuple[str, ...],
    hypervisor: str,
    debian: str,
    release: str,
    each: bool,
    refresh: bool,
) -> None:
    """Build the image that runs SERVICES, unless the cache has it."""
    from altostratus import images

    together = [(name,) for name in services] if each else [services]
    specs = [_image_spec(one, hypervisor, debian, release) for one in together]
    if refresh:
        _refresh(debian)
    click.echo("\n".join(map(str, images.build_all(specs))))


def _refresh(debian: str) -> None:
    from altostratus import images, log

    changed = images.refresh(debian)
    for name, version in sorted(changed.items()):
        log.info(f"new: {name} {version}")
    if not changed:
        log.info("the archive offers nothing newer than what the images hold")


@image.command("load")
@_services
@_on
@_debian
@_release
@click.option("--name", help="The name of an image that is loaded from a file.")
@click.option("--disk-format", default="raw", show_default=True, help="Of an image from a file.")
@click.option("--hypervisor-type", help="Nova's word for the only hypervisor that may run it.")
def image_load(
    services: tuple[str, ...],
    hypervisor: str,
    debian: str,
    release: str,
    name: str | None,
    disk_format: str,
    hypervisor_type: str | None,
) -> None:
    """Load the image that runs SERVICES into the undercloud's Glance, building it if need be.

    In place of services a file can be named: any image, for instance one of diskimage-builder's.
    """
    from altostratus import cloud, glance, images

    connection = cloud.connect("undercloud")
    path = pathlib.Path(services[0])
    if len(services) == 1 and path.is_file():
        name = name or path.stem
        identity = glance.load_file(connection, path, name, disk_format, hypervisor_type)
    else:
        wanted = _image_spec(services, hypervisor, debian, release)
        images.build(wanted)
        identity = glance.load(connection, wanted, hypervisor_type)
    click.echo(identity)


@image.command("manifest")
@_services
@_on
@_debian
@_release
def image_manifest(services: tuple[str, ...], hypervisor: str, debian: str, release: str) -> None:
    """Show what the built image of SERVICES holds, in CycloneDX's JSON."""
    from altostratus import images

    found = images.manifest(_image_spec(services, hypervisor, debian, release))
    if not found.exists():
        raise errors.Error(
            "this image is not built",
            hint=f"build it: ./altostratus image build {' '.join(services)}"
            f" --hypervisor {hypervisor}",
        )
    click.echo(found.read_text(), nl=False)


@image.command("list")
def image_list() -> None:
    """List the images in the undercloud's Glance and in the cache."""
    from altostratus import inventory, table

    rows: list[tuple[str, ...]] = [
        ("NAME", "SIZE", "AGE", "DIGEST", "HYPERVISOR TYPE", "USED BY", "WHERE")
    ]
    now = datetime.datetime.now(datetime.UTC)
    rows += inventory.rows(_loaded(), inventory.local(), now)
    click.echo("\n".join(table.lines(rows)))


@image.command("prune")
@click.option("--dry-run", is_flag=True, help="Say what would be removed; remove nothing.")
@_debian
def image_prune(dry_run: bool, debian: str) -> None:
    """Remove images of ours that nothing uses and today's elements and locks do not give.

    Both from the undercloud's Glance, if there is one, and from the cache. What a rollback of an
    overcloud would go back to stays in Glance.
    """
    from altostratus import cloud, glance, images, inventory

    unused = inventory.unused(
        _loaded(), lambda services, on: inventory.current_digests(services, on, debian), _kept()
    )
    files = inventory.old_files(debian)
    size = sum(one.size for one in unused) + sum(map(inventory.taken, files))
    for one in unused:
        click.echo(f"glance  {one.name}  {one.id}")
    for file in files:
        click.echo(f"cache   {file}")
    click.echo(f"{'would free' if dry_run else 'freed'} {inventory.size(size)}")
    if dry_run:
        return
    for one in unused:
        glance.remove(cloud.connect("undercloud"), one.id)
    images.remove(files)


def _loaded() -> list[Any]:
    """The images in Glance; none where there is no undercloud."""
    from altostratus import cloud, credentials, glance

    return glance.loaded(cloud.connect("undercloud")) if credentials.read("undercloud") else []


def _kept() -> frozenset[str]:
    from altostratus import cloud, credentials, survey

    there = credentials.read("undercloud")
    return survey.kept_for_rollback(cloud.connect("undercloud")) if there else frozenset()


def _image_spec(
    services: tuple[str, ...],
    hypervisor: str,
    debian: str = DEBIAN,
    release: str = releases.LATEST,
) -> Any:
    from altostratus import services as catalogue

    unknown = [name for name in services if name not in catalogue.names()]
    if unknown:
        known = ", ".join(catalogue.names())
        raise errors.Error(f"there is no service {unknown[0]!r}", hint=f"known: {known}")
    return imagespec.wanted(services, hypervisor, debian=debian, release=release)
