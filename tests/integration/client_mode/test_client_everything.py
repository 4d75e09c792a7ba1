"""Several clients of a cluster of the other kind, each with all that an agent offers, while the leader dies and the
servers are restarted one after the other."""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.agents import PATIENCE_S, Agent, RealConsul, wait_until
from tests.check_targets import (
    Container,
    GrpcReply,
    docker_daemon,
    grpc_target,
    health_message,
    http_target,
)
from tests.clusters import AnyAgent, Cluster, client, founders
from tests.integration.client_mode.setups import (
    OURS,
    REAL,
    Applications,
    ask_dns,
    found,
    is_complete,
    kind_of,
    wait_whole,
)
from tests.integration.client_mode.test_client_life import kill
from tests.loopback import LoopbackPool

pytestmark = [pytest.mark.slow, pytest.mark.real_consul]
CLIENTS = 3
COMBINATIONS = [(REAL, OURS), (OURS, REAL), (OURS, OURS)]
"""Clients, servers."""
KINDS_OF_CHECKS = 7
SYNC_WITHIN_S = 200.0
"""What got lost on its way to a server is brought there by the next full synchronisation: one to two minutes."""


class User:
    """What one client is used for. `directory` is where its watch writes."""

    def __init__(self, agent: AnyAgent, directory: Path) -> None:
        self.agent, self.directory = agent, directory
        self.name = agent.node_name
        self.rounds = 0

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The parsed answer, asked for until it is good: patient applications do so."""

        def answered() -> list[Any]:
            answer = self.agent.http(method, path, body, timeout_s=2 * PATIENCE_S)
            return [json.loads(answer.body) if answer.body else None] if answer.status == 200 else []

        return wait_until(answered, 2 * PATIENCE_S, f"{path} of {self.name}")[0]

    def cli(self, *arguments: str, says: str) -> None:
        """A command, repeated until its output has `says` in it."""

        def done() -> bool:
            try:
                return says in self.agent.cli(*arguments, timeout_s=PATIENCE_S).stdout
            except subprocess.TimeoutExpired:
                return False

        wait_until(done, 3 * PATIENCE_S, f"{says!r} of {arguments} at {self.name}")

    def register(self, places: dict[str, str]) -> None:
        """A service with a check of each kind. places: kind -> "ip:port" of what is checked."""
        checks = [
            {"CheckID": f"{self.name}-ttl", "TTL": "10m", "Status": "passing"},
            {"CheckID": f"{self.name}-script", "Args": ["sh", "-c", "echo fine"], "Interval": "500ms"},
            {"CheckID": f"{self.name}-http", "HTTP": f"http://{places['http']}/", "Interval": "500ms"},
            {"CheckID": f"{self.name}-tcp", "TCP": places["tcp"], "Interval": "500ms"},
            {"CheckID": f"{self.name}-grpc", "GRPC": places["grpc"], "Interval": "500ms"},
            {
                "CheckID": f"{self.name}-docker",
                "DockerContainerID": "web",
                "Args": ["/check"],
                "Shell": "/bin/sh",
                "Interval": "500ms",
            },
        ]
        self.ask("PUT", "/v1/agent/service/register", {"Name": self.name, "Port": 80, "Checks": checks})
        alias = {"Name": "alias", "CheckID": f"{self.name}-alias", "AliasService": self.name}
        self.ask("PUT", "/v1/agent/service/register", {"Name": f"{self.name}-shadow", "Port": 81, "Check": alias})

    def everything(self, servers: Cluster) -> None:
        """Uses all of it once."""
        self.rounds += 1
        mark = f"{self.name}-{self.rounds}"
        self._keys_and_sessions(mark)
        self._checks(servers)
        self._watch(mark)
        self.ask("PUT", "/v1/event/fire/deploy", mark)
        payload = base64.b64encode(mark.encode()).decode()
        wait_until(
            lambda: payload in [one["Payload"] for one in found(self.agent, "/v1/event/list?name=deploy") or ()],
            2 * PATIENCE_S,
            f"the event of {mark}",
        )
        self.cli("exec", "-node", self.name, "-wait=1s", "echo", mark, says=f"{self.name}: {mark}")
        archive = self.directory / f"{mark}.tgz"
        self.cli("snapshot", "save", str(archive), says="Saved and verified snapshot")
        self.cli("snapshot", "inspect", str(archive), says="Index")

    def _keys_and_sessions(self, mark: str) -> None:
        key = f"everything/{mark}"
        session = self.ask("PUT", "/v1/session/create", {"TTL": "60s", "LockDelay": "0s"})["ID"]
        assert self.ask("PUT", f"/v1/kv/{key}?acquire={session}", mark) is True
        entry = self.ask("GET", f"/v1/kv/{key}?consistent")[0]
        assert (entry["Session"], base64.b64decode(entry["Value"]).decode()) == (session, mark)
        assert self.ask("PUT", f"/v1/session/renew/{session}")[0]["ID"] == session
        txn = [{"KV": {"Verb": "set", "Key": f"{key}/txn", "Value": base64.b64encode(b"1").decode()}}]
        assert self.ask("PUT", "/v1/txn", txn)["Errors"] is None
        assert self.ask("PUT", f"/v1/kv/{key}?release={session}") is True
        self.ask("PUT", f"/v1/session/destroy/{session}")
        self.cli("lock", f"{key}/lock", f"echo {mark}", says=mark)

    def _checks(self, servers: Cluster) -> None:
        """Each kind passes, and the servers know; what fails is no longer found."""

        def all_pass(server: AnyAgent) -> bool:
            of_service = found(server, f"/v1/health/checks/{self.name}") or []
            of_shadow = found(server, f"/v1/health/checks/{self.name}-shadow") or []
            return [one["Status"] for one in (*of_service, *of_shadow)] == ["passing"] * KINDS_OF_CHECKS

        for server in servers.alive():
            wait_until(partial(all_pass, server), SYNC_WITHIN_S, f"checks of {self.name}")
        name = f"{self.name}.service.consul"
        wait_until(lambda: [one.rdata.port for one in self._dns(name, "SRV")] == [80], 2 * PATIENCE_S, name)
        self.ask("PUT", f"/v1/agent/check/fail/{self.name}-ttl")
        wait_until(lambda: not self._dns(name, "SRV"), 2 * PATIENCE_S, f"no {name}")
        self.ask("PUT", f"/v1/agent/check/pass/{self.name}-ttl")
        wait_until(lambda: self._dns(name, "SRV"), 2 * PATIENCE_S, f"{name} again")

    def _dns(self, name: str, kind: str) -> Any:
        return ask_dns(self.agent.address, name, kind).rr

    def _watch(self, mark: str) -> None:
        self.ask("PUT", f"/v1/kv/watched-{self.name}", mark)
        seen, value = self.directory / f"watched-{self.name}", base64.b64encode(mark.encode()).decode()
        wait_until(lambda: seen.exists() and value in seen.read_text(), 2 * PATIENCE_S, f"{mark} in {seen}")


@pytest.fixture
def places(loopback: LoopbackPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """What the checks look at: kind -> "ip:port"."""
    address, socket_path = loopback(), tmp_path / "docker.sock"
    monkeypatch.setenv("DOCKER_HOST", f"unix://{socket_path}")
    with contextlib.ExitStack() as stack:
        web = stack.enter_context(http_target(address, {"/": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"}))
        health = stack.enter_context(grpc_target(address, {"": GrpcReply(data=health_message(1))}))
        stack.enter_context(docker_daemon(socket_path, {"web": Container(0, b"all well")}))
        yield {
            "http": f"{address}:{web.port}",
            "grpc": f"{address}:{health.port}",
            "tcp": f"{address}:{web.port}",
        }


@contextlib.contextmanager
def users_of(kinds: tuple[str, str], loopback: LoopbackPool, directory: Path, real_consul: Path) -> Iterator[Any]:
    """(the servers, a user of each client)."""
    client_kind, server_kind = (kind_of(name, lambda: real_consul) for name in kinds)
    cluster = founders(loopback, directory, [server_kind] * 3)
    users = []
    for number in range(1, CLIENTS + 1):
        name = f"c{number}"
        handler = ["sh", "-c", f"cat >> {directory / f'watched-{name}'}"]
        config = {
            "disable_remote_exec": False,
            "enable_script_checks": True,
            "watches": [{"type": "key", "key": f"watched-{name}", "args": handler}],
        }
        join = [one.address for one in cluster]
        made = client(client_kind, loopback(), directory / name, name, join=join, config=config)
        users.append(User(made, directory))
    try:
        with cluster.running():
            for user in users:
                user.agent.start()
            for user in users:
                user.agent.wait_ready()
                wait_until(lambda user=user: is_complete(user.agent), 2 * PATIENCE_S, user.name)  # type: ignore[misc]
            yield cluster, users
    finally:
        for user in users:
            user.agent.destroy()


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kinds", COMBINATIONS, ids=" on ".join)
def test_everything_goes_on_while_servers_come_and_go(
    kinds: tuple[str, str], loopback: LoopbackPool, tmp_path: Path, places: dict[str, str], real_consul: Path
) -> None:
    with users_of(kinds, loopback, tmp_path, real_consul) as (cluster, users), contextlib.ExitStack() as stack:
        for user in users:
            user.register(places)
        applications = [stack.enter_context(Applications(user.agent)) for user in users]
        for user in users:
            user.everything(cluster)
        dead = cluster.leader()
        kill(dead)
        for user in users:
            user.everything(cluster)
        dead.start()
        dead.wait_ready()
        wait_whole(cluster)
        for one in cluster:
            one.stop()
            one.start()
            one.wait_ready()
            wait_whole(cluster)
        for user in users:
            user.everything(cluster)
        stack.close()
        for user, used in zip(users, applications, strict=True):
            print(kinds, user.name, used.counts, len(used.problems), "problems", used.failed_writes)
            if isinstance(user.agent, Agent):
                assert not used.problems
            else:
                assert isinstance(user.agent, RealConsul)
                print(*used.problems, sep="\n")
            used.nothing_is_lost(user.agent)
