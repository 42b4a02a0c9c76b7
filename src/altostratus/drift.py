"""What of instances is not as it was configured, as they say themselves, over ssh.

Only who has the overcloud's key learns it: it is where the overcloud was deployed from.
"""

from altostratus import errors, keypair, log, ssh

_PROGRAM = "configuration-drift"


def read(overcloud: str, server: str, address: str) -> tuple[str, ...]:
    """What is not as it was configured, in words; nothing where it cannot be learnt."""
    if not keypair.path(overcloud).exists():
        return ()
    done = ssh.run_in(overcloud, server, address, _PROGRAM)
    if done.returncode:
        log.debug(f"{address} does not say what differs: {done.stderr.strip()}")
        return ()
    return tuple(done.stdout.splitlines())


def mend(overcloud: str, server: str, address: str) -> None:
    """Have an instance configure itself again as it was told last.

    Raises :class:`errors.Error` if it cannot.
    """
    done = ssh.run_in(overcloud, server, address, f"{_PROGRAM} --mend")
    if done.returncode:
        key = keypair.path(overcloud)
        raise errors.Error(
            f"the instance at {address} could not configure itself again",
            hint=f"ssh -i {key} root@{address} tail -n 50 /run/altostratus/refresh.log",
        )
