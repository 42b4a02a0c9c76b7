"""A stateful stand-in for Docker Engine: a real HTTP server on a unix socket.

It knows the part of the engine's API that the driver uses. A started container waits at its gate
like a real one: `booted` tells whether its init has been released.
"""

import contextlib
import datetime
import hashlib
import io
import itertools
import json
import os
import re
import secrets
import socketserver
import tarfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

GATE = "/run/altostratus.gate"
NO_SUCH_PROCESS = 2**22 + 1  # beyond the kernel's largest, as all above it


@dataclass
class FakeContainer:
    """What the engine remembers of a container."""

    name: str
    config: dict[str, Any]
    status: str = "created"
    exit_code: int = 0
    pid: int = 0
    booted: threading.Event = field(default_factory=threading.Event)
    log: bytes = b""
    started: datetime.datetime = field(default_factory=lambda: datetime.datetime.now(datetime.UTC))
    id: str = field(default_factory=lambda: secrets.token_hex(32))

    @property
    def gate(self) -> Path | None:
        for mount in self.config["HostConfig"]["Mounts"]:
            if mount["Target"] == GATE:
                return Path(mount["Source"])
        return None

    def wait_at_gate(self) -> None:
        """Do what the container's first process does."""
        if self.gate is None:
            return
        descriptor = os.open(self.gate, os.O_RDONLY | os.O_NONBLOCK)
        while self.status in ("running", "paused"):
            try:
                if os.read(descriptor, 10):
                    self.log += b"Welcome\r\n"
                    self.booted.set()
                    break
            except BlockingIOError:
                pass
            time.sleep(0.005)
        os.close(descriptor)


