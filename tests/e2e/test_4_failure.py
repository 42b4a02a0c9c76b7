"""A service that cannot be configured ends a deployment soon, by name; mended, the next one goes on."""

import json
import subprocess
import time

import pytest

from altostratus.errors import Exit
from tests.e2e import clouds

pytestmark = [pytest.mark.usefixtures("deployed"), pytest.mark.turn("combined")]

FILE = str(clouds.ROOT / "examples/quickstart.yaml")
SCRIPT = "/usr/libexec/os-refresh-config/configure.d/50-glance"
BREAK = f"""
set -eu
cp -a {SCRIPT} /root/glance
cat > {SCRIPT} <<'END'
#!/bin/bash
date +%s > /root/failed
echo 'the disk for images is not there' >&2
exit 3
END
"""
MEND = f"mv /root/glance {SCRIPT}; cat /root/failed"
TOLD_S = 60
BOOT_S = 120


def test_failed_service_is_told_within_a_minute() -> None:
    clouds.altostratus("overcloud", "delete")
    planned = json.loads(clouds.altostratus("overcloud", "plan", "--json", FILE).stdout)
    address = planned["addresses"]["images"]["control"]

    def sabotage(_running: subprocess.Popen[str]) -> None:
        deadline = time.monotonic() + BOOT_S
        while clouds.ssh(address, BREAK).returncode:
            assert time.monotonic() < deadline
            time.sleep(1)

    status, said = clouds.do_during("register catalog", sabotage, "overcloud", "deploy", FILE)
    ended = time.time()
    assert status == Exit.FAILED, said
    for words in ("images", "the disk for images is not there", f"root@{address} journalctl"):
        assert words in said
    assert ended - float(clouds.ssh(address, MEND).stdout) < TOLD_S


def test_next_deployment_goes_on() -> None:
    clouds.altostratus("overcloud", "deploy", FILE, timeout_s=clouds.DEPLOY_S)
    clouds.altostratus("overcloud", "verify", FILE)
