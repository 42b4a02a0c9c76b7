"""The one door into instances: programs that are run there as root, with the overcloud's key."""

from altostratus import keypair, run

_CONNECT_S = 3
# What ssh says where it is not the program that failed.
FAILED = 255


def run_in(overcloud: str, server: str, address: str, command: str) -> run.Completed:
    """Run a program as root of an instance, which is known again by its server's id."""
    key = keypair.path(overcloud)
    options = {
        "BatchMode": "yes",
        "ConnectTimeout": str(_CONNECT_S),
        "HostKeyAlias": server,
        "StrictHostKeyChecking": "accept-new",
        "UserKnownHostsFile": str(key.with_name("known_hosts")),
        "LogLevel": "ERROR",
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    return run.run(["ssh", "-i", str(key), *words, f"root@{address}", command], check=False)
