"""Proves an overcloud with tempest, OpenStack's own test suite, from this machine.

Tempest has an environment of its own. What it needs in the overcloud (an image, flavors, an
external network) is made by name, each once.
"""

import collections.abc
import dataclasses
import hashlib
import pathlib
import re
import shutil
import sys
from typing import Any

import openstack

from altostratus import (
    cloud,
    credentials,
    errors,
    glance,
    guest,
    log,
    machine,
    releases,
    run,
    tempest_conf,
)
from altostratus.model import Network, Overcloud

_RELEASE = pathlib.Path(__file__).parents[2] / "releases" / releases.LATEST
_LOCK = _RELEASE / "tempest.txt"
EXCLUDED = _RELEASE / "tempest.exclude"
_NAME = "altostratus-tempest"
_EXTERNAL = "provider"
# Their names, and memory in MiB: two, because tests change from the one to the other.
_FLAVORS = ((_NAME, 192), (f"{_NAME}-larger", 224))
_PROCESSES = 2
_RESULT = re.compile(r"^\{\d+\} (\S+).* \.\.\. (ok|FAILED|SKIPPED)")
_SUMMARY = re.compile(r"^ - (Passed|Skipped|Failed): +(\d+)")

Connection = openstack.connection.Connection


@dataclasses.dataclass(slots=True)
class _Outcome:
    """What a run said so far."""

    failed: list[str] = dataclasses.field(default_factory=list)
    counts: dict[str, int] = dataclasses.field(default_factory=dict)
    done: int = 0


def verify(wanted: Overcloud) -> str:
    """Run the smoke tests of the deployed services; returns the result in words.

    Raises :class:`errors.VerifyFailed` with the names of those that failed.
    """
    programs = _environment()
    place = machine.state_dir() / "tempest" / wanted.name
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    with log.step("make what tempest needs in the overcloud"):
        facts = _facts(wanted, cloud.connect("overcloud"), place)
    workspace = _workspace(programs, place, tempest_conf.render(facts))
    report = place / "report.txt"
    with log.step("run tempest's smoke tests") as step:
        outcome = _run(programs, workspace, report, step)
    _keep_subunit(workspace, place / "report.subunit")
    _refuse_failures(outcome, report)
    passed, skipped = outcome.counts["Passed"], outcome.counts.get("Skipped", 0)
    return f"{passed} tests passed, {skipped} skipped; the report: {report}"


def _keep_subunit(workspace: pathlib.Path, target: pathlib.Path) -> None:
    """Keep the newest stream that stestr has recorded, for programs."""
    numbered = [path for path in (workspace / ".stestr").glob("*") if path.name.isdecimal()]
    if numbered:
        shutil.copy(max(numbered, key=lambda path: int(path.name)), target)


def _refuse_failures(outcome: _Outcome, report: pathlib.Path) -> None:
    hint = f"the whole report: {report}"
    if outcome.failed:
        names = "\n".join(f"  {name}" for name in sorted(outcome.failed))
        message = f"{len(outcome.failed)} of tempest's tests failed:\n{names}"
        raise errors.VerifyFailed(message, hint=hint)
    if not outcome.counts.get("Passed") or outcome.counts.get("Failed"):
        raise errors.VerifyFailed("tempest did not run its tests to the end", hint=hint)


def _environment() -> pathlib.Path:
    """The folder of tempest's programs, installed from the lock file unless they are."""
    digest = hashlib.sha256(_LOCK.read_bytes()).hexdigest()[:16]
    target = machine.cache_dir() / "tempest" / digest
    complete = target / "complete"
    if not complete.exists():
        shutil.rmtree(target.parent, ignore_errors=True)
        uv = str(pathlib.Path(sys.executable).with_name("uv"))
        with log.step("install tempest in an environment of its own"):
            run.run([uv, "venv", "--quiet", "--python", sys.executable, str(target)])
            run.run([uv, "pip", "install", "--quiet", "--python", str(target / "bin" / "python"),
                     "--require-hashes", "--requirements", str(_LOCK)])  # fmt: skip
        complete.touch()
    return target / "bin"


