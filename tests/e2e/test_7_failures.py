"""What an operator is told when a deployment fails: where, why, and what to look at next."""

import collections.abc
import contextlib
import json
import re
import time

import pytest

from altostratus import cloud
from altostratus.errors import Exit
from tests.e2e import clouds

pytestmark = [pytest.mark.usefixtures("deployed"), pytest.mark.turn("combined")]

HOST = "undercloud-docker"
TOLD_S = 60
BOOTED_S = 120
# A second socket at an address that no instance has: uWSGI ends at once.
FAULT = "[Service]\nEnvironment=UWSGI_HTTP_SOCKET=203.0.113.1:9292\n"
DROP_IN = "/etc/systemd/system/glance-api.service.d"
BREAK = f"mkdir -p {DROP_IN} && cat > {DROP_IN}/fault.conf && systemctl daemon-reload"
MEND = f"rm -r {DROP_IN} && systemctl daemon-reload"
FAILED_AT = (
    "journalctl --unit glance-api --output short-unix --no-pager"
    " | awk '/Failed with result/ {print $1; exit}'"
)


def test_missing_host_is_explained() -> None:
    clouds.altostratus("overcloud", "delete")
    with disabled(HOST):
        checked = clouds.altostratus("overcloud", "check", ok=False)
    assert checked.returncode == Exit.FINDINGS
    assert f"({HOST}: its compute process is disabled: e2e)" in checked.stderr
    # After the check, and before Nova looks for hosts.
    with clouds.running_to("create key pair", "overcloud", "deploy") as running, disabled(HOST):
        assert running.stdout is not None
        said = running.stdout.read()
    assert running.returncode == Exit.FAILED, said
    assert "instance identity: Nova found no host for it (No valid host was found):" in said
    assert f"    {HOST}: its compute process is disabled: e2e" in said
    assert f"hint: openstack --os-cloud undercloud compute service set --enable {HOST}" in said


def test_service_that_does_not_start_is_told_at_once() -> None:
    clouds.altostratus("overcloud", "delete")
    planned = json.loads(clouds.altostratus("overcloud", "plan", "--json").stdout)
    address = planned["addresses"]["images"]["control"]
    with clouds.running_to("create stack", "overcloud", "deploy") as running:
        # Its turn comes when the database and Keystone are configured.
        run_when_booted(address, BREAK, FAULT)
        assert running.stdout is not None
        said = running.stdout.read()
        told_at = time.time()
    assert running.returncode == Exit.FAILED, said
    assert told_at - float(clouds.at(address, FAILED_AT).stdout) < TOLD_S
    assert "Traceback" not in said
    assert "instance images: the service glance could not be configured" in said
    assert "Cannot assign requested address" in said
    hint = rf"hint: ssh -i \S+ root@{re.escape(address)} journalctl .*-u 'glance\*'"
    assert re.search(hint, said), said


def test_what_failed_is_completed_once_the_cause_is_gone() -> None:
    clouds.in_instance("images", MEND)
    clouds.altostratus("overcloud", "deploy", timeout_s=clouds.DEPLOY_S)
    clouds.altostratus("overcloud", "verify")


@contextlib.contextmanager
def disabled(host: str) -> collections.abc.Iterator[None]:
    """A compute process that takes no instances."""
    compute = cloud.connect("undercloud").compute
    (service,) = compute.services(binary="nova-compute", host=host)
    compute.disable_service(service, disabled_reason="e2e")
    try:
        yield
    finally:
        compute.enable_service(service)


def run_when_booted(address: str, script: str, stdin: str) -> None:
    deadline = time.monotonic() + BOOTED_S
    while (done := clouds.at(address, script, stdin)).returncode != 0:
        assert time.monotonic() < deadline, done.stderr
        time.sleep(0.5)
