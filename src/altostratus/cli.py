"""The command line: parse, call one function, print; the only place that ends the process."""

import dataclasses
import json
import os
import pathlib
import sys
import tempfile
import traceback

import click
import keystoneauth1.exceptions
import openstack.exceptions

from altostratus import cli_file, cli_image, errors, keptplan, log
from altostratus.errors import Exit
from altostratus.phases import Phases

_ROOT = pathlib.Path(__file__).parents[2]
_NOT_FAST = "not build and not real and not undercloud"
_INTERRUPTED = 130
_UNDERCLOUD_UP = "./altostratus undercloud up"


def main() -> None:
    """Run the command line and end the process with its exit status."""
    sys.exit(_run(sys.argv[1:]))


def _run(arguments: list[str]) -> int:
    try:
        result = cli.main(arguments, prog_name="altostratus", standalone_mode=False)
        return result if isinstance(result, int) else Exit.DONE
    except errors.Error as exc:
        return _tell(exc)
    except click.ClickException as exc:
        exc.show()
        return Exit.USAGE
    except (click.Abort, KeyboardInterrupt):
        log.info("interrupted; run it again to carry on")
        return _INTERRUPTED
    except (
        openstack.exceptions.SDKException,
        keystoneauth1.exceptions.ClientException,
    ) as exc:
        hint = (
            "run it again with --debug, or look at the undercloud: ./altostratus undercloud status"
        )
        return _tell(errors.Error(f"OpenStack refused: {exc}", hint), exc)
    except Exception:  # noqa: BLE001 (whatever it is: this is where a bug ends)
        return _bug()


def _tell(error: errors.Error, cause: BaseException | None = None) -> int:
    if log.is_debug():
        log.debug("".join(traceback.format_exception(cause or error)))
    log.info(f"error: {error.message}")
    if error.hint:
        log.info(f"hint: {error.hint}")
    return error.exit_status


def _bug() -> int:
    """Keep the traceback in a file that only its owner reads."""
    descriptor, name = tempfile.mkstemp(prefix="altostratus-bug-", suffix=".txt")
    with os.fdopen(descriptor, "w") as file:
        file.write(log.redact(traceback.format_exc()))
    kind, value, _ = sys.exc_info()
    log.info(f"error: this is a bug of Altostratus: {kind.__name__ if kind else ''}: {value}")
    log.info(f"hint: its traceback is in {name}; please report it")
    return Exit.BUG


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show commands that are run, and tracebacks.")
def cli(debug: bool) -> None:
    """Deploy OpenStack clouds whose services run in instances of another."""
    log.set_debug(debug)


@cli.command()
@cli_file.file
@cli_file.hypervisor
def devtest(file: pathlib.Path, hypervisor: str | None) -> None:
    """Bring up an undercloud on this machine and deploy FILE's overcloud on it."""
    from altostratus import deploy, machine, node, status, undercloud, verify, virtualization

    overcloud, document = cli_file.load(file, hypervisor)
    deploy.check_machine(overcloud, document)
    phases = Phases()
    with phases.phase("prepare the machine"):
        machine.prepare()
        wanted = node.undercloud(overcloud)
        deploy.check_shares(overcloud, wanted.shares, document)
    with phases.phase("undercloud"):
        undercloud.up(wanted)
        verify.undercloud()
        log.info(virtualization.to_text(virtualization.read()))
    with phases.phase("overcloud"):
        deployment = deploy.prepare(overcloud, document)
        deploy.execute(deployment)
    if deployment.plan.nothing_to_do:
        with phases.phase("verify"):
            verify.overcloud(overcloud)
    click.echo(status.to_text(status.read(overcloud)))
    click.echo(phases.to_text())


@cli.command(context_settings={"ignore_unknown_options": True})
@click.option("--fast", "which", flag_value="fast", help="Those that need no undercloud.")
@click.option("--all", "which", flag_value="all", help="The heavy ones, too.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def test(which: str | None, arguments: tuple[str, ...]) -> None:
    """Run the tests; ARGUMENTS are handed to pytest."""
    marks = {"fast": ["-m", _NOT_FAST], "all": ["-m", ""]}.get(which or "", [])
    if which == "all":
        os.environ.setdefault("ALTOSTRATUS_TURN", "all")
    os.chdir(_ROOT)
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *marks, *arguments])


@cli.group()
def undercloud() -> None:
    """The undercloud on this machine."""


@undercloud.command("up")
def undercloud_up() -> None:
    """Bring it up, or finish bringing it up."""
    from altostratus import machine, node, undercloud, verify, virtualization

    machine.prepare()
    undercloud.up(node.undercloud())
    verify.undercloud()
    log.info(virtualization.to_text(virtualization.read()))


@undercloud.command("down")
def undercloud_down() -> None:
    """Remove it with everything in it."""
    from altostratus import undercloud

    undercloud.down()


@undercloud.command("status")
def undercloud_status() -> int:
    """Say what it is at; exit status 1 if it is not there."""
    from altostratus import status, undercloud, virtualization

    state = undercloud.status()
    click.echo(f"undercloud: {state or 'there is none'}")
    if state == "configured":
        click.echo(virtualization.to_text(virtualization.read()))
        shown = undercloud.shown_certificates()
        for line in status.certificate_lines(shown) + status.warnings(shown, _UNDERCLOUD_UP):
            click.echo(line)
    return Exit.DONE if state else Exit.FAILED


@undercloud.command("shell", context_settings={"ignore_unknown_options": True})
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def undercloud_shell(command: tuple[str, ...]) -> None:
    """Open a shell in it, or run COMMAND there."""
    from altostratus import undercloud

    undercloud.shell(*([command] if command else []))


cli.add_command(cli_image.image)


@cli.group()
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


@cli.group()
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


@overcloud.command("upgrade")
@cli_file.file
@cli_file.hypervisor
@_only
def overcloud_upgrade(file: pathlib.Path, hypervisor: str | None, only: tuple[str, ...]) -> None:
    """Bring today's images to the instances, one after the other; each is verified."""
    from altostratus import rollout, upgrade

    wanted = upgrade.prepare_upgrade(*cli_file.load(file, hypervisor), only)
    click.echo(rollout.to_text(wanted.overcloud.name, wanted.changes), nl=False)
    upgrade.execute(wanted)


@overcloud.command("rollback")
@cli_file.file
@cli_file.hypervisor
@_only
@click.option("--to", metavar="WHEN", help="A moment that 'overcloud history' shows.")
def overcloud_rollback(
    file: pathlib.Path, hypervisor: str | None, only: tuple[str, ...], to: str | None
) -> None:
    """Take the instances back to the images that they had before, one after the other."""
    from altostratus import rollout, upgrade

    wanted = upgrade.prepare_rollback(*cli_file.load(file, hypervisor), only, to)
    click.echo(rollout.to_text(wanted.overcloud.name, wanted.changes), nl=False)
    upgrade.execute(wanted)


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


if __name__ == "__main__":
    main()
