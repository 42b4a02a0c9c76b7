"""The command line: parse, call one function, print; the only place that ends the process."""

import os
import pathlib
import sys
import tempfile
import traceback

import click

from altostratus import (
    cli_file,
    cli_image,
    cli_node,
    cli_overcloud,
    cli_undercloud,
    errors,
    log,
    run,
)
from altostratus.errors import Exit
from altostratus.phases import Phases

_ROOT = pathlib.Path(__file__).parents[2]
# Those that share nothing run on all processors at a time, before those that share a machine.
_FAST = ("-m", "not build and not real and not undercloud", "-n", "auto")
_TEST_RUNS: dict[str | None, tuple[tuple[str, ...], ...]] = {
    "fast": (_FAST,),
    "all": (_FAST, ("-m", "build or real or undercloud")),
    None: (_FAST, ("-m", "not build and (real or undercloud)")),
}
_ONE_RUN: dict[str | None, tuple[str, ...]] = {"fast": _FAST[:2], "all": ("-m", ""), None: ()}
_INTERRUPTED = 130


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
    except Exception as exc:  # noqa: BLE001 (whatever it is: this is where a bug ends)
        refused = _refusal(exc)
        return _tell(refused, exc) if refused else _bug()


def _refusal(exc: Exception) -> errors.Error | None:
    """What is told where OpenStack refused something, if that is what happened."""
    # Imported here: half of the time of a command that asks no cloud.
    import keystoneauth1.exceptions
    import openstack.exceptions

    kinds = (openstack.exceptions.SDKException, keystoneauth1.exceptions.ClientException)
    if not isinstance(exc, kinds):
        return None
    hint = "run it again with --debug, or look at the undercloud: ./altostratus undercloud status"
    return errors.Error(f"OpenStack refused: {exc}", hint)


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
    from altostratus import (
        deploy,
        machine,
        node,
        scaleout,
        status,
        undercloud,
        verify,
        virtualization,
    )

    overcloud, document = cli_file.load(file, hypervisor)
    deploy.check_machine(overcloud, document)
    phases = Phases()
    with phases.phase("prepare the machine"):
        machine.prepare()
        wanted = node.undercloud(overcloud)
        deploy.check_shares(overcloud, wanted.all_shares, document)
    with phases.phase("undercloud"):
        undercloud.up(wanted)
        scaleout.again()
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
def test(which: str | None, arguments: tuple[str, ...]) -> int:
    """Run the tests; ARGUMENTS are handed to pytest, and make it one run."""
    if which == "all":
        os.environ.setdefault("ALTOSTRATUS_TURN", "all")
    os.chdir(_ROOT)
    for options in [_ONE_RUN[which]] if arguments else _TEST_RUNS[which]:
        status = run.attached([sys.executable, "-m", "pytest", *options, *arguments])
        if status:
            return status
    return Exit.DONE


cli.add_command(cli_image.image)
cli.add_command(cli_node.node)
cli.add_command(cli_node.testbed)
cli.add_command(cli_overcloud.network)
cli.add_command(cli_overcloud.overcloud)
cli.add_command(cli_undercloud.undercloud)


if __name__ == "__main__":
    main()
