"""What handlers of watches get, from the real agent and from ours, and the real `consul watch` against ours."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.agents import Agent, RealConsul, all_running, wait_settled, wait_until
from tests.loopback import LoopbackPool

pytestmark = pytest.mark.real_consul

WATCHES: dict[str, dict[str, Any]] = {
    "key": {"type": "key", "key": "watched"},
    "prefix": {"type": "keyprefix", "prefix": "tree/"},
    "services": {"type": "services"},
    "nodes": {"type": "nodes"},
    "service": {"type": "service", "service": "web", "tag": ["a", "b"]},
    "passing": {"type": "service", "service": "web", "passingonly": True},
    "checks": {"type": "checks", "service": "web"},
    "state": {"type": "checks", "state": "critical"},
    "events": {"type": "event"},
    "event": {"type": "event", "name": "deploy"},
    "agent": {"type": "agent_service", "service_id": "web-1"},
}
RECORD = """
import os, sys
with open(sys.argv[1], "ab") as file:
    file.write(os.environb[b"CONSUL_INDEX"] + b" " + sys.stdin.buffer.read())
"""
REGISTRATION = {
    "Node": "external",
    "Address": "10.0.0.1",
    "NodeMeta": {"b": "1", "a": "<&>"},
    "Service": {"Service": "web", "ID": "w2", "Tags": ["a", "b"], "Port": 80, "Meta": {"z": "1"}},
    "Check": {
        "Name": "c",
        "Status": "passing",
        "ServiceID": "w2",
        "Definition": {"HTTP": "http://x", "Interval": "90s"},
    },
}
OWN = {"Name": "web", "ID": "web-1", "Tags": ["a", "b"], "Port": 99, "Check": {"TTL": "30m"}}


def config(directory: Path, url: str) -> dict[str, Any]:
    """Every watch writes what it gets to a file of its own."""
    record = directory / "record.py"
    directory.mkdir(parents=True, exist_ok=True)
    record.write_text(RECORD)
    watches = [
        {**watch, "args": [sys.executable, str(record), str(directory / f"seen-{name}")]}
        for name, watch in WATCHES.items()
    ]
    shell = {"type": "key", "key": "watched", "handler": f"cat > {directory}/shell; exit 3"}
    by_http = {
        "type": "key",
        "key": "watched",
        "handler_type": "http",
        "http_handler_config": {"path": url, "method": "PUT", "header": {"x-foo": ["a", "b"]}, "timeout": "5s"},
    }
    return {"disable_coordinates": True, "watches": [*watches, shell, by_http]}


class Receiver:
    """An HTTP server that keeps what it gets and answers 500."""

    def __init__(self, address: str) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.requests.append((self.requestline, dict(self.headers), body))
                self.send_response(500)
                self.end_headers()

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer((address, 0), Handler)
        self.url = f"http://{address}:{self.server.server_port}/changed?x=y"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def masked(agent: Agent | RealConsul, text: str) -> str:
    text = text.replace(agent.address, "ADDRESS")
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID", text)
    text = re.sub(r'"ContentHash":"\w+"', '"ContentHash":"HASH"', text)
    text = re.sub(r'Index":\d+', 'Index":N', text)
    return re.sub(r"^\d+ ", "INDEX ", text, flags=re.MULTILINE)


def last_line(agent: Agent | RealConsul, name: str) -> str:
    """The newest call of a handler: how many there were before depends on how fast the agent is."""
    path = agent.directory / f"seen-{name}"
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    if lines and name == "services":  # Consul gives the tags of a service in any order
        index, _, data = lines[-1].partition(" ")
        lines = [f"{index} {json.dumps({key: sorted(tags) for key, tags in json.loads(data).items()})}"]
    return masked(agent, lines[-1]) if lines else ""


def change_everything(agent: Agent | RealConsul) -> None:
    for method, path, body in (
        ("PUT", "/v1/kv/watched?flags=18446744073709551615", b"<&>\xff"),
        ("PUT", "/v1/kv/tree/a", b"1"),
        ("PUT", "/v1/kv/tree/b", b"2"),
        ("PUT", "/v1/catalog/register", REGISTRATION),
        ("PUT", "/v1/agent/service/register", OWN),
        ("PUT", "/v1/event/fire/deploy", b"payload"),
    ):
        assert agent.http(method, path, body).status == 200, path


@pytest.fixture(scope="module")
def agents(real_consul: Path, loopback: LoopbackPool, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The real agent and ours with the same watches, everything having changed once."""
    made: list[Any] = []
    addresses = loopback(), loopback()
    receivers = [Receiver(address) for address in addresses]
    directories = tmp_path_factory.mktemp("real"), tmp_path_factory.mktemp("ours")
    settings = [config(directory, receiver.url) for directory, receiver in zip(directories, receivers, strict=True)]
    made.append(RealConsul(addresses[0], directories[0], real_consul, config=settings[0]))
    made.append(Agent(addresses[1], directories[1], config=settings[1]))
    with all_running(*made):
        for agent in made:
            wait_settled(agent)
            change_everything(agent)
        for agent in made:  # the agent's own service has come to the catalog, with its check
            wait_until(lambda agent=agent: "web-1" in last_line(agent, "service"), 60, "the service in a handler")
            wait_until(lambda agent=agent: "service:web-1" in last_line(agent, "state"), 60, "its check in a handler")
        yield made, receivers


