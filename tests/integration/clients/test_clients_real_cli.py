"""The command line program of the real Consul, used on the real agent and on ours: it must not notice."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.agents import Agent, RealConsul, all_running, wait_settled, wait_until
from tests.integration.differential.exchange import mask
from tests.loopback import LoopbackPool

pytestmark = pytest.mark.real_consul

CONFIG = {"disable_remote_exec": False, "disable_coordinates": True}
PATIENCE_S = 60
_MASKS = (
    (re.compile(r"\d+(\.\d+)?(ns|µs|ms|s)\b"), "DURATION"),
    (re.compile(r"(Modify|Create|Lock)?Index(\s+)\d+"), r"\1Index\2NUMBER"),
    (re.compile(r"index \d+"), "index NUMBER"),
    (re.compile(r"\b[0-9a-f]{8}\b"), "SHORT-ID"),
    (re.compile(r" {2,}"), "  "),  # columns are as wide as the address
)


class Cli:
    """The real program, pointed at one agent."""

    def __init__(self, binary: Path, agent: RealConsul | Agent, directory: Path) -> None:
        self.agent, self._binary, self._directory = agent, binary, directory
        directory.mkdir()
        self._environment = {"PATH": os.environ["PATH"], "CONSUL_HTTP_ADDR": f"{agent.address}:{agent.http_port}"}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        command = [str(self._binary), *arguments]
        return subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=pipe, env=self._environment, cwd=self._directory, text=True
        )

    def run(self, *arguments: str, given: str = "") -> tuple[int, str, str]:
        """Exit code and both outputs, masked; lines in the order of maps are sorted."""
        process = self.start(*arguments)
        out, err = process.communicate(given, timeout=PATIENCE_S)
        return process.returncode, self._masked(out), self._masked(err)

    def _masked(self, text: str) -> str:
        text = mask(text, self.agent.address)
        for pattern, replacement in _MASKS:
            text = pattern.sub(replacement, text)
        return text

    def file(self, name: str, content: str) -> None:
        (self._directory / name).write_text(content)

    def path(self, name: str) -> Path:
        return self._directory / name


@pytest.fixture(scope="module")
def clis(
    real_consul: Path, loopback: LoopbackPool, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Cli, Cli]]:
    """The program with the real agent, and with ours."""
    directory = tmp_path_factory.mktemp("cli")
    agents = (
        RealConsul(loopback(), directory / "real", real_consul, config=CONFIG),
        Agent(loopback(), directory / "ours", config=CONFIG),
    )
    with all_running(*agents):
        for agent in agents:
            wait_settled(agent)
        real, ours = agents
        yield Cli(real_consul, real, directory / "at-real"), Cli(real_consul, ours, directory / "at-ours")


def same(clis: tuple[Cli, Cli], *arguments: str, given: str = "") -> tuple[int, str, str]:
    """Asserts that the program says the same at both agents, and gives it."""
    real, ours = (cli.run(*arguments, given=given) for cli in clis)
    assert ours == real, arguments
    return ours


def succeeds(clis: tuple[Cli, Cli], *arguments: str, given: str = "") -> str:
    code, out, err = same(clis, *arguments, given=given)
    assert (code, err) == (0, ""), arguments
    return out


def test_keys_are_imported_and_exported(clis: tuple[Cli, Cli]) -> None:
    entries = [{"key": f"import/{n}", "flags": n, "value": "dmFsdWU="} for n in range(5)]
    assert "Imported: import/3" in succeeds(clis, "kv", "import", "-", given=json.dumps(entries))
    assert len(json.loads(succeeds(clis, "kv", "export", "import/"))) == 5
    succeeds(clis, "kv", "put", "-flags=9", "import/1", "other")
    succeeds(clis, "kv", "get", "-detailed", "import/1")
    succeeds(clis, "kv", "get", "-recurse", "import/")
    succeeds(clis, "kv", "get", "-keys", "-separator=/", "")
    succeeds(clis, "kv", "delete", "-recurse", "import/")
    assert same(clis, "kv", "get", "import/1")[0] == 1


def test_services_are_registered_and_maintained(clis: tuple[Cli, Cli]) -> None:
    definition = {"service": {"name": "web", "port": 80, "tags": ["a"], "checks": [{"ttl": "1h", "status": "passing"}]}}
    for cli in clis:
        cli.file("web.json", json.dumps(definition))
    succeeds(clis, "services", "register", "web.json")
    for cli in clis:
        wait_until(lambda cli=cli: _nodes_of(cli, "web") == ["node1"], PATIENCE_S, "web in the catalog")  # type: ignore[misc]
    assert "web" in succeeds(clis, "catalog", "services", "-tags")
    succeeds(clis, "catalog", "nodes", "-service=web")
    succeeds(clis, "maint", "-enable", "-service=web", "-reason=repair")
    assert "repair" in succeeds(clis, "maint")
    succeeds(clis, "maint", "-disable", "-service=web")
    succeeds(clis, "maint", "-enable", "-reason=all of it")
    succeeds(clis, "maint")
    succeeds(clis, "maint", "-disable")
    succeeds(clis, "services", "deregister", "web.json")
    same(clis, "services", "deregister", "-id=nothing")
    for cli in clis:
        wait_until(lambda cli=cli: not _nodes_of(cli, "web"), PATIENCE_S, "web out of the catalog")  # type: ignore[misc]


def _nodes_of(cli: Cli, service: str) -> list[str]:
    return [each["Node"] for each in cli.agent.http("GET", f"/v1/catalog/service/{service}").json()]


def test_a_watch_calls_its_handler_on_every_change(clis: tuple[Cli, Cli]) -> None:
    seen = [_watched(cli) for cli in clis]
    assert seen[0] == seen[1]
    assert seen[1] == [["first"], ["second"], ["third"]]


def _watched(cli: Cli) -> list[list[str]]:
    """What a watch of a prefix tells its handler while its keys change."""
    kept = cli.path("seen")
    succeeded = cli.run("kv", "put", "watched/a", "first")
    assert succeeded[0] == 0
    script = f"cat >> {kept}; echo >> {kept}"
    process = cli.start("watch", "-type=keyprefix", "-prefix=watched/", "sh", "-c", script)
    try:
        for number, value in enumerate(("first", "second", "third"), 1):
            assert cli.agent.http("PUT", "/v1/kv/watched/a", value).body.strip() == b"true"
            what = f"change {number} at {type(cli.agent).__name__}"
            wait_until(lambda number=number: len(_told(kept)) >= number, PATIENCE_S, what)  # type: ignore[misc]
        return [[_text(each["Value"]) for each in told] for told in _told(kept)]
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_S)


def _told(kept: Path) -> list[Any]:
    lines = kept.read_text().splitlines() if kept.exists() else []
    return [json.loads(line) for line in lines if line and line != "null"]


def _text(value: str) -> str:
    return base64.b64decode(value).decode()


def test_commands_are_executed_on_the_node(clis: tuple[Cli, Cli]) -> None:
    # It goes on for as long as something comes within so many seconds, and a busy node takes its time.
    real, ours = (cli.run("exec", "-wait=4s", "-shell=true", "echo hello; exit 3") for cli in clis)
    assert "node1: hello" in ours[1]
    assert "finished with exit code 3" in ours[1]
    # Output and exit code come in messages of their own, which may overtake each other.
    assert (ours[0], sorted(ours[1].splitlines()), ours[2]) == (real[0], sorted(real[1].splitlines()), real[2])
    same(clis, "exec", "-wait=500ms", "-node=nobody", "true")


def test_locks_run_their_command(clis: tuple[Cli, Cli]) -> None:
    assert succeeds(clis, "lock", "locks/a", "echo held") == "held\n"
    succeeds(clis, "lock", "-n=2", "locks/b", "echo one of two")
    same(clis, "lock", "locks/a", "exit 7")


@pytest.mark.parametrize(
    "arguments",
    [
        ("members",),
        ("members", "-detailed", "-wan"),
        ("operator", "raft", "list-peers"),
        ("catalog", "datacenters"),
        ("catalog", "nodes", "-detailed"),
        ("config", "list", "-kind=service-defaults"),
        ("event", "-name=deploy", "now"),
        ("force-leave", "nobody"),
        ("reload",),
        ("rtt", "node1", "nobody"),
        ("validate", "."),
        ("keygen", "-x"),
        ("join", "127.255.255.254"),
    ],
    ids=" ".join,
)
def test_other_commands(clis: tuple[Cli, Cli], arguments: Sequence[str]) -> None:
    same(clis, *arguments)


def test_a_snapshot_of_either_goes_into_both(clis: tuple[Cli, Cli]) -> None:
    """The last of this module: afterwards each agent has the other one's node in its catalog for a while."""
    for saver in clis:
        assert saver.run("kv", "put", "saved", "by one")[0] == 0
        code, out, err = saver.run("snapshot", "save", "state.snap")
        assert (code, err) == (0, ""), out
        assert "Version" in saver.run("snapshot", "inspect", "state.snap")[1]
        for restorer in clis:
            assert restorer.run("kv", "put", "saved", "overwritten")[0] == 0
            code, out, err = restorer.run("snapshot", "restore", str(saver.path("state.snap")))
            assert (code, out, err) == (0, "Restored snapshot\n", "")
            assert restorer.run("kv", "get", "saved") == (0, "by one\n", "")
