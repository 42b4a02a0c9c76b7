"""The command line: parse, call one function, print; the only place that ends the process."""

import dataclasses
import json
import os
import pathlib
import sys
import tempfile
import traceback
from typing import Any

import click
import keystoneauth1.exceptions
import openstack.exceptions

from altostratus import cli_image, errors, heatenv, log, spec, yamlfile
from altostratus.errors import Exit
from altostratus.model import Overcloud
from altostratus.phases import Phases

_ROOT = pathlib.Path(__file__).parents[2]
_QUICKSTART = _ROOT / "examples" / "quickstart.yaml"
_NOT_FAST = "not build and not real and not undercloud"
_INTERRUPTED = 130
_UNDERCLOUD_UP = "./altostratus undercloud up"

_file = click.argument(
    "file", type=click.Path(path_type=pathlib.Path, dir_okay=False), default=_QUICKSTART
)
_hypervisor = click.option(
    "--hypervisor",
    metavar="NAME",
    help="Where instances run that do not say it themselves; comes before HEAT_ENV and the file.",
)


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


def load(file: pathlib.Path, hypervisor: str | None) -> tuple[Overcloud, yamlfile.Document]:
    """The overcloud that a file describes; an environment file may say where its instances run."""
    environment = os.environ.get(heatenv.VARIABLE)
    if environment and hypervisor is None:
        hypervisor = heatenv.hypervisor(_text(pathlib.Path(environment)), environment)
    text = _text(file)
    name = str(file)
    if file.is_absolute() and file.is_relative_to(pathlib.Path.cwd()):
        name = str(file.relative_to(pathlib.Path.cwd()))
    return spec.parse(text, name, hypervisor), yamlfile.parse(text, name)


def _text(file: pathlib.Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as exc:
        raise errors.Error(f"{file} cannot be read: {exc}") from exc


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show commands that are run, and tracebacks.")
def cli(debug: bool) -> None:
    """Deploy OpenStack clouds whose services run in instances of another."""
    log.set_debug(debug)


@cli.command()
@_file
@_hypervisor
def devtest(file: pathlib.Path, hypervisor: str | None) -> None:
    """Bring up an undercloud on this machine and deploy FILE's overcloud on it."""
    from altostratus import deploy, machine, node, status, undercloud, verify, virtualization

    overcloud, document = load(file, hypervisor)
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
@_file
@_hypervisor
def network_setup(file: pathlib.Path, hypervisor: str | None) -> None:
    """Make FILE's networks, and nothing else; 'overcloud deploy' makes them as well."""
    from altostratus import deploy, plan

    deployment = deploy.prepare(*load(file, hypervisor))
    made = plan.restricted(deployment.plan, plan.Kind.CREATE_NETWORK)
    click.echo(plan.to_text(made), nl=False)
    deploy.execute(dataclasses.replace(deployment, plan=made))


@cli.group()
def overcloud() -> None:
    """The overcloud that FILE describes (default: examples/quickstart.yaml)."""


@overcloud.command("check")
@_file
@_hypervisor
def overcloud_check(file: pathlib.Path, hypervisor: str | None) -> None:
    """Say everything that is wrong with FILE, and all that speaks against deploying it here."""
    from altostratus import deploy, plan, status, undercloud

    wanted, document = load(file, hypervisor)
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
@_file
@_hypervisor
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

    made = deploy.prepare(*load(file, hypervisor)).plan
    if out:
        out.write_text(plan.to_json(made))
    click.echo(plan.to_json(made) if as_json else plan.to_text(made), nl=False)
    return Exit.CHANGES_PENDING if detailed_exitcode and made.steps else Exit.DONE


@overcloud.command("deploy")
@_file
@_hypervisor
@click.option(
    "--plan",
    "kept",
    type=click.Path(path_type=pathlib.Path, exists=True),
    help="Carry out exactly this plan, or refuse.",
)
def overcloud_deploy(file: pathlib.Path, hypervisor: str | None, kept: pathlib.Path | None) -> None:
    """Deploy FILE's overcloud, or bring it to what FILE says."""
    from altostratus import deploy, plan, status

    overcloud, document = load(file, hypervisor)
    deployment = deploy.prepare(overcloud, document)
    if kept and _read_plan(kept) != deployment.plan.as_data():
        raise errors.StalePlan(
            f"{kept} is no longer what there is to do",
            hint=f"look at the new one: ./altostratus overcloud plan {file}",
        )
    click.echo(plan.to_text(deployment.plan), nl=False)
    deploy.execute(deployment)
    if deployment.plan.steps:
        click.echo(status.to_text(status.read(overcloud)), nl=False)


def _read_plan(file: pathlib.Path) -> Any:
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError) as exc:
        raise errors.Error(
            f"{file} holds no plan: {exc}",
            hint=f"make one: ./altostratus overcloud plan --out {file}",
        ) from exc


@overcloud.command("verify")
@_file
@_hypervisor
@click.option("--tempest", "with_tempest", is_flag=True, help="And run OpenStack's smoke tests.")
def overcloud_verify(file: pathlib.Path, hypervisor: str | None, with_tempest: bool) -> None:
    """Use the overcloud as its users would."""
    from altostratus import tempest, verify

    wanted, _ = load(file, hypervisor)
    verify.overcloud(wanted)
    if with_tempest:
        click.echo(tempest.verify(wanted))
    click.echo("verified")


@overcloud.command("status")
@_file
@_hypervisor
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def overcloud_status(file: pathlib.Path, hypervisor: str | None, as_json: bool) -> None:
    """Say what the overcloud is at."""
    from altostratus import status

    found = status.read(load(file, hypervisor)[0])
    shown = json.dumps(dataclasses.asdict(found), indent=2, default=str) + "\n"
    click.echo(shown if as_json else status.to_text(found), nl=False)


@overcloud.command("why")
@click.argument("instance")
@_file
@_hypervisor
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def overcloud_why(instance: str, file: pathlib.Path, hypervisor: str | None, as_json: bool) -> None:
    """Say why INSTANCE runs where it does, or nowhere, and the shortest fix."""
    from altostratus import cloud, evidence, why

    wanted, document = load(file, hypervisor)
    found = next((one for one in wanted.instances if one.name == instance), None)
    if found is None:
        names = [one.name for one in wanted.instances]
        raise errors.Error(*errors.unknown("instance", instance, names))
    facts = evidence.read(cloud.connect("undercloud"), wanted, found, evidence.journal())
    explanation = why.explain(facts, document.file)
    click.echo(why.to_json(explanation) if as_json else why.to_text(explanation), nl=False)


@overcloud.command("renew")
@_file
@_hypervisor
@click.option("--authority", is_flag=True, help="And of the authority that signs it.")
def overcloud_renew(file: pathlib.Path, hypervisor: str | None, authority: bool) -> None:
    """Renew the certificates of the overcloud's instances, while requests go on."""
    from altostratus import deploy, plan

    deployment = deploy.prepare_renewal(*load(file, hypervisor), authority=authority)
    click.echo(plan.to_text(deployment.plan), nl=False)
    deploy.execute(deployment)


@overcloud.command("delete")
@_file
def overcloud_delete(file: pathlib.Path) -> None:
    """Remove the overcloud with all its state."""
    from altostratus import deploy

    wanted, _ = load(file, None)
    was_there = deploy.delete(wanted.name)
    there = "deleted" if was_there else "there was nothing of it"
    click.echo(f"overcloud {wanted.name}: {there}")


if __name__ == "__main__":
    main()
