"""The schemas of an overcloud's databases in an upgrade: which software they do for, and copies.

Instances keep both on their state disks and say it over ssh: nothing of it is kept beside the tool.
"""

import collections.abc
import concurrent.futures
import dataclasses
import re
import shlex

from altostratus import errors, keypair, log, run, services, ssh
from altostratus.model import CONTROL, Overcloud
from altostratus.observed import Observed

_DATABASE = "mariadb"
_DIGITS = 16
_COPY = re.compile(r"(?P<service>[a-z]+)-(?P<version>[^-]+)-(?P<image>\w+) (?P<when>\S+)")


@dataclasses.dataclass(frozen=True, slots=True)
class Schema:
    """The schema of a service's databases: ``known`` are the versions of its software that it does
    for, that which made it last; ``software`` is the one that the instance has."""

    instance: str
    service: str
    software: str
    known: tuple[str, ...]

    @property
    def is_unfinished(self) -> bool:
        """Whether the schema still does for software of before."""
        return len(self.known) > 1


@dataclasses.dataclass(frozen=True, slots=True)
class Copy:
    """A copy of a service's databases, from before the instance with this image got another one.

    ``image`` is the beginning of the image's digest, ``when`` a moment in UTC.
    """

    service: str
    version: str
    image: str
    when: str = ""

    @property
    def name(self) -> str:
        """What the database's instance calls it."""
        return f"{self.service}-{self.version}-{self.image}"


@dataclasses.dataclass(frozen=True, slots=True)
class Instances:
    """The instances of an overcloud that is there, to be asked."""

    overcloud: Overcloud
    observed: Observed

    def ask(self, instance: str, *words: str) -> run.Completed:
        """Run a program in an instance, whatever its exit status.

        Raises :class:`errors.Error` if the instance cannot be reached.
        """
        server, deployed = self.observed.server_of(instance), self.observed.deployed(instance)
        key = keypair.path(self.overcloud.name)
        if not key.exists():
            raise errors.Error(
                f"the key to the instances of {self.overcloud.name} is not here: {key}",
                hint="run this where the overcloud was deployed from: databases are looked after"
                " from there",
            )
        if server is None or deployed is None:
            raise errors.Error(
                f"the instance {instance} is not there", hint="./altostratus overcloud deploy FILE"
            )
        address = deployed.addresses[CONTROL]
        done = ssh.run_in(self.overcloud.name, server.id, address, shlex.join(words))
        if done.returncode == ssh.FAILED:
            raise errors.Error(
                f"the instance {instance} cannot be reached: {done.stderr.strip()}",
                hint="./altostratus overcloud status",
            )
        return done

    def order(self, instance: str, *words: str) -> str:
        """Run a program in an instance; what it says.

        Raises :class:`errors.Error` if it fails, too.
        """
        done = self.ask(instance, *words)
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-8:]
            lines = "\n".join(f"  {line}" for line in said)
            message = f"'{words[0]} {words[1]}' failed in the instance {instance}:\n{lines}"
            raise errors.Error(message, hint="see what it says; nothing else was begun")
        return done.stdout


def holders(overcloud: Overcloud) -> list[str]:
    """The instances of services that have databases."""
    return [
        found.name
        for found in overcloud.instances
        if any(services.get(service).databases for service in found.services)
    ]


def read(instances: Instances) -> tuple[Schema, ...]:
    """The schemas of all services that have databases.

    Raises :class:`errors.Error` if an instance cannot be asked.
    """
    names = holders(instances.overcloud)
    with concurrent.futures.ThreadPoolExecutor(max_workers=16) as pool:
        said = list(pool.map(lambda name: instances.order(name, "database-schema", "list"), names))
    return tuple(
        Schema(name, service, software, tuple(known))
        for name, text in zip(names, said, strict=True)
        for service, software, *known in map(str.split, text.splitlines())
    )


def copies(instances: Instances) -> tuple[Copy, ...]:
    """The copies of databases that there are."""
    keeper = _keeper(instances)
    said = instances.order(keeper, "database-dump", "list") if keeper else ""
    return tuple(
        Copy(**known.groupdict()) for known in map(_COPY.fullmatch, said.splitlines()) if known
    )


def write_copy(instances: Instances, schema: Schema, image: str) -> None:
    """Copy a service's databases as they are, before an instance with this image gets another one.

    Raises :class:`errors.Error` if that fails.
    """
    keeper = _keeper(instances)
    if keeper:
        copy = Copy(schema.service, schema.software, image[:_DIGITS])
        with log.step(f"copy the databases of {schema.service}"):
            _dump(instances, keeper, "write", copy)


def lost_by(
    schemas: collections.abc.Iterable[Schema],
    there: collections.abc.Iterable[Copy],
    instance: str,
    image: str,
) -> tuple[Copy, ...]:
    """The copies that an instance needs which goes back to an image, if the schemas have moved:
    those of software that today's schemas no longer do for."""
    known = {found.service: found.known for found in schemas if found.instance == instance}
    return tuple(
        copy
        for copy in there
        if image.startswith(copy.image) and copy.version not in known.get(copy.service, ())
        if copy.service in known
    )


def has_moved(instances: Instances, copy: Copy) -> bool:
    """Whether the schema is another now than in a copy."""
    keeper = _keeper(instances)
    assert keeper is not None, "who has a copy is there"
    done = instances.ask(keeper, "database-dump", "has-moved", copy.name, *_databases(copy))
    return done.returncode == 0


def restore(instances: Instances, instance: str, copy: Copy) -> None:
    """Put a copy in the place of a service's databases; the service is stopped, and stays so.

    Raises :class:`errors.Error` if that fails.
    """
    keeper = _keeper(instances)
    assert keeper is not None, "who has a copy is there"
    with log.step(f"put back the databases of {copy.service} {copy.version}"):
        instances.order(instance, "database-schema", "leave", copy.service)
        _dump(instances, keeper, "restore", copy)


def to_text(finished: collections.abc.Sequence[Schema]) -> str:
    """The schemas that were finished, for people."""
    if not finished:
        return "Nothing to finish: all schemas are those of their software alone\n"
    return "".join(
        f"{one.service} in {one.instance}: {one.software} alone, no longer {', '.join(one.known[:-1])}\n"
        for one in finished
    )


def finish(instances: Instances, schema: Schema) -> None:
    """Take from a schema what only software of before needs.

    Raises :class:`errors.Error` if that fails.
    """
    with log.step(f"finish the schema of {schema.service}"):
        instances.order(schema.instance, "database-schema", "finish", schema.service)


def _keeper(instances: Instances) -> str | None:
    """The instance with the databases."""
    found = instances.overcloud.instance_of(_DATABASE)
    return found.name if found else None


def _dump(instances: Instances, keeper: str, action: str, copy: Copy) -> None:
    instances.order(keeper, "database-dump", action, copy.name, *_databases(copy))


def _databases(copy: Copy) -> tuple[str, ...]:
    return services.get(copy.service).databases
