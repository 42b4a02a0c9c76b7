"""The commands about an overcloud and its networks: parse, call one function, print."""

import dataclasses
import json
import pathlib

import click

from altostratus import cli_file, errors, keptplan
from altostratus.errors import Exit


@click.group()
def network() -> None:
    """The networks that an overcloud has in the undercloud."""


@network.command("setup")
@cli_file.file
@cli_file.hypervisor
def network_setup(file: pathlib.Path, hypervisor: str | None) -> None:
    """Make FILE's networks, and nothing else; 'overcloud deploy' makes them as well."""
    from altostratus import deploy, plan

    deployment = deploy.prepare(*cli_file.load(file, hypervisor))
    made = plan.restricted(deployment.plan, plan.Kind.CREATE_NETWORK)
    click.echo(plan.to_text(made), nl=False)
    deploy.execute(dataclasses.replace(deployment, plan=made))


@click.group()
def overcloud() -> None:
    """The overcloud that FILE describes (default: examples/quickstart.yaml)."""


@overcloud.command("check")
@cli_file.file
@cli_file.hypervisor
def overcloud_check(file: pathlib.Path, hypervisor: str | None) -> None:
    """Say everything that is wrong with FILE, and all that speaks against deploying it here."""
    from altostratus import deploy, plan, status, undercloud

    wanted, document = cli_file.load(file, hypervisor)
    for warning in plan.warnings(wanted):
        click.echo(warning)
    if undercloud.status() is None:
        deploy.check_machine(wanted, document)
        click.echo(f"{file}: nothing wrong in it; no undercloud here to check it against")
        return
    for text in status.warnings(deploy.prepare(wanted, document).observed.certificates):
        click.echo(text)
    click.echo(f"{file}: nothing wrong, and nothing speaks against deploying it here")


@overcloud.command("plan")
@cli_file.file
@cli_file.hypervisor
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option("--out", type=click.Path(path_type=pathlib.Path), help="Keep the plan in this file.")
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 4 if there is something to do.")
def overcloud_plan(
    file: pathlib.Path,
    hypervisor: str | None,
    as_json: bool,
    out: pathlib.Path | None,
    detailed_exitcode: bool,
) -> int:
    """Say what deploying would do, and why; change nothing."""
    from altostratus import deploy, plan

    deployment = deploy.prepare(*cli_file.load(file, hypervisor))
    made = deployment.plan
    if out:
        kept = deploy.kept(deployment, cli_file.chosen(hypervisor))
        cli_file.write(out, keptplan.to_json(kept))
    click.echo(plan.to_json(made) if as_json else plan.to_text(made), nl=False)
    return Exit.CHANGES_PENDING if detailed_exitcode and made.steps else Exit.DONE


@overcloud.command("deploy")
@cli_file.file_or_plan
@cli_file.hypervisor
@click.option(
    "--plan",
    "kept_in",
    type=click.Path(path_type=pathlib.Path, dir_okay=False),
    help="Carry out exactly the plan in this file, which knows its FILE, or refuse.",
)
def overcloud_deploy(
    file: pathlib.Path | None, hypervisor: str | None, kept_in: pathlib.Path | None
) -> None:
    """Deploy FILE's overcloud, or bring it to what FILE says."""
    from altostratus import deploy, plan, status

    if kept_in:
        kept = keptplan.parse(cli_file.read(kept_in), str(kept_in))
        deployment = deploy.prepare(*cli_file.load_kept(kept, kept_in, file, hypervisor))
        now = deploy.kept(deployment, kept.hypervisor)
        keptplan.refuse_if(keptplan.difference(kept, now), kept, str(kept_in))
    else:
        deployment = deploy.prepare(*cli_file.load(file, hypervisor))
    click.echo(plan.to_text(deployment.plan), nl=False)
    deploy.execute(deployment)
    if deployment.plan.steps:
        click.echo(status.to_text(status.read(deployment.plan.overcloud)), nl=False)


@overcloud.command("verify")
@cli_file.file
@cli_file.hypervisor
@click.option("--tempest", "with_tempest", is_flag=True, help="And run OpenStack's smoke tests.")
def overcloud_verify(file: pathlib.Path, hypervisor: str | None, with_tempest: bool) -> None:
    """Use the overcloud as its users would."""
    from altostratus import tempest, verify

    wanted, _ = cli_file.load(file, hypervisor)
    verify.overcloud(wanted)
    if with_tempest:
        click.echo(tempest.verify(wanted))
    click.echo("verified")


@overcloud.command("status")
@cli_file.file
@cli_file.hypervisor
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def overcloud_status(file: pathlib.Path, hypervisor: str | None, as_json: bool) -> None:
    """Say what the overcloud is at."""
    from altostratus import status

    found = status.read(cli_file.load(file, hypervisor)[0])
    shown = json.dumps(dataclasses.asdict(found), indent=2, default=str) + "\n"
    click.echo(shown if as_json else status.to_text(found), nl=False)


