"""Docker Engine: one thin method for each thing asked of it, errors in Nova's words."""

import datetime
import functools
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import docker.errors
import requests
from nova import exception
from nova.compute import power_state
from oslo_utils import timeutils

from nova_altostratus import container
from nova_altostratus.conf import CONF


class EngineError(exception.NovaException):
    """The engine refused, failed or did not answer."""

    msg_fmt = "Docker Engine at %(engine)s: cannot %(what)s: %(reason)s"


@dataclass(frozen=True, slots=True)
class About:
    """What the driver must know of an engine."""

    version: str
    user_base: int  # the machine's id of an instance's root; 0 where there is no user namespace

    @property
    def version_number(self) -> int:
        """20010024 for `20.10.24+dfsg1`, in Nova's manner: three digits for each part."""
        words = self.version.partition("+")[0].split(".")[:3]
        parts = [int(word) for word in words if word.isdecimal()]
        return functools.reduce(lambda number, part: number * 1000 + part, parts, 0)


@dataclass(frozen=True, slots=True)
class Container:
    """A container as the engine describes it."""

    id: str
    labels: dict[str, str]
    status: str
    pid: int
    exit_code: int
    started: str

    @property
    def running(self) -> bool:
        """Whether it has processes, paused ones too."""
        return self.status in ("running", "paused")

    @property
    def power_state(self) -> int:
        """Nova's word for the state."""
        states = {"running": power_state.RUNNING, "paused": power_state.PAUSED}
        states["dead"] = power_state.CRASHED
        return states.get(self.status, power_state.SHUTDOWN)

    @property
    def age_s(self) -> int:
        """The seconds since it was started last."""
        return int((timeutils.utcnow(with_timezone=True) - _time(self.started)).total_seconds())


@dataclass(frozen=True, slots=True)
class Usage:
    """What a container uses: memory in bytes, of how much, and processor time.

    Of memory None where the engine finds no control group to look at.
    """

    memory: int | None
    memory_limit: int | None
    cpu_ns: int


@dataclass(frozen=True, slots=True)
class Root:
    """One of an instance's containers: its root file system, the next, or a previous one."""

    name: str
    image: str  # the engine's id
    labels: dict[str, str]


