"""This machine's package sources and certificates, in a form that a build can be handed.

Everything lands in one folder that is mounted in the build's chroot at :data:`MOUNT` and
unmounted before the image is packed: nothing of it may stay in an image.
"""

import collections.abc
import configparser
import os
import pathlib
import re
import shutil

from altostratus import errors, run

MOUNT = "/tmp/altostratus"

_BUNDLE = "ca-certificates.crt"
_APT = pathlib.Path("/etc/apt")
_APT_SETTING = re.compile(r"Acquire::(https?::.*|Retries|Check-Valid-Until|Check-Date) \".*\";")
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


def write(directory: pathlib.Path, debian: str) -> None:
    """Write ``sources.list``, ``apt.conf``, ``environment`` and the certificates there."""
    bundle = _bundle()
    if bundle:
        shutil.copyfile(bundle, directory / _BUNDLE)
    (directory / "sources.list").write_text(sources_list(debian))
    (directory / "apt.conf").write_text(_apt_settings(bundle is not None))
    exports = "".join(f"export {k}='{v}'\n" for k, v in sorted(environment(bundle).items()))
    # A virtual environment that was left without bytecode costs each start ten seconds.
    (directory / "environment").write_text(f"unset PYTHONDONTWRITEBYTECODE\n{exports}")


def sources_list(debian: str) -> str:
    """apt's sources of that Debian release, as this machine has them."""
    return "".join(f"deb {uri} {suite} main\n" for uri, suite in apt_sources(debian))


def proxies() -> dict[str, str]:
    """The proxy settings of this process's environment."""
    return {name: os.environ[name] for name in _PROXIES if name in os.environ}


def debian_mirror(debian: str) -> str:
    """Where this machine gets the release itself, neither updates nor security."""
    return next(uri for uri, suite in apt_sources(debian) if suite == debian)


def apt_sources(debian: str) -> list[tuple[str, str]]:
    """The mirror and suite of each of this machine's sources of that Debian release.

    Raises :class:`errors.Error` where the release or its security updates are missing: an image
    is built from what this machine's operator trusts, never from an address of ours.
    """
    wanted = (debian, f"{debian}-updates", f"{debian}-security")
    files = [_APT / "sources.list", *sorted((_APT / "sources.list.d").glob("*"))]
    found: dict[str, str] = {}
    for path in files:
        if path.suffix in (".list", ".sources") and path.is_file():
            parse = _deb822 if path.suffix == ".sources" else _one_line
            for uri, suite in parse(path.read_text()):
                if suite in wanted and uri.startswith("http"):
                    found.setdefault(suite, uri)
    missing = [suite for suite in (wanted[0], wanted[2]) if suite not in found]
    if missing:
        raise errors.Error(
            f"apt has no http source of {' and '.join(missing)} on this machine",
            hint=f"add one to {_APT}/sources.list.d: images are built from this machine's sources",
        )
    return [(found[suite], suite) for suite in wanted if suite in found]


def environment(bundle: pathlib.Path | None) -> dict[str, str]:
    """What uv and pip need to know in the chroot to reach the same index as here."""
    settings = {
        name: value
        for name, value in os.environ.items()
        if re.fullmatch(r"UV_(DEFAULT_INDEX|INDEX|INDEX_URL|EXTRA_INDEX_URL|HTTP_TIMEOUT)", name)
    }
    index = os.environ.get("PIP_INDEX_URL") or _pip_setting("index-url")
    if index:
        settings.setdefault("PIP_INDEX_URL", index)
        if not {"UV_DEFAULT_INDEX", "UV_INDEX_URL"} & settings.keys():
            settings["UV_DEFAULT_INDEX"] = index
    if bundle:
        settings["SSL_CERT_FILE"] = settings["PIP_CERT"] = f"{MOUNT}/{_BUNDLE}"
    return settings | proxies() | {"UV_CACHE_DIR": f"{MOUNT}/uv-cache", "UV_NO_CONFIG": "1"}


def _bundle() -> pathlib.Path | None:
    named = os.environ.get("SSL_CERT_FILE")
    path = pathlib.Path(named) if named else pathlib.Path("/etc/ssl/certs") / _BUNDLE
    return path if path.is_file() else None


def _pip_setting(name: str) -> str | None:
    config = configparser.ConfigParser(interpolation=None)
    home = pathlib.Path.home()
    config.read(["/etc/pip.conf", home / ".config/pip/pip.conf", home / ".pip/pip.conf"])
    return config.get("global", name, fallback=None)


def _apt_settings(has_bundle: bool) -> str:
    lines = run.run(["apt-config", "dump"]).stdout.splitlines()
    kept = [
        line
        for line in lines
        if _APT_SETTING.fullmatch(line)
        and not line.endswith('"";')
        and "cainfo" not in line.lower()
    ]
    if has_bundle:
        kept.append(f'Acquire::https::CAInfo "{MOUNT}/{_BUNDLE}";')
    return "".join(f"{line}\n" for line in kept)


def _one_line(text: str) -> collections.abc.Iterator[tuple[str, str]]:
    for line in text.splitlines():
        if found := re.match(r"deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s", f"{line} "):
            yield found[1], found[2]


def _deb822(text: str) -> collections.abc.Iterator[tuple[str, str]]:
    for stanza in re.split(r"\n\s*\n", text):
        fields = {
            name.lower(): value.split()
            for name, value in re.findall(r"^([A-Za-z-]+):\s*(.*)$", stanza, re.MULTILINE)
        }
        if "deb" in fields.get("types", ()) and fields.get("enabled") != ["no"]:
            for uri in fields.get("uris", ()):
                for suite in fields.get("suites", ()):
                    yield uri, suite