class FakeEngine:
    """The engine's state, its server, and the faults it is told to have."""

    def __init__(self, socket: Path, security: list[str] | None = None) -> None:
        self.socket = socket
        self.security = security or ["name=seccomp,profile=default"]
        self.root = "/var/lib/docker"
        self.has_control_groups = True
        self.memory_details = {"total_inactive_file": 80 << 20}
        self.containers: dict[str, FakeContainer] = {}
        self.images: dict[str, str] = {}
        self.registry: dict[str, str] = {}
        self.pulled_with: str | None = None
        self.tagged_at = datetime.datetime.now(datetime.UTC)
        self.faults: dict[str, str] = {}
        self.listeners: list[Any] = []
        self.on_end: Callable[[int], None] = lambda pid: None
        self.pids = itertools.count(NO_SUCH_PROCESS)
        self._server: Any = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    @property
    def is_closed(self) -> bool:
        return self._server is None

    def words(self, pid: int) -> bytes:
        """Return the command line of a container's first process."""
        (one,) = (one for one in self.containers.values() if one.pid == pid)
        # Its gate may have been opened just now, by a process that has died since.
        is_init = one.booted.wait(0.2)
        return b"/sbin/init" if is_init else one.config["Entrypoint"][-1].encode()

    def fail(self, action: str, message: str = "out of luck") -> None:
        """Refuse the next request of a kind: `create`, `start`, `stop`, `load`, ..."""
        self.faults[action] = message

    def serve(self) -> None:
        """Begin to answer."""
        engine = self

        class Handler(_Handler):
            state = engine

        class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
            daemon_threads = True

        self.socket.unlink(missing_ok=True)
        self._server = Server(str(self.socket), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """Stop to answer; containers stay as they are."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.shutdown()
        server.server_close()
        for listener in self.listeners:
            listener.end()
        self.listeners.clear()

    def set_status(self, one: FakeContainer, status: str, action: str, code: int = 0) -> None:
        one.status, one.exit_code = status, code
        if action == "die":
            self.on_end(one.pid)
        attributes = {**one.config["Labels"], "name": one.name, "exitCode": str(code)}
        event = {
            "Type": "container",
            "Action": action,
            "Actor": {"Attributes": attributes},
        }
        for listener in self.listeners:
            with contextlib.suppress(BrokenPipeError):
                listener.send(event)


class _Listener:
    def __init__(self, write: Callable[[bytes], Any]) -> None:
        self.write = write
        self.ended = threading.Event()

    def send(self, event: dict[str, Any]) -> None:
        self.chunk(json.dumps(event).encode() + b"\n")

    def chunk(self, data: bytes) -> None:
        self.write(b"%x\r\n%s\r\n" % (len(data), data))

    def end(self) -> None:
        self.ended.set()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: FakeEngine

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""

    def address_string(self) -> str:
        return "unix"

    def do_GET(self) -> None:
        self._route("GET")

    def do_POST(self) -> None:
        self._route("POST")

    def do_DELETE(self) -> None:
        self._route("DELETE")

    def _route(self, method: str) -> None:
        self.close_connection = self.state.is_closed
        if self.close_connection:
            return
        url = urlparse(self.path)
        self.query = {key: values[0] for key, values in parse_qs(url.query).items()}
        path = re.sub(r"^/v[\d.]+", "", unquote(url.path))
        self.body = self._read_body()
        for pattern, verb, name in _ROUTES:
            found = re.fullmatch(pattern, path)
            if found and verb == method:
                message = self.state.faults.pop(name, None)
                if message:
                    self._answer(500, {"message": message})
                else:
                    getattr(self, name)(*found.groups())
                return
        self._answer(501, {"message": f"the fake has no {method} {path}"})

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, status: int, body: Any = None) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        self._send(status, data, "application/json")

    def _send(self, status: int, data: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _container(self, name: str) -> FakeContainer | None:
        found = self.state.containers.get(name)
        if found is None:
            self._answer(404, {"message": f"No such container: {name}"})
        return found

    def version(self) -> None:
        self._answer(200, {"ApiVersion": "1.41", "Version": "20.10.24"})

    def info(self) -> None:
        self._answer(
            200,
            {
                "ServerVersion": "20.10.24+dfsg1",
                "SecurityOptions": self.state.security,
                "DockerRootDir": self.state.root,
            },
        )

    def list(self) -> None:
        wanted = json.loads(self.query.get("filters", "{}")).get("label", [])
        found = [
            {
                "Id": one.id,
                "Names": [f"/{one.name}"],
                "Labels": one.config["Labels"],
                "ImageID": one.config["Image"],
            }
            for one in self.state.containers.values()
            if all(_has(one.config["Labels"], label) for label in wanted)
        ]
        self._answer(200, found)

    def inspect(self, name: str) -> None:
        one = self._container(name)
        if one:
            running = one.status in ("running", "paused")
            state: dict[str, Any] = {"Status": one.status, "ExitCode": one.exit_code}
            state["StartedAt"] = one.started.strftime("%Y-%m-%dT%H:%M:%S.123456789Z")
            state["Pid"] = one.pid if running else 0
            tty = one.config.get("Tty", False)
            config = {
                "Labels": one.config["Labels"],
                "Tty": tty,
                "Image": one.config["Image"],
            }
            self._answer(200, {"Id": one.id, "State": state, "Config": config})

    def stats(self, name: str) -> None:
        one = self._container(name)
        if one is None:
            return
        # Without one-shot the engine takes two samples, and a second and more for them.
        assert (self.query["stream"], self.query["one-shot"]) == ("False", "True")
        memory = {"usage": 200 << 20, "limit": one.config["HostConfig"]["Memory"]}
        memory["stats"] = self.state.memory_details
        usage = {"cpu_usage": {"total_usage": 1_500_000_000}}
        has = self.state.has_control_groups
        self._answer(200, {"memory_stats": memory if has else {}, "cpu_stats": usage})

    def create(self) -> None:
        name, config = self.query["name"], json.loads(self.body)
        if name in self.state.containers:
            self._answer(409, {"message": f"The container name {name} is already in use"})
            return
        if config["Image"] not in {*self.state.images.values(), *self.state.images}:
            self._answer(404, {"message": f"No such image: {config['Image']}"})
            return
        one = FakeContainer(name, config)
        self.state.containers[name] = one
        self._answer(201, {"Id": one.id, "Warnings": []})

    def start(self, name: str) -> None:
        one = self._container(name)
        if one is None:
            return
        for mount in one.config["HostConfig"]["Mounts"]:
            if not os.path.exists(mount["Source"]):
                self._answer(400, {"message": f"bind source {mount['Source']} does not exist"})
                return
        if one.status != "running":
            one.booted.clear()
            one.pid = next(self.state.pids)
            self.state.set_status(one, "running", "start")
            threading.Thread(target=one.wait_at_gate, daemon=True).start()
        self._answer(204)

    def stop(self, name: str) -> None:
        self._end(name, 0 if int(self.query.get("t", 10)) else 137)

    def kill(self, name: str) -> None:
        self._end(name, 137)

    def _end(self, name: str, code: int) -> None:
        one = self._container(name)
        if one is None:
            return
        if one.status == "running":
            self.state.set_status(one, "exited", "die", code)
        self._answer(204)

    def rename(self, name: str) -> None:
        one, new = self._container(name), self.query["name"]
        if one is None:
            return
        if new in self.state.containers:
            self._answer(409, {"message": f"The container name {new} is already in use"})
            return
        one.name = new
        self.state.containers[new] = self.state.containers.pop(name)
        self._answer(204)

    def pause(self, name: str) -> None:
        self._change(name, "running", "paused", "pause")

    def unpause(self, name: str) -> None:
        self._change(name, "paused", "running", "unpause")

    def _change(self, name: str, old: str, new: str, action: str) -> None:
        one = self._container(name)
        if one is None:
            return
        if one.status != old:
            self._answer(409, {"message": f"Container {name} is not {old}"})
            return
        self.state.set_status(one, new, action)
        self._answer(204)

    def remove(self, name: str) -> None:
        one = self._container(name)
        if one is None:
            return
        if one.status in ("running", "paused"):
            self.state.set_status(one, "exited", "die", 137)
        del self.state.containers[name]
        self.state.set_status(one, "removed", "destroy")
        self._answer(204)

    def logs(self, name: str) -> None:
        one = self._container(name)
        if one:
            self._send(200, one.log, "application/octet-stream")

    def load(self) -> None:
        with tarfile.open(fileobj=io.BytesIO(self.body)) as archive:
            for entry in json.load(archive.extractfile("manifest.json")):  # type: ignore[arg-type]
                config = archive.extractfile(entry["Config"]).read()  # type: ignore[union-attr]
                identity = f"sha256:{hashlib.sha256(config).hexdigest()}"
                self.state.images[identity] = identity
                self.state.images.update(dict.fromkeys(entry["RepoTags"] or (), identity))
        self._answer(200, {"stream": "Loaded image\n"})

    def pull(self) -> None:
        name = f"{self.query['fromImage']}@{self.query['tag']}"
        self.state.pulled_with = self.headers.get("X-Registry-Auth")
        if name not in self.state.registry:
            self._answer(404, {"message": f"manifest for {name} not found"})
            return
        identity = self.state.registry[name]
        self.state.images.update({name: identity, identity: identity})
        self._answer(200, {"status": "Pull complete"})

    def tag(self, image: str) -> None:
        identity = self.state.images[image]
        self.state.images[f"{self.query['repo']}:{self.query['tag']}"] = identity
        self._answer(201)

    def image(self, reference: str) -> None:
        identity = self.state.images.get(reference)
        if identity is None:
            self._answer(404, {"message": f"No such image: {reference}"})
            return
        tagged = self.state.tagged_at.strftime("%Y-%m-%dT%H:%M:%S.123456789Z")
        self._answer(200, {"Id": identity, "Metadata": {"LastTagTime": tagged}})

    def images(self) -> None:
        (wanted,) = json.loads(self.query["filters"])["reference"]
        tags = [tag for tag in self.state.images if tag.startswith(f"{wanted}:")]
        self._answer(200, [{"Id": self.state.images[tag], "RepoTags": [tag]} for tag in tags])

    def untag(self, reference: str) -> None:
        if self.state.images.pop(reference, None) is None:
            self._answer(404, {"message": f"No such image: {reference}"})
            return
        self._answer(200, [{"Untagged": reference}])

    def events(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        listener = _Listener(self.wfile.write)
        self.state.listeners.append(listener)
        listener.ended.wait()
        with contextlib.suppress(BrokenPipeError):
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True


def _has(labels: dict[str, str], label: str) -> bool:
    key, equals, value = label.partition("=")
    return key in labels and (not equals or labels[key] == value)


_ROUTES = [
    (r"/version", "GET", "version"),
    (r"/info", "GET", "info"),
    (r"/events", "GET", "events"),
    (r"/containers/json", "GET", "list"),
    (r"/containers/create", "POST", "create"),
    (r"/containers/([^/]+)/json", "GET", "inspect"),
    (r"/containers/([^/]+)/stats", "GET", "stats"),
    (r"/containers/([^/]+)/start", "POST", "start"),
    (r"/containers/([^/]+)/stop", "POST", "stop"),
    (r"/containers/([^/]+)/kill", "POST", "kill"),
    (r"/containers/([^/]+)/pause", "POST", "pause"),
    (r"/containers/([^/]+)/unpause", "POST", "unpause"),
    (r"/containers/([^/]+)/rename", "POST", "rename"),
    (r"/containers/([^/]+)/logs", "GET", "logs"),
    (r"/containers/([^/]+)", "DELETE", "remove"),
    (r"/images/json", "GET", "images"),
    (r"/images/load", "POST", "load"),
    (r"/images/create", "POST", "pull"),
    (r"/images/(.+)/json", "GET", "image"),
    (r"/images/(.+)/tag", "POST", "tag"),
    (r"/images/(.+)", "DELETE", "untag"),
]