class Engine:
    """The engine of this machine, and on it the containers of this compute process."""

    def __init__(self, url: str | None = None) -> None:
        self.url = url or CONF.altostratus.docker_host
        self._client: Any = None
        self._connecting = threading.Lock()

    def about(self) -> About:
        """Return the engine's version and kind."""
        with self._saying("ask what it is") as client:
            info = client.info()
        return About(info["ServerVersion"], _user_base(info))

    def containers(self) -> list[dict[str, str]]:
        """Return the labels of the instances' containers of this compute process."""
        return [one.labels for one in self.roots() if one.name == _current(one.labels)]

    def roots(self, uuid: str | None = None) -> list[Root]:
        """Return all containers of an instance or of all, with next and previous ones."""
        filters = self.filters()
        if uuid:
            filters["label"].append(f"{container.LABEL}={uuid}")
        with self._saying("list containers") as client:
            found = client.containers(all=True, filters=filters)
        return [
            Root(one["Names"][0].removeprefix("/"), one["ImageID"], one["Labels"])
            for one in found
            if one["Names"]  # not while it is being removed
        ]

    def filters(self) -> dict[str, list[str]]:
        """Return the filter that leaves only what belongs to this compute process."""
        return {"label": [container.LABEL, f"{container.LABEL_HOST}={CONF.host}"]}

    def find(self, uuid: str) -> Container | None:
        """Return an instance's container, or None."""
        try:
            with self._saying(f"inspect the container of instance {uuid}") as client:
                found = client.inspect_container(container.name(uuid))
        except exception.NotFound:
            return None
        state = found["State"]
        return Container(
            id=found["Id"],
            labels=found["Config"]["Labels"] or {},
            status=state["Status"],
            pid=state["Pid"],
            exit_code=state["ExitCode"],
            started=state["StartedAt"],
        )

    def get(self, uuid: str) -> Container:
        """Return an instance's container.

        :raises InstanceNotFound: it has none
        """
        found = self.find(uuid)
        if found is None:
            raise exception.InstanceNotFound(instance_id=uuid)
        return found

    def create(self, name: str, spec: dict[str, Any]) -> None:
        """Create a container without starting it."""
        with self._saying(f"create container {name}") as client:
            client.create_container_from_config(spec, name)

    def rename(self, old: str, new: str) -> None:
        """Give a container another name."""
        with self._saying(f"rename container {old} to {new}") as client:
            client.rename(old, new)

    def start(self, uuid: str) -> None:
        """Start a container."""
        with self._saying(f"start instance {uuid}") as client:
            client.start(container.name(uuid))

    def stop(self, uuid: str, timeout_s: int) -> None:
        """Have a container shut down, and kill it if it has not after `timeout_s`."""
        with self._saying(f"stop instance {uuid}") as client:
            client.stop(container.name(uuid), timeout=timeout_s)

    def pause(self, uuid: str) -> None:
        """Freeze a container."""
        with self._saying(f"pause instance {uuid}") as client:
            client.pause(container.name(uuid))

    def unpause(self, uuid: str) -> None:
        """Thaw a container."""
        with self._saying(f"unpause instance {uuid}") as client:
            client.unpause(container.name(uuid))

    def remove(self, name: str) -> None:
        """Kill and remove a container; one that is not there is removed already."""
        try:
            with self._saying(f"remove container {name}") as client:
                client.remove_container(name, force=True, v=True)
        except exception.NotFound:
            return

    def log(self, uuid: str, lines: int) -> bytes:
        """Return the last lines that a container wrote to its console."""
        with self._saying(f"read the console of instance {uuid}") as client:
            return client.logs(container.name(uuid), tail=lines)

    def usage(self, uuid: str) -> Usage:
        """Return what a running container uses."""
        with self._saying(f"ask what instance {uuid} uses") as client:
            # Without a second sample, for which the engine would wait a second.
            found = client.stats(container.name(uuid), stream=False, one_shot=True)
        cpu_ns = found["cpu_stats"]["cpu_usage"]["total_usage"]
        memory = found["memory_stats"]
        if "usage" not in memory:
            return Usage(None, None, cpu_ns)
        # The same by the names of both versions of cgroups: files that can be read again.
        details = memory["stats"]
        idle = details.get("total_inactive_file", details.get("inactive_file", 0))
        return Usage(memory["usage"] - idle, memory["limit"], cpu_ns)

    def image_id(self, reference: str) -> str | None:
        """Return the engine's id of an image, or None."""
        try:
            with self._saying(f"inspect image {reference}") as client:
                return client.inspect_image(reference)["Id"]
        except exception.NotFound:
            return None

    def image_age_s(self, reference: str) -> float:
        """Return the seconds since an image got its name."""
        with self._saying(f"inspect image {reference}") as client:
            tagged = client.inspect_image(reference)["Metadata"]["LastTagTime"]
        return (timeutils.utcnow(with_timezone=True) - _time(tagged)).total_seconds()

    def images(self, repository: str) -> list[str]:
        """Return the tags of a repository's images."""
        with self._saying(f"list images of {repository}") as client:
            found = client.images(repository)
        return [tag for image in found for tag in image["RepoTags"] or ()]

    def load(self, archive: Path) -> None:
        """Load a docker-archive."""
        with self._saying(f"load image {archive.name}") as client, archive.open("rb") as data:
            for line in client.load_image(data):
                if "error" in line:
                    raise docker.errors.APIError(line["error"])

    def pull(self, reference: str) -> None:
        """Fetch an image, named by its digest, from the registry that the configuration names."""
        repository, _, digest = reference.partition("@")
        user, password = CONF.altostratus.registry_user, CONF.altostratus.registry_password
        auth = {"username": user, "password": password} if user else None
        with self._saying(f"pull image {reference}") as client:
            for line in client.pull(
                repository, tag=digest, auth_config=auth, stream=True, decode=True
            ):
                if "error" in line:
                    raise docker.errors.APIError(line["error"])

    def tag(self, image: str, repository: str, tag: str) -> None:
        """Give an image a name."""
        with self._saying(f"tag image {image}") as client:
            client.tag(image, repository, tag)

    def untag(self, reference: str) -> None:
        """Take a name from an image; without any, and unused, the image goes too."""
        try:
            with self._saying(f"remove image {reference}") as client:
                client.remove_image(reference)
        except exception.NotFound:
            return

    @contextmanager
    def events(self) -> Iterator[Any]:
        """Yield the stream of what happens to containers, as dicts; its `close()` ends it."""
        client = self._connect(timeout=None)
        try:
            filters = {**self.filters(), "type": ["container"]}
            yield client.events(filters=filters, decode=True)
        finally:
            client.close()

    def close(self) -> None:
        """Give the connection back; the next call makes another."""
        with self._connecting:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _connect(self, timeout: int | None) -> Any:
        # The library takes None for "without end"; its types do not know.
        return docker.APIClient(base_url=self.url, version="auto", timeout=timeout)  # type: ignore[arg-type]

    @contextmanager
    def _saying(self, what: str) -> Iterator[Any]:
        try:
            with self._connecting:
                if self._client is None:
                    self._client = self._connect(CONF.altostratus.docker_timeout)
            yield self._client
        except docker.errors.NotFound as error:
            raise exception.NotFound(f"cannot {what}: {error.explanation}") from error
        except docker.errors.APIError as error:
            reason = error.explanation or str(error)
            raise EngineError(engine=self.url, what=what, reason=reason) from error
        except (docker.errors.DockerException, requests.RequestException) as error:
            raise EngineError(engine=self.url, what=what, reason=error) from error


def _current(labels: dict[str, str]) -> str:
    return container.name(labels[container.LABEL])


def _time(text: str) -> datetime.datetime:
    # The engine's nanoseconds are more than Python's parser takes.
    return timeutils.parse_isotime(re.sub(r"\.\d+", "", text))


def _user_base(info: dict[str, Any]) -> int:
    if "name=userns" not in (info.get("SecurityOptions") or ()):
        return 0
    # The engine tells its map only by the folder that it keeps: .../<uid>.<gid>
    found = re.search(r"/(\d+)\.\d+/?$", info["DockerRootDir"])
    return int(found[1]) if found else 0
