"""What Debian's archive offers of what the images hold: the part of an image's inputs that is no file.

Until the first refresh there is none, and images hold what the archive offered on the day that
their base was built. A refresh asks the archive; where it offers other versions of packages that
images hold, the snapshot names them, and with it every image has a new digest.
"""

import collections.abc
import json
import pathlib
import re
import tempfile

from altostratus import log, machine, registries, run


def read(debian: str) -> dict[str, str]:
    """The versions of packages by name; empty before the first refresh that found new ones."""
    path = _path(debian)
    return dict(json.loads(path.read_text())) if path.exists() else {}


def refresh(debian: str, held: collections.abc.Mapping[str, str]) -> dict[str, str]:
    """Take in the archive's updates; returns the versions that are new.

    ``held`` are the packages of the images as they are.
    """
    lists = machine.cache_dir() / "apt-lists" / debian
    known = {**read(debian), **held}
    with log.step(f"ask the archive of Debian {debian}"):
        offered = _offered(debian, lists, sorted(known))
    changed = changes(known, offered)
    if changed:
        _write(_path(debian), known | changed)
    return changed


def changes(
    known: collections.abc.Mapping[str, str], offered: collections.abc.Mapping[str, str]
) -> dict[str, str]:
    """What the archive offers in another version; what it no longer has stays as it is."""
    return {name: offered[name] for name in known if offered.get(name, known[name]) != known[name]}


def _offered(debian: str, lists: pathlib.Path, names: list[str]) -> dict[str, str]:
    (lists / "partial").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        sources = pathlib.Path(folder) / "sources.list"
        sources.write_text(registries.sources_list(debian))
        settings = {
            "Dir::Cache::pkgcache": "",
            "Dir::Cache::srcpkgcache": "",
            "Dir::Etc::sourcelist": str(sources),
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State::lists": str(lists),
            "Dir::State::status": "/dev/null",
        }
        options = [part for name, value in settings.items() for part in ("-o", f"{name}={value}")]
        run.run(["apt-get", *options, "-q", "update"])
        if not names:
            return {}
        said = run.run(["apt-cache", *options, "show", "--no-all-versions", *names], check=False)
    return parse(said.stdout)


def parse(records: str) -> dict[str, str]:
    """Name and version of each of apt's records."""
    found: dict[str, str] = {}
    for record in records.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Version): (.*)$", record, re.MULTILINE))
        if len(fields) == 2:
            found.setdefault(fields["Package"], fields["Version"])
    return found


def _path(debian: str) -> pathlib.Path:
    return machine.cache_dir() / "snapshots" / f"{debian}.json"


def _write(path: pathlib.Path, versions: collections.abc.Mapping[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(versions, indent=1, sort_keys=True) + "\n")
    new.replace(path)
