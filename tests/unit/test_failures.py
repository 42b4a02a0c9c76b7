"""What an operator is told of a failure: the instance, the service, its last lines, a command."""

import importlib.machinery
import importlib.util
import pathlib
import sys
import types

import pytest

from altostratus import failures, plan, spec
from altostratus.model import Hypervisor
from altostratus.observed import Provider
from tests.unit import golden

_ROOT = pathlib.Path(__file__).parents[2]
_SIGNAL = _ROOT / "elements/agent/static/usr/local/sbin/signal-deployments"
_FOLDER = "/usr/libexec/os-refresh-config"
_REFRESH_LOG = f"""\
[2026-01-01 00:00:00,000] (os-refresh-config) [INFO] Starting phase configure
dib-run-parts Thu Jan  1 00:00:00 UTC 2026 Running {_FOLDER}/configure.d/20-os-apply-config
dib-run-parts Thu Jan  1 00:00:00 UTC 2026 20-os-apply-config completed
dib-run-parts Thu Jan  1 00:00:00 UTC 2026 Running {_FOLDER}/configure.d/40-keystone
Job for keystone-api.service failed.
the unit keystone-api failed; the last lines of its journal:
bind(): Cannot assign requested address
[2026-01-01 00:00:01,000] (os-refresh-config) [ERROR] during configure phase. [...]

[2026-01-01 00:00:01,000] (os-refresh-config) [INFO] Calling error handlers.
dib-run-parts Thu Jan  1 00:00:01 UTC 2026 Running {_FOLDER}/error.d/99-signal
"""


@pytest.fixture
def made() -> plan.Plan:
    text = (_ROOT / "examples" / "quickstart.yaml").read_text()
    return golden.make_plan(spec.parse(text, "quickstart.yaml"), golden.empty_undercloud())


@pytest.fixture
def signal(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """The program that tells Heat; of the instance's libraries it has none here."""
    library = types.ModuleType("os_apply_config")
    library.collect_config = None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "os_apply_config", library)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader = importlib.machinery.SourceFileLoader("signal_deployments", str(_SIGNAL))
    spec_ = importlib.util.spec_from_loader("signal_deployments", loader)
    assert spec_ is not None
    module = importlib.util.module_from_spec(spec_)
    loader.exec_module(module)
    return module


def test_instance_reports_the_script_that_failed_and_what_it_said(
    signal: types.ModuleType, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "refresh.log"
    log.write_text(_REFRESH_LOG)
    monkeypatch.setattr(signal, "LOG", log)
    told = signal.report("failed")
    assert told["deploy_status_code"] == 1
    assert told["deploy_stderr"].splitlines() == [
        f"{_FOLDER}/configure.d/40-keystone failed:",
        "Job for keystone-api.service failed.",
        "the unit keystone-api failed; the last lines of its journal:",
        "bind(): Cannot assign requested address",
    ]


def test_service_that_failed_is_named_with_its_last_lines(made: plan.Plan) -> None:
    identity = made.overcloud.instance_of("keystone")
    assert identity
    lines = [f"line {number}" for number in range(30)]
    said = "\n".join([f"{_FOLDER}/configure.d/40-keystone failed:", *lines])
    cause = failures.configuration(made, identity, said)
    first, *rest = cause.text.splitlines()
    assert first == (
        "  instance identity: the service keystone could not be configured"
        " (configure.d/40-keystone failed):"
    )
    assert rest == [f"    line {number}" for number in range(10, 30)]
    address = made.addresses["identity"]["control"]
    assert cause.hint.startswith("ssh -i ")
    assert cause.hint.endswith(
        f"demo/ssh_key root@{address} journalctl -u os-collect-config -u 'keystone*'"
    )


def test_script_of_no_service_is_named_itself(made: plan.Plan) -> None:
    identity = made.overcloud.instance_of("keystone")
    assert identity
    said = f"{_FOLDER}/configure.d/20-os-apply-config failed:\nno such key"
    cause = failures.configuration(made, identity, said)
    assert cause.text.splitlines() == [
        "  instance identity: it could not be configured (configure.d/20-os-apply-config failed):",
        "    no such key",
    ]
    assert cause.hint.endswith("journalctl -u os-collect-config")


def test_missing_host_is_explained(made: plan.Plan) -> None:
    identity = made.overcloud.instance_of("keystone")
    assert identity
    provider = Provider("undercloud-docker", Hypervisor("docker"), 1024, 20, 512)
    cause = failures.no_host(identity, (provider,))
    assert cause.text.splitlines() == [
        "  instance identity: Nova found no host for it (No valid host was found):",
        "    undercloud-docker: identity needs 768 MiB of memory, and 512 of 1024 are free",
    ]
    assert cause.hint == "give identity less memory, or another hypervisor"
