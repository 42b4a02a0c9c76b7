"""Nova's and the machine's parts that the tests put in place of the real ones."""

import contextlib
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
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
        self.fails = False

    def prepare(self) -> None:
        """There is nothing to load."""

    def plug(self, instance: Any, vif: Any) -> None:
        if self.fails:
            raise RuntimeError("OVSDB does not answer")
        self.ports[vif["devname"]] = instance.uuid

    def unplug(self, instance: Any, vif: Any) -> None:
        self.ports.pop(vif["devname"], None)


class FakeRoot(Root):
    """A machine whose network devices are a set of names; other programs succeed and do nothing."""

    def __init__(self) -> None:
        self.commands: list[str] = []
        self.devices: set[str] = set()

    def run(self, *command: str, stdin: str | None = None, ok: tuple[int, ...] = (0,)) -> str:
        self.commands.append(" ".join(command) + (f" <<< {stdin}" if stdin else ""))
        for line in (stdin or "").splitlines() if command[0] == "ip" else ():
            self._link(line.split())
        if command[:4] == ("ip", "-o", "link", "show"):
            return f"1: {command[-1]}\n" if command[-1] in self.devices else ""
        if command[0] == "ip" and "-batch" not in command:
            self._link(list(command[1:]))
        return ""

    def _link(self, words: list[str]) -> None:
        if words[:3] == ["link", "add", "name"]:
            self.devices |= {words[3], words[words.index("peer") + 2]}
        elif words[:2] == ["link", "delete"]:
            self.devices.discard(words[-1])
            self.devices.discard("ngu" + words[-1].removeprefix("tap"))
        elif words[:2] == ["link", "set"] and "netns" in words:
            self.devices.discard(words[2])

    def machine_devices(self) -> set[str]:
        return set(self.devices)


class RealRoot(Root):
    """The machine itself."""

    def machine_devices(self) -> set[str]:
        return {path.name for path in Path("/sys/class/net").iterdir()}


class FakeGlance:
    """A Glance that has the images it is given as files."""

    def __init__(self) -> None:
        self.images: dict[str, bytes] = {}
        self.downloads = 0

    def download(self, context: Any, image_id: str, dest_path: str) -> None:
        self.downloads += 1
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
