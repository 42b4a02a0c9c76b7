"""Machines without an operating system, for tests of bare metal, in a system container of their own.

Beside the undercloud and not in it: they are what it deploys to. Their BMCs are on the management
network, their NICs on a network that is joined to the undercloud's control bridge.
"""

import collections.abc
import dataclasses
import datetime
import json
import pathlib
import secrets as random
import uuid
from typing import Any

import yaml

from altostratus import (
    certificates,
    errors,
    images,
    imagespec,
    log,
    machine,
    metadata,
    model,
    systemcontainer,
    trunk,
    undercloud,
)

NAME = "testbed"
ADDRESS = "192.168.23.3"
BMC_PORT = 8000
USER = "admin"
_PASSWORD_LENGTH = 24


@dataclasses.dataclass(frozen=True, slots=True)
class Machine:
    """A virtual machine as its BMC and its NIC are known."""

    name: str
    memory_mb: int = 2048
    disk_gb: int = 10
    vcpus: int = 1

    @property
    def uuid(self) -> str:
        """Always the same for a name."""
        return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{self.name}.{NAME}"))

    @property
    def mac(self) -> str:
        """In the range that is QEMU's."""
        return "52:54:00:" + ":".join(self.uuid[n : n + 2] for n in (0, 2, 4))


def machines(count: int, memory_mb: int, disk_gb: int) -> tuple[Machine, ...]:
    """As many machines, all alike."""
    return tuple(Machine(f"{NAME}-{n}", memory_mb, disk_gb) for n in range(count))


def up(wanted: collections.abc.Sequence[Machine]) -> str:
    """Make these machines and no others; returns what ``node import`` takes.

    Raises :class:`errors.Error` if there is no undercloud with Ironic.
    """
    _refuse_without_ironic()
    image = imagespec.ImageSpec((NAME,), "docker", (NAME,), (NAME,))
    archive = images.build(image)
    engine, box = systemcontainer.connect(), the_box()
    tag = systemcontainer.load_image(engine, box, archive, imagespec.digest(image))
    known = _secrets()
    tree = describe(wanted, known, certificates.trusted(undercloud.known_secrets()) or "")
    (_folder() / "local-data").mkdir(mode=0o700, parents=True, exist_ok=True)
    systemcontainer.write_private(_folder() / "local-data" / f"{NAME}.json", tree)
    trunk.create(engine)
    systemcontainer.start(engine, box, tag)
    trunk.connect(engine, box.name)
    systemcontainer.follow_configuration(engine, box, tree["altostratus"]["digest"])
    return to_import(wanted, _write_password(known["password"]))


def down() -> None:
    """Remove it with its machines."""
    if not _folder().exists():
        return
    engine = systemcontainer.connect()
    systemcontainer.remove(engine, the_box())
    trunk.leave(engine)
    for path in sorted(_folder().rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    _folder().rmdir()


def the_box() -> systemcontainer.Box:
    """The container that it is in."""
    return systemcontainer.Box(
        what=NAME,
        name=f"altostratus-{NAME}",
        hostname=NAME,
        image=f"altostratus/{NAME}",
        volume=f"altostratus-{NAME}",
        network=undercloud.NETWORK,
        address=ADDRESS,
        metadata=_folder() / "local-data",
        shell=f"docker exec -it altostratus-{NAME} bash",
    )


def describe(
    wanted: collections.abc.Sequence[Machine],
    secrets: collections.abc.Mapping[str, str],
    authority: str,
) -> dict[str, Any]:
    """What it is configured with."""
    tree = {
        "tls": {
            "services": True,
            "certificate": secrets[certificates.of(NAME)],
            "authority": authority,
        },
        NAME: {
            "bind": ADDRESS,
            "user": USER,
            "password": secrets["password"],
            "machines": [
                dataclasses.asdict(one) | {"uuid": one.uuid, "mac": one.mac} for one in wanted
            ],
        },
    }
    about = {"cloud": NAME, "instance": NAME, "digest": metadata.digest(tree)}
    return {"altostratus": about, **tree}


def to_import(wanted: collections.abc.Sequence[Machine], password: pathlib.Path) -> str:
    """The machines as ``node import`` takes them."""
    nodes = {
        one.name: {
            "bmc": f"https://{ADDRESS}:{BMC_PORT}/redfish/v1/Systems/{one.uuid}",
            "user": USER,
            "password_file": str(password),
        }
        for one in wanted
    }
    return yaml.safe_dump({"nodes": nodes}, sort_keys=False)


def _folder() -> pathlib.Path:
    return machine.state_dir() / NAME


def _refuse_without_ironic() -> None:
    state = undercloud.status()
    if state == "configured" and "ironic_password" in undercloud.known_secrets():
        return
    what = "it has no Ironic" if state else "there is none"
    raise errors.Error(
        f"a testbed is for an undercloud with bare metal: {what}",
        hint="./altostratus undercloud up examples/undercloud/baremetal.yaml",
    )


def _secrets() -> dict[str, str]:
    """Its password and its certificate, which the undercloud's authority has signed."""
    kept = _folder() / "secrets.json"
    known = json.loads(kept.read_text()) if kept.exists() else {}
    name = certificates.of(NAME)
    now = datetime.datetime.now(datetime.UTC)
    signed = certificates.renewed(
        undercloud.known_secrets() | {key: known[key] for key in (name,) if key in known},
        model.UNDERCLOUD,
        {NAME: [ADDRESS]},
        now,
    )
    secrets = {
        "password": known.get("password") or random.token_urlsafe(_PASSWORD_LENGTH),
        name: signed[name],
    }
    log.hide(secrets.values())
    _folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    systemcontainer.write_private(kept, secrets)
    return secrets


def _write_password(password: str) -> pathlib.Path:
    path = _folder() / "password"
    path.touch(mode=0o600)
    path.write_text(password)
    return path
