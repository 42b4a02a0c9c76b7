"""What an instance takes beside its services: systemd, its journal, sshd and the collector."""

from tests.e2e import clouds

_PSS = """python3 - <<'PROGRAM'
import pathlib, re
BASE = r"(/|:)(init.scope|(systemd-\\w+|ssh|os-collect-config|dbus|cron)\\.service)$"
total = 0
for process in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        groups = (process / "cgroup").read_text()
        if process.name == "1" or re.search(BASE, groups, re.MULTILINE):
            found = re.search(r"^Pss: *(\\d+)", (process / "smaps_rollup").read_text(), re.MULTILINE)
            total += int(found[1]) if found else 0
    except OSError:
        pass
print(total)
PROGRAM
"""


def beside_services(file: str) -> dict[str, int]:
    """MiB of proportional set size, by instance."""
    return {
        one["name"]: int(clouds.in_instance(one["name"], _PSS)) // 1024
        for one in clouds.status(file)["instances"]
    }
