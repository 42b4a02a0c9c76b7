"""The config drive's content as a directory, for instances that have no drives."""

import copy
import os
import shutil
from pathlib import Path
from typing import Any

from nova.api.metadata import base as metadata

TARGET = "/var/lib/cloud/seed/config_drive"


def write(
    directory: Path,
    instance: Any,
    files: Any,
    admin_password: str | None,
    network_info: Any,
    owner: int = 0,
) -> None:
    """Write an instance's config drive into a directory that only `owner` can read."""
    extra = {"admin_pass": admin_password} if admin_password else {}
    content = metadata.InstanceMetadata(
        instance, content=files, extra_md=extra, network_info=without_dhcp(network_info)
    ).metadata_for_config_drive()
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700)
    for name, data in content:
        _write_file(directory / name, data if isinstance(data, bytes) else data.encode())
    give(directory, owner)


def without_dhcp(network_info: Any) -> Any:
    """Return the same networks with fixed addresses: an instance must not lose its own while the
    DHCP agent is away, nor wait for it at boot."""
    fixed = copy.deepcopy(network_info)
    for vif in fixed:
        for subnet in vif["network"]["subnets"]:
            for sign in ("dhcp_server", "enable_dhcp"):
                subnet["meta"].pop(sign, None)
    return fixed


def _write_file(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(data)


def give(directory: Path, owner: int) -> None:
    """Make `owner` the user and group of a directory and of all in it."""
    for path in (directory, *directory.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
        os.chown(path, owner, owner)
