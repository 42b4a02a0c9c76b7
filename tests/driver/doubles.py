"""Nova's and the machine's parts that the tests put in place of the real ones."""

import contextlib
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from nova import exception
from nova_altostratus.root import Root


class FakeVirtAPI:
    """Nova's way to wait for Neutron, with a Neutron that does as it is told.

    `neutron` is one of: "at once", "late" (on another thread), "failed", "never".
    """

    def __init__(self) -> None:
        self.neutron = "late"
        self.waited_for: list[tuple[str, str]] = []

    @contextlib.contextmanager
    def wait_for_instance_event(
        self,
        instance: Any,
        event_names: Any,
        timeout: int = 300,
        error_callback: Any = None,
    ) -> Iterator[None]:
        self.waited_for = list(event_names)
        happened = threading.Event()
        if self.neutron == "at once":
            happened.set()
        yield
        if not event_names:
            return
        if self.neutron == "late":
            threading.Timer(0.2, happened.set).start()
        if self.neutron == "failed" and not error_callback(event_names[0][0], instance):
            return
        if self.neutron == "never" or not happened.wait(timeout):
            raise exception.InstanceEventTimeout("never came")


class FakeSwitch:
    """An Open vSwitch that keeps a list of its ports."""

    def __init__(self) -> None:
        self.ports: dict[str, str] = {}
        self.plugged = 0
        self.fails = False

    def prepare(self) -> None:
        """There is nothing to load."""

    def plug(self, instance: Any, vif: Any) -> None:
        if self.fails:
            raise RuntimeError("OVSDB does not answer")
        self.plugged += 1
        self.ports[vif["devname"]] = instance.uuid

    def unplug(self, instance: Any, vif: Any) -> None:
        self.ports.pop(vif["devname"], None)


class FakeRoot(Root):
    """A machine whose network devices live in namespaces; other programs succeed and do nothing.

    A device goes with its namespace, and with its peer.
    """

    def __init__(self) -> None:
        self.commands: list[str] = []
        self.namespaces: dict[str, dict[str, int]] = {"machine": {}}
        self.held: set[str] = set()
        self.ended: set[str] = set()
        self.words = lambda _pid: b""  # type: ignore[method-assign]
        self._last = 0

    @property
    def devices(self) -> set[str]:
        return set(self.namespaces["machine"])

    def run(self, *command: str, stdin: str | None = None, ok: tuple[int, ...] = (0,)) -> str:
        self.commands.append(" ".join(command) + (f" <<< {stdin}" if stdin else ""))
        place = "machine"
        if command[0] == "nsenter":
            place, command = command[1].partition("=")[2], command[3:]
        if command[0] != "ip":
            return ""
        if command[1:4] == ("-o", "link", "show"):
            return self._show(place, command[5:])
        lines = (stdin or "").splitlines() if "-batch" in command else [" ".join(command[1:])]
        for line in lines:
            self._link(place, line.split())
        return ""

    def _show(self, place: str, wanted: tuple[str, ...]) -> str:
        found = self.namespaces.get(place, {})
        return "".join(
            f"{number}: {name}@if{number ^ 1}: <UP>\n"
            for name, number in found.items()
            if not wanted or name in wanted
        )

    def _link(self, place: str, words: list[str]) -> None:
        devices = self.namespaces.setdefault(place, {})
        if words[:3] == ["link", "add", "name"]:
            self._last += 2
            devices |= {words[3]: self._last, words[words.index("peer") + 2]: self._last + 1}
        elif words[:2] == ["link", "delete"]:
            self._vanish(devices[words[-1]])
        elif words[:2] == ["link", "set"] and "netns" in words:
            name = words[words.index("netns") - 1]
            there = f"/proc/{words[-1]}/ns/net"
            self.namespaces.setdefault(there, {})[name] = devices.pop(name)
        elif words[:2] == ["link", "set"] and words[-2] == "name":
            devices[words[-1]] = devices.pop(words[-3])

    def _vanish(self, number: int) -> None:
        for devices in self.namespaces.values():
            for name in [one for one, found in devices.items() if found in (number, number ^ 1)]:
                del devices[name]

    @contextlib.contextmanager
    def network_held(self, pid: int) -> Iterator[str]:
        namespace = f"/proc/{pid}/ns/net"
        self.held.add(namespace)
        yield namespace
        self.held.discard(namespace)
        if namespace in self.ended:
            self.end(pid)

    def end(self, pid: int) -> None:
        """A process has ended: its namespace goes, unless somebody holds it."""
        namespace = f"/proc/{pid}/ns/net"
        self.ended.add(namespace)
        if namespace not in self.held:
            for number in list(self.namespaces.pop(namespace, {}).values()):
                self._vanish(number)

    def machine_devices(self) -> set[str]:
        return self.devices


class RealRoot(Root):
    """The machine itself."""

    def machine_devices(self) -> set[str]:
        return {path.name for path in Path("/sys/class/net").iterdir()}


class FakeGlance:
    """A Glance that has the images it is given as files."""

    def __init__(self) -> None:
        self.images: dict[str, bytes] = {}
        self.downloads = 0
        self.on_download: Callable[[], None] = lambda: None

    def download(self, context: Any, image_id: str, dest_path: str) -> None:
        self.downloads += 1
        self.on_download()
        try:
            Path(dest_path).write_bytes(self.images[image_id])
        except KeyError:
            raise exception.ImageNotFound(image_id=image_id) from None


def docker_archive(*tags: str, note: str = "") -> bytes:
    """Return a docker-archive of one image with one empty layer."""
    layer = _tar({})
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Labels": {"note": note}},
            "rootfs": {
                "type": "layers",
                "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"],
            },
        }
    ).encode()
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": list(tags), "Layers": ["layer.tar"]}]
    return _tar(
        {
            "layer.tar": layer,
            name: config,
            "manifest.json": json.dumps(manifest).encode(),
        }
    )


def _tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()
