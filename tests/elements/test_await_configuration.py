"""What waits for an instance's configuration, against a Keystone and a Heat of a few lines."""

import collections.abc
import http.server
import importlib.machinery
import importlib.util
import json
import pathlib
import threading
from typing import Any

import pytest

PROGRAM = (
    pathlib.Path(__file__).parents[2]
    / "elements/agent-software/static/usr/local/sbin/await-configuration"
)


class Clouds(http.server.BaseHTTPRequestHandler):
    """Keystone and Heat; what they know and what they were asked is the server's."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        user = asked["auth"]["identity"]["password"]["user"]
        assert (user, self.path) == ({"id": "user", "password": "secret"}, "/v3/auth/tokens")
        self.server.tokens += 1  # type: ignore[attr-defined]
        endpoints = [
            {"interface": interface, "region": region, "url": f"{self._url()}/{interface}{region}"}
            for interface in ("internal", "public")
            for region in ("Elsewhere", "Here")
        ]
        catalog = [{"type": "orchestration", "endpoints": endpoints}]
        token = {"X-Subject-Token": f"token{self.server.tokens}"}  # type: ignore[attr-defined]
        self._answer(201, {"token": {"catalog": catalog}}, token)

    def do_GET(self) -> None:
        if self.path != "/publicHere/stacks/demo/1/resources/a%20server/metadata":
            self._answer(404, {})
        elif self.headers["X-Auth-Token"] != f"token{self.server.tokens}":  # type: ignore[attr-defined]
            self._answer(401, {})
        else:
            self._answer(200, {"metadata": self.server.metadata})  # type: ignore[attr-defined]

    def log_message(self, *_arguments: Any) -> None:
        pass

    def _url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"  # type: ignore[index]

    def _answer(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def server() -> collections.abc.Iterator[Any]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Clouds) as found:
        found.tokens, found.metadata = 0, {}  # type: ignore[attr-defined]
        thread = threading.Thread(target=found.serve_forever, args=(0.01,))
        thread.start()
        yield found
        found.shutdown()
        thread.join()


@pytest.fixture
def program() -> Any:
    loader = importlib.machinery.SourceFileLoader("await_configuration", str(PROGRAM))
    spec = importlib.util.spec_from_loader("await_configuration", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def access(server: Any) -> dict[str, str]:
    return {
        "auth_url": f"http://127.0.0.1:{server.server_address[1]}/v3",
        "user_id": "user",
        "password": "secret",
        "project_id": "project",
        "stack_id": "demo/1",
        "resource_name": "a server",
        "region_name": "Here",
    }


def test_a_token_is_used_while_it_is_good(server: Any, program: Any) -> None:
    heat = program.Heat()
    for number in range(3):
        server.metadata = {"number": number}
        assert heat.metadata(access(server)) == {"number": number}
    assert server.tokens == 1
    server.tokens = 7
    assert heat.metadata(access(server)) == {"number": 2}
    assert server.tokens == 8


def test_a_region_that_has_no_heat_is_named(server: Any, program: Any) -> None:
    with pytest.raises(program.Refused, match="no Heat for region Nowhere"):
        program.Heat().metadata({**access(server), "region_name": "Nowhere"})


def test_what_was_not_carried_out_is_and_nothing_else(
    server: Any, program: Any, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collect = tmp_path / "os-collect-config"
    # It fails the first time, as when a service does not start; then it keeps what it was told.
    collect.write_text(
        f'#!/bin/sh\necho "$*" >> {tmp_path}/runs\n'
        f"[ -e {tmp_path}/failed ] || {{ touch {tmp_path}/failed; exit 1; }}\n"
        f"cp {tmp_path}/now {tmp_path}/heat.json.last\n"
    )
    collect.chmod(0o755)
    config = tmp_path / "config"
    lines = [f"{name} = {value}" for name, value in access(server).items()]
    config.write_text("\n".join(("[DEFAULT]", "polling_interval = 10", "[heat]", *lines)))
    monkeypatch.setattr(program, "CONFIG", str(config))
    monkeypatch.setattr(program, "COLLECT", [str(collect), "--config-file", "it"])
    monkeypatch.setattr(program, "CARRIED_OUT", tmp_path / "heat.json.last")
    slept: list[int] = []

    def sleep(seconds: int) -> None:
        slept.append(seconds)
        if len(slept) == 4:
            server.metadata = {"deployments": ["new"]}
            (tmp_path / "now").write_text(json.dumps(server.metadata))
        if len(slept) == 7:
            raise InterruptedError

    server.metadata = {"deployments": []}
    (tmp_path / "now").write_text(json.dumps(server.metadata))
    monkeypatch.setattr(program.time, "sleep", sleep)
    with pytest.raises(InterruptedError):
        program.main()
    assert slept == [1, 2, 4, 8, 10, 10, 10]
    assert (tmp_path / "runs").read_text() == "--config-file it --one-time\n" * 3


def test_a_problem_is_said_once(
    program: Any, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    nobody = "[heat]\nauth_url = http://127.0.0.1:1/v3\nuser_id = u\npassword = secret\n"
    config = tmp_path / "config"
    config.write_text(f"[DEFAULT]\npolling_interval = 5\n{nobody}project_id = p\nstack_id = s/1\n")
    monkeypatch.setattr(program, "CONFIG", str(config))
    waits = iter(range(4))
    monkeypatch.setattr(program.time, "sleep", lambda _seconds: next(waits))
    with pytest.raises(StopIteration):
        program.main()
    said = capsys.readouterr().out
    assert said == "cannot ask Heat: [Errno 111] Connection refused\n"
