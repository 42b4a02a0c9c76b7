"""What fails ends a deployment soon, by name and with its reason; mended, the next one goes on."""

import collections.abc
import contextlib
import json
import re
import subprocess
import time
from typing import Any

import pytest

from altostratus import cloud
from altostratus.errors import Exit
from tests.e2e import clouds

pytestmark = [pytest.mark.usefixtures("deployed"), pytest.mark.turn("failure")]

FILE = str(clouds.ROOT / "examples/quickstart.yaml")
HOST = "undercloud-docker"
# A second socket at an address that no instance has: uWSGI ends at once.
FAULT = "[Service]\nEnvironment=UWSGI_HTTP_SOCKET=203.0.113.1:9292\n"
DROP_IN = "/etc/systemd/system/glance-api.service.d"
BREAK = f"mkdir -p {DROP_IN} && cat > {DROP_IN}/fault.conf && systemctl daemon-reload"
MEND = f"rm -r {DROP_IN} && systemctl daemon-reload"
FAILED_AT = (
    "journalctl --unit glance-api --output short-unix --no-pager"
    " | awk '/Failed with result/ {print $1; exit}'"
)
TOLD_S = 60
BOOT_S = 120


def test_missing_host_is_explained() -> None:
    clouds.altostratus("overcloud", "delete")
    with contextlib.ExitStack() as stack:
        # After the checks, and before Nova looks for hosts.
        status, said = clouds.do_during(
            "create key pair",
            lambda _running: stack.enter_context(disabled(HOST)),
            *("overcloud", "deploy", FILE),
        )
        told = [why(instance) for instance in ("identity", "images")]
    assert status == Exit.FAILED, said
    # Heat may have come to one of them only.
    refused = [one for one in told if "No valid host was found" in one["server"]]
    assert refused, told
    for one in refused:
        assert one["candidates"] == []
        # Placement or, if it has not heard of it yet, the first filter.
        assert re.search("no candidates from Placement|ComputeFilter left 0", one["scheduler"])
        assert "its compute process is disabled: e2e" in one["result"]["text"]
        assert f"service set --enable {HOST}" in one["result"]["fix"]
    # Of those that want this hypervisor, the one that Heat came to first.
    words = r"instance (identity|images): Nova found no host for it \(No valid host was found\):"
    assert re.search(words, said), said
    assert f"    {HOST}: its compute process is disabled: e2e" in said
    assert f"hint: openstack --os-cloud undercloud compute service set --enable {HOST}" in said


def test_hypervisor_that_takes_no_instances_is_found_before_anything_starts() -> None:
    clouds.altostratus("overcloud", "delete")
    with disabled(HOST):
        done = clouds.altostratus("overcloud", "check", FILE, ok=False)
    assert done.returncode == Exit.FINDINGS
    assert f"takes no instances ({HOST}: its compute process is disabled: e2e)" in done.stderr


def test_failed_service_is_told_within_a_minute() -> None:
    planned = json.loads(clouds.altostratus("overcloud", "plan", "--json", FILE).stdout)
    address = planned["addresses"]["images"]["control"]

    def sabotage(_running: subprocess.Popen[str]) -> None:
        deadline = time.monotonic() + BOOT_S
        # Its turn comes when the database and Keystone are configured.
        while clouds.ssh(address, BREAK, FAULT).returncode:
            assert time.monotonic() < deadline
            time.sleep(1)

    status, said = clouds.do_during("register catalog", sabotage, "overcloud", "deploy", FILE)
    ended = time.time()
    assert status == Exit.FAILED, said
    assert "Traceback" not in said
    assert "instance images: the service glance could not be configured" in said
    assert "Cannot assign requested address" in said
    hint = rf"hint: ssh -i \S+ root@{re.escape(address)} journalctl .* -u 'glance\*'"
    assert re.search(hint, said), said
    assert ended - float(clouds.ssh(address, FAILED_AT).stdout) < TOLD_S
    assert clouds.ssh(address, MEND).returncode == 0


def test_next_deployment_goes_on() -> None:
    clouds.altostratus("overcloud", "deploy", FILE, timeout_s=clouds.DEPLOY_S)
    clouds.altostratus("overcloud", "verify", FILE)


def why(instance: str) -> Any:
    """What ``overcloud why`` says, as data."""
    return json.loads(clouds.altostratus("overcloud", "why", instance, FILE, "--json").stdout)


@contextlib.contextmanager
def disabled(host: str) -> collections.abc.Iterator[None]:
    """Have a compute process take no instances."""
    compute = cloud.connect("undercloud").compute
    (service,) = compute.services(binary="nova-compute", host=host)
    compute.disable_service(service, disabled_reason="e2e")
    try:
        yield
    finally:
        compute.enable_service(service)