@overcloud.command("history")
@cli_file.file
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def overcloud_history(file: pathlib.Path, as_json: bool) -> None:
    """Say what was deployed when, by whom, and from which file and images."""
    from altostratus import cloud, history, survey

    name = cli_file.load(file, None)[0].name
    entries = survey.deployments(cloud.connect("undercloud"), name)
    shown = history.to_json(entries) if as_json else history.to_text(name, entries)
    click.echo(shown, nl=False)


_only = click.option(
    "--only", metavar="INSTANCE", multiple=True, help="Leave others alone; may be repeated."
)


_stopping = click.option(
    "--stop-machines",
    "stopping",
    metavar="INSTANCE",
    multiple=True,
    help="Change this compute node though machines on it cannot move away; may be repeated.",
)


@overcloud.command("upgrade")
@cli_file.file
@cli_file.hypervisor
@_only
@_stopping
@click.option("--finish", is_flag=True, help="Give up the way back: contract the schemas.")
def overcloud_upgrade(
    file: pathlib.Path,
    hypervisor: str | None,
    only: tuple[str, ...],
    stopping: tuple[str, ...],
    finish: bool,
) -> None:
    """Bring today's images to the instances, one after the other; each is verified."""
    from altostratus import schemas, upgrade

    if finish:
        finished = upgrade.finish(*cli_file.load(file, hypervisor), only)
        click.echo(schemas.to_text(finished), nl=False)
        return
    wanted = upgrade.prepare_upgrade(*cli_file.load(file, hypervisor), only, stopping)
    click.echo(upgrade.to_text(wanted), nl=False)
    upgrade.verify_before(wanted)
    upgrade.execute(wanted)


@overcloud.command("rollback")
@cli_file.file
@cli_file.hypervisor
@_only
@_stopping
@click.option("--to", metavar="WHEN", help="A moment that 'overcloud history' shows.")
@click.option(
    "--accept-loss",
    metavar="INSTANCE",
    multiple=True,
    help="Let the databases of INSTANCE go back to the copy of then, where its schema has moved.",
)
def overcloud_rollback(
    file: pathlib.Path,
    hypervisor: str | None,
    only: tuple[str, ...],
    stopping: tuple[str, ...],
    to: str | None,
    accept_loss: tuple[str, ...],
) -> None:
    """Take the instances back to the images that they had before, one after the other."""
    from altostratus import upgrade

    wanted = upgrade.prepare_rollback(
        *cli_file.load(file, hypervisor), only, to, accept_loss, stopping
    )
    click.echo(upgrade.to_text(wanted), nl=False)
    upgrade.execute(wanted)


@overcloud.command("evacuate")
@click.argument("node")
@cli_file.file
@cli_file.hypervisor
@_only
@click.option(
    "--accept-loss",
    metavar="INSTANCE",
    multiple=True,
    help="Let INSTANCE start without its state, where that is out of reach; may be repeated.",
)
def overcloud_evacuate(
    node: str,
    file: pathlib.Path,
    hypervisor: str | None,
    only: tuple[str, ...],
    accept_loss: tuple[str, ...],
) -> None:
    """Have the instances of NODE, which is down, on other nodes, with their state."""
    from altostratus import deploy, moves, plan, status

    asked = moves.Asked(node, only, accept_loss)
    deployment = deploy.prepare_evacuation(*cli_file.load(file, hypervisor), asked)
    click.echo(plan.to_text(deployment.plan), nl=False)
    deploy.execute(deployment)
    if deployment.plan.steps:
        click.echo(status.to_text(status.read(deployment.plan.overcloud)), nl=False)


@overcloud.command("why")
@click.argument("instance")
@cli_file.file
@cli_file.hypervisor
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def overcloud_why(instance: str, file: pathlib.Path, hypervisor: str | None, as_json: bool) -> None:
    """Say why INSTANCE runs where it does, or nowhere, and the shortest fix."""
    from altostratus import cloud, evidence, why

    wanted, document = cli_file.load(file, hypervisor)
    found = next((one for one in wanted.instances if one.name == instance), None)
    if found is None:
        names = [one.name for one in wanted.instances]
        raise errors.Error(*errors.unknown("instance", instance, names))
    facts = evidence.read(cloud.connect("undercloud"), wanted, found, evidence.journal())
    explanation = why.explain(facts, document.file)
    click.echo(why.to_json(explanation) if as_json else why.to_text(explanation), nl=False)


@overcloud.command("renew")
@cli_file.file
@cli_file.hypervisor
@click.option("--authority", is_flag=True, help="And of the authority that signs it.")
def overcloud_renew(file: pathlib.Path, hypervisor: str | None, authority: bool) -> None:
    """Renew the certificates of the overcloud's instances, while requests go on."""
    from altostratus import deploy, plan

    deployment = deploy.prepare_renewal(*cli_file.load(file, hypervisor), authority=authority)
    click.echo(plan.to_text(deployment.plan), nl=False)
    deploy.execute(deployment)


@overcloud.command("delete")
@cli_file.file
def overcloud_delete(file: pathlib.Path) -> None:
    """Remove the overcloud with all its state."""
    from altostratus import removal

    wanted, _ = cli_file.load(file, None)
    was_there = removal.delete(wanted.name)
    there = "deleted" if was_there else "there was nothing of it"
    click.echo(f"overcloud {wanted.name}: {there}")
