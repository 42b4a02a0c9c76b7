"""The key pair that opens a cloud's instances to the operator: one per cloud, kept here only."""

import os
import pathlib
import shutil

import openstack
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from altostratus import machine, stack


def path(overcloud: str) -> pathlib.Path:
    """Where the private key is."""
    return machine.state_dir() / overcloud / "ssh_key"


def create(undercloud: openstack.connection.Connection, overcloud: str) -> None:
    """Make the key pair known to the undercloud, with the key that is here if there is one."""
    private = _read(path(overcloud)) or _make(path(overcloud))
    public = private.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    undercloud.compute.create_keypair(name=stack.keypair(overcloud), public_key=public.decode())


def delete(undercloud: openstack.connection.Connection, overcloud: str) -> bool:
    """Remove the key pair there and here; returns whether there was one."""
    name = stack.keypair(overcloud)
    found = undercloud.compute.find_keypair(name) is not None
    undercloud.compute.delete_keypair(name, ignore_missing=True)
    folder = path(overcloud).parent
    found = found or folder.exists()
    shutil.rmtree(folder, ignore_errors=True)
    return found


def _read(file: pathlib.Path) -> ed25519.Ed25519PrivateKey | None:
    if not file.exists():
        return None
    key = serialization.load_ssh_private_key(file.read_bytes(), password=None)
    return key if isinstance(key, ed25519.Ed25519PrivateKey) else None


def _make(file: pathlib.Path) -> ed25519.Ed25519PrivateKey:
    key = ed25519.Ed25519PrivateKey.generate()
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = file.with_name(f".{file.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as content:
        content.write(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.OpenSSH,
                serialization.NoEncryption(),
            )
        )
    new.replace(file)
    return key