def _workspace(programs: pathlib.Path, place: pathlib.Path, configuration: str) -> pathlib.Path:
    workspace = place / "workspace"
    if not (workspace / ".stestr.conf").exists():
        shutil.rmtree(workspace, ignore_errors=True)
        run.run([str(programs / "tempest"), "init", "--name", f"{_NAME}-{place.name}",
                 "--workspace-path", str(place / "workspaces.yaml"), str(workspace)])  # fmt: skip
    file = workspace / "etc" / "tempest.conf"
    file.touch(mode=0o600)
    file.chmod(0o600)
    file.write_text(configuration)
    return workspace


def _run(
    programs: pathlib.Path, workspace: pathlib.Path, report: pathlib.Path, step: log.Step
) -> _Outcome:
    outcome = _Outcome()
    command = [
        str(programs / "tempest"), "run", "--smoke", "--exclude-list", str(EXCLUDED),
        "--concurrency", str(_PROCESSES),
    ]  # fmt: skip
    # stestr starts the tests with the first python on the path.
    environment = {
        "PATH": f"{programs}:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(workspace),
        "PYTHONUNBUFFERED": "1",
    }
    with report.open("w", buffering=1) as file:
        for line in run.lines(command, cwd=workspace, env=environment):
            file.write(f"{log.redact(line)}\n")
            _read(line, outcome, step)
    return outcome


def _read(line: str, outcome: _Outcome, step: log.Step) -> None:
    result, summary = _RESULT.match(line), _SUMMARY.match(line)
    if result:
        outcome.done += 1
        step.progress(f"{outcome.done}: {result[1]} {result[2]}")
        if result[2] == "FAILED":
            outcome.failed.append(result[1])
    elif summary:
        outcome.counts[summary[1]] = int(summary[2])


def _facts(wanted: Overcloud, connection: Connection, place: pathlib.Path) -> tempest_conf.Facts:
    entry = credentials.read("overcloud") or {}
    auth = entry["auth"]
    runs = tuple(service for instance in wanted.instances for service in instance.services)
    has_machines = "nova-compute" in runs
    has_networks = "neutron" in runs
    external = next((found for found in wanted.networks if found.name == _EXTERNAL), None)
    return tempest_conf.Facts(
        auth_url=auth["auth_url"],
        username=auth["username"],
        password=auth["password"],
        project=auth["project_name"],
        region=entry["region_name"],
        ca_file=entry.get("cacert") or "",
        services=runs,
        lock_path=str(place / "lock"),
        image=_image(connection) if has_machines else "",
        flavors=_flavors(connection) if has_machines else ("", ""),
        external_network=external_network(connection, external)
        if external and has_networks
        else "",
        extensions=tuple(_extensions(connection)) if has_networks else (),
        ssh_user=guest.SSH_USER,
    )


def _image(connection: Connection) -> str:
    """The id of the guest's image, which every project may use."""
    file = guest.build()
    for found in connection.image.images(name=file.stem, status="active"):
        if found.visibility == "public":
            return str(found.id)
        connection.image.delete_image(str(found.id), ignore_missing=True)
    identity = glance.load_file(connection, file, file.stem, "raw")
    connection.image.update_image(identity, visibility="public")
    return identity


def _flavors(connection: Connection) -> tuple[str, str]:
    first, second = (_flavor(connection, name, memory) for name, memory in _FLAVORS)
    return first, second


def _flavor(connection: Connection, name: str, memory_mib: int) -> str:
    compute = connection.compute
    found = compute.find_flavor(name) or compute.create_flavor(
        name=name, ram=memory_mib, vcpus=1, disk=1
    )
    return str(found.id)


def external_network(connection: Connection, wanted: Network) -> str:
    """The id of the overcloud's external network: flat, on the bridge of its compute nodes."""
    network: Any = connection.network
    found = network.find_network(wanted.name) or network.create_network(
        name=wanted.name,
        provider_network_type="flat",
        provider_physical_network=_EXTERNAL,
        is_router_external=True,
    )
    if not list(network.subnets(network_id=found.id)):
        last = wanted.cidr.broadcast_address - 1
        # The lower half is left to what else is on the network.
        first = wanted.cidr[wanted.cidr.num_addresses // 2]
        network.create_subnet(
            name=wanted.name,
            network_id=found.id,
            ip_version=4,
            cidr=str(wanted.cidr),
            gateway_ip=str(wanted.cidr[1]),
            allocation_pools=[{"start": str(first), "end": str(last)}],
            is_dhcp_enabled=False,
        )
    return str(found.id)


def _extensions(connection: Connection) -> collections.abc.Iterator[str]:
    for found in connection.network.extensions():
        yield str(found.alias)