@pytest.mark.parametrize("name", WATCHES)
def test_programs_get_the_same_bytes(agents: Any, name: str) -> None:
    real, ours = agents[0]

    def same() -> bool:
        return bool(last_line(real, name)) and last_line(ours, name) == last_line(real, name)

    try:
        wait_until(same, 60)
    except AssertionError:
        assert last_line(ours, name) == last_line(real, name)
        raise


def test_a_command_line_for_the_shell_works_and_its_failure_is_logged(agents: Any) -> None:
    for agent in agents[0]:
        wait_until(lambda agent=agent: "18446744073709551615" in (agent.directory / "shell").read_text(), what="data")
        agent.wait_output('error="exit status 3"')
        agent.wait_output("The 'handler' field in watches has been deprecated")


def test_http_requests_are_the_same(agents: Any) -> None:
    found = []
    for agent, receiver in zip(*agents, strict=True):
        wait_until(lambda got=receiver.requests: got and got[-1][2] != b"null\n", what="a request")
        line, headers, body = receiver.requests[-1]
        kept = {k: v for k, v in headers.items() if k not in ("Host", "X-Consul-Index", "Content-Length", "Connection")}
        assert int(headers["X-Consul-Index"]) > 1
        found.append((line, kept, masked(agent, body.decode())))
        agent.wait_output('status="500 Internal Server Error"')
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "arguments",
    [
        ["-type=key", "-key=watched"],
        ["-type=keyprefix", "-prefix=tree/"],
        ["-type=services"],
        ["-type=nodes", "-stale"],
        ["-type=service", "-service=web", "-passingonly=true"],
        ["-type=checks", "-service=web"],
        ["-type=event", "-name=deploy"],
    ],
    ids=" ".join,
)
def test_both_programs_show_the_same_of_our_agent(agents: Any, arguments: list[str]) -> None:
    real, ours = agents[0]
    environment = {"CONSUL_HTTP_ADDR": f"{ours.address}:{ours.http_port}", "PATH": "/usr/bin:/bin"}
    command = [str(real.binary), "watch", *arguments]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=True)
    assert shown.stdout == ours.cli("watch", *arguments).stdout
    json.loads(shown.stdout)


@pytest.mark.parametrize("real_program", [True, False])
def test_a_program_is_run_at_every_change(agents: Any, real_program: bool, tmp_path: Path) -> None:
    real, ours = agents[0]
    out = tmp_path / "out"
    program = [str(real.binary)] if real_program else [sys.executable, "-m", "cli.main"]
    command = [*program, "watch", "-type=key", f"-key=follow{real_program}", f"cat >> {out}"]
    environment = {**ours.environment(), "CONSUL_HTTP_ADDR": f"{ours.address}:{ours.http_port}"}
    process = subprocess.Popen(command, env=environment)
    try:
        wait_until(lambda: out.exists() and out.read_text() == "null\n", what="the first call")
        ours.http("PUT", f"/v1/kv/follow{real_program}", b"x")
        wait_until(lambda: '"Value":"eA=="' in out.read_text(), what="the second call")
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
