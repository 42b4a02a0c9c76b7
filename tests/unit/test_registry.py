"""Layers go to the registry once, and the manifest tells an engine where they are."""

import collections.abc
import hashlib
import http.server
import json
import pathlib
import tarfile
import threading
import urllib.parse

import pytest

from altostratus import archive, errors, log, registry

USER, BASIC = "altostratus", "Basic YWx0b3N0cmF0dXM6c2VjcmV0"


class FakeRegistry(http.server.ThreadingHTTPServer):
    """A registry with blobs and manifests by digest, which refuses what is not what it says."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.uploads = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: FakeRegistry

    def log_message(self, *_arguments: object) -> None:
        """Nobody reads it."""

    def do_HEAD(self) -> None:
        digest = self.path.rpartition("/")[2]
        self._answer(200 if digest in self.server.blobs else 404)

    def do_POST(self) -> None:
        self._answer(202, Location="/v2/images/blobs/uploads/1?state=x")

    def do_PUT(self) -> None:
        place = urllib.parse.urlsplit(self.path)
        content = self.rfile.read(int(self.headers["Content-Length"]))
        found = f"sha256:{hashlib.sha256(content).hexdigest()}"
        if "/manifests/" in place.path:
            wanted, store = place.path.rpartition("/")[2], self.server.manifests
        else:
            (wanted,) = urllib.parse.parse_qs(place.query)["digest"]
            store = self.server.blobs
            self.server.uploads += 1
        if found == wanted:
            store[wanted] = content
        self._answer(201 if found == wanted else 400)

    def _answer(self, status: int, **headers: str) -> None:
        allowed = self.headers.get("Authorization") == BASIC
        self.send_response(status if allowed else 401)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture
def server() -> collections.abc.Iterator[FakeRegistry]:
    with FakeRegistry() as found:
        thread = threading.Thread(target=found.serve_forever, args=(0.02,))
        thread.start()
        yield found
        found.shutdown()
        thread.join()


@pytest.fixture
def images(tmp_path: pathlib.Path) -> list[pathlib.Path]:
    """Two images on the same base."""
    base = tmp_path / "base.tar"
    base.write_bytes(b"what both are on")
    found = []
    for name in ("keystone", "glance"):
        own = tmp_path / f"{name}.layer"
        own.write_text(f"what only {name} has")
        found.append(tmp_path / f"{name}.tar")
        archive.write_docker_archive([base, own], found[-1], "altostratus-image:1")
    return found


def push(server: FakeRegistry, image: pathlib.Path, password: str = "secret") -> bytes:
    with log.step("push") as step:
        return registry.push(registry.Registry(server.url, USER, password), image, step)


def test_manifest_names_the_layers_that_the_registry_has(
    server: FakeRegistry, images: list[pathlib.Path]
) -> None:
    text = push(server, images[0])
    assert server.manifests == {f"sha256:{hashlib.sha256(text).hexdigest()}": text}
    manifest = json.loads(text)
    for blob in (manifest["config"], *manifest["layers"]):
        assert len(server.blobs[blob["digest"]]) == blob["size"]
    config = json.loads(server.blobs[manifest["config"]["digest"]])
    assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]]
    with tarfile.open(images[0]) as content:
        (entry,) = json.load(content.extractfile("manifest.json"))  # type: ignore[arg-type]
    assert len(entry["Layers"]) == len(manifest["layers"])


def test_what_images_share_is_brought_once(
    server: FakeRegistry, images: list[pathlib.Path]
) -> None:
    push(server, images[0])
    first = server.uploads
    push(server, images[1])
    assert server.uploads == first + 2  # its own layer and its configuration
    push(server, images[1])
    assert server.uploads == first + 2


def test_refusal_is_said(server: FakeRegistry, images: list[pathlib.Path]) -> None:
    with pytest.raises(errors.Error, match="did not take") as refusal:
        push(server, images[0], "wrong")
    assert "401" in refusal.value.message
    assert server.blobs == {}


def test_absent_registry_is_said(images: list[pathlib.Path]) -> None:
    nowhere = registry.Registry("http://127.0.0.1:1", USER, "secret")
    with log.step("push") as step, pytest.raises(errors.Error, match="did not take"):
        registry.push(nowhere, images[0], step)
