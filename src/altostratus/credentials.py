"""The clouds' credentials in the user's ``clouds.yaml``, where every OpenStack client looks."""

import io
import os
import pathlib
from typing import Any

import ruamel.yaml

from altostratus import errors


def path() -> pathlib.Path:
    """The user's file: the one OpenStack's clients are told of, or their default."""
    named = os.environ.get("OS_CLIENT_CONFIG_FILE")
    if named:
        return pathlib.Path(named)
    base = os.environ.get("XDG_CONFIG_HOME") or pathlib.Path.home() / ".config"
    return pathlib.Path(base) / "openstack" / "clouds.yaml"


def write(
    name: str,
    *,
    auth_url: str,
    username: str,
    password: str,
    project: str,
    registry: dict[str, str] | None = None,
    authority: str | None = None,
) -> bool:
    """Set the entry of one cloud, all others and the comments kept; returns if it changed.

    ``registry`` is where the cloud's images' layers are brought to: a key of ours. ``authority``
    is the certificate of who signed the cloud's own: it is kept in a file beside.

    Raises :class:`errors.Error` if the file is there and cannot be understood.
    """
    entry: dict[str, Any] = {
        "auth": {
            "auth_url": auth_url,
            "username": username,
            "password": password,
            "project_name": project,
            "user_domain_name": "Default",
            "project_domain_name": "Default",
        },
        "region_name": "RegionOne",
        "identity_api_version": 3,
    }
    if registry:
        entry["registry"] = registry
    if authority:
        entry["cacert"] = str(_authority_path(name))
    content = _read()
    clouds = content.setdefault("clouds", {})
    if clouds.get(name) == entry and trusted(entry) == authority:
        return False
    if authority:
        _replace(_authority_path(name), authority, mode=0o644)
    clouds[name] = entry
    _write(content)
    return True


def remove(name: str) -> bool:
    """Remove the entry of one cloud; returns whether there was one."""
    content = _read()
    if name not in (content.get("clouds") or {}):
        return False
    del content["clouds"][name]
    _write(content)
    _authority_path(name).unlink(missing_ok=True)
    return True


def read(name: str) -> dict[str, Any] | None:
    """The entry of one cloud as plain data, or None."""
    found = (_read().get("clouds") or {}).get(name)
    return None if found is None else dict(found) | {"auth": dict(found["auth"])}


def trusted(entry: dict[str, Any]) -> str | None:
    """The certificate that an entry trusts, if it names one that is there."""
    file = pathlib.Path(entry["cacert"]) if "cacert" in entry else None
    return file.read_text() if file and file.is_file() else None


def _authority_path(name: str) -> pathlib.Path:
    return path().absolute().with_name(f"{name}-ca.pem")


def _yaml() -> ruamel.yaml.YAML:
    yaml = ruamel.yaml.YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    return yaml


def _read() -> Any:
    if not path().exists():
        return {}
    try:
        content = _yaml().load(path().read_text())
    except ruamel.yaml.error.YAMLError as exc:
        raise errors.Error(f"{path()} is not YAML: {exc}", hint="mend it, or move it away") from exc
    if content is None:
        return {}
    if not isinstance(content, dict) or not isinstance(content.get("clouds") or {}, dict):
        raise errors.Error(f"{path()} holds no mapping 'clouds'", hint="mend it, or move it away")
    if content.get("clouds", {}) is None:
        del content["clouds"]
    return content


def _write(content: Any) -> None:
    text = io.StringIO()
    _yaml().dump(content, text)
    _replace(path(), text.getvalue(), mode=0o600)


def _replace(target: pathlib.Path, text: str, *, mode: int) -> None:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Beside the real file: a link in its place stays a link.
    real = target.resolve()
    new = real.with_name(f".{real.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    new.replace(real)
