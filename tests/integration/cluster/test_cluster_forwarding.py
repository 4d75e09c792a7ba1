"""Three agents of ours as one cluster: what a follower is asked for, the leader does."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.agents import PATIENCE_S, Agent, wait_until
from tests.clusters import CALM, AnyAgent, Cluster, founders
from tests.loopback import LoopbackPool


@pytest.fixture(scope="module")
def cluster(loopback: LoopbackPool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = founders(loopback, tmp_path_factory.mktemp("cluster"), [Agent, Agent, Agent], CALM)
    with made.running():
        yield made


@pytest.fixture
def leader(cluster: Cluster) -> AnyAgent:
    return cluster.leader()


@pytest.fixture
def follower(cluster: Cluster) -> Agent:
    found = cluster.followers()[0]
    assert isinstance(found, Agent)
    return found


def put(agent: AnyAgent, path: str, body: Any = b"") -> Any:
    answer = agent.http("PUT", path, body)
    assert answer.status == 200, answer
    return answer.json() if answer.body else None


def get(agent: AnyAgent, path: str) -> Any:
    answer = agent.http("GET", path)
    assert answer.status == 200, answer
    return answer.json()


def seen(agent: AnyAgent, path: str) -> Any:
    """As `get` for what is waited for: an error is an answer of another shape, which counts as not yet."""
    return agent.http("GET", path).json()


def has(agent: AnyAgent, key: str, value: bytes) -> bool:
    """Whether the server's own state holds `value` under `key`."""
    return base64.b64decode(seen(agent, f"/v1/kv/{key}?stale")[0]["Value"]) == value


def value(agent: AnyAgent, key: str, query: str = "") -> bytes | None:
    """None if there is no such key."""
    answer = agent.http("GET", f"/v1/kv/{key}{query}")
    assert answer.status in (200, 404), answer
    return base64.b64decode(answer.json()[0]["Value"] or "") if answer.status == 200 else None


def test_all_agree_on_their_leader_and_voters(cluster: Cluster) -> None:
    assert cluster.leader() in cluster.servers  # whom all take for the leader
    assert cluster.voters() == {"n1", "n2", "n3"}
    addresses = {f"{one.address}:8300" for one in cluster}
    for one in cluster:
        assert set(get(one, "/v1/status/peers")) == addresses


def test_writes_at_a_follower_are_read_everywhere(cluster: Cluster, follower: Agent) -> None:
    assert put(follower, "/v1/kv/motd", b"hello") is True
    for one in cluster:
        assert value(one, "motd") == value(one, "motd", "?consistent") == b"hello"
        wait_until(partial(has, one, "motd", b"hello"), what="the write at a follower")


def test_metadata_says_who_answered(leader: AnyAgent, follower: Agent) -> None:
    put(follower, "/v1/kv/meta", b"1")
    for query in ("", "?consistent"):
        headers = follower.http("GET", f"/v1/kv/meta{query}").headers
        assert (headers["x-consul-knownleader"], headers["x-consul-lastcontact"]) == ("true", "0")
    contacts = set()
    for _ in range(10):
        headers = follower.http("GET", "/v1/catalog/nodes?stale").headers
        assert headers["x-consul-knownleader"] == "true"
        contacts.add(int(headers["x-consul-lastcontact"]))
        time.sleep(0.02)  # between two words of the leader
    assert max(contacts) > 0
    assert max(contacts) < PATIENCE_S * 1000
    assert leader.http("GET", "/v1/catalog/nodes?stale").headers["x-consul-lastcontact"] == "0"


def test_a_blocking_query_waits_at_the_leader(leader: AnyAgent, follower: Agent) -> None:
    put(leader, "/v1/kv/watched", b"old")
    index = follower.http("GET", "/v1/kv/watched").headers["x-consul-index"]
    answers: list[Any] = []
    waiter = threading.Thread(
        target=lambda: answers.append(follower.http("GET", f"/v1/kv/watched?index={index}&wait=60s"))
    )
    waiter.start()
    waiter.join(0.2)
    assert not answers
    put(leader, "/v1/kv/watched", b"new")
    waiter.join(PATIENCE_S)
    assert base64.b64decode(answers[0].json()[0]["Value"]) == b"new"
    over = follower.http("GET", f"/v1/kv/watched?index={answers[0].headers['x-consul-index']}&wait=50ms")
    assert base64.b64decode(over.json()[0]["Value"]) == b"new"


def test_kv_in_all_its_forms(follower: Agent, leader: AnyAgent) -> None:
    put(follower, "/v1/kv/dir/a?flags=7", b"\xff\x00binary")
    put(follower, "/v1/kv/dir/b", b"x" * 400_000)
    assert value(follower, "dir/a") == value(leader, "dir/a") == b"\xff\x00binary"
    assert value(follower, "dir/b") == b"x" * 400_000
    assert get(follower, "/v1/kv/dir?keys") == ["dir/a", "dir/b"]
    index = get(follower, "/v1/kv/dir/a")[0]["ModifyIndex"]
    assert put(follower, f"/v1/kv/dir/a?cas={index}", b"2") is True
    assert put(follower, f"/v1/kv/dir/a?cas={index}", b"3") is False
    assert follower.http("DELETE", "/v1/kv/dir?recurse").body == b"true"
    assert leader.http("GET", "/v1/kv/dir?recurse").status == 404


def test_sessions_locks_and_transactions(follower: Agent, leader: AnyAgent) -> None:
    session = put(follower, "/v1/session/create", {"TTL": "30s", "LockDelay": "0s"})["ID"]
    assert put(follower, f"/v1/kv/lock?acquire={session}", b"me") is True
    assert get(leader, "/v1/kv/lock")[0]["Session"] == session
    assert put(follower, f"/v1/session/renew/{session}")[0]["ID"] == session
    assert put(follower, f"/v1/session/destroy/{session}") is True
    assert "Session" not in get(follower, "/v1/kv/lock")[0]
    operations = [{"KV": {"Verb": "set", "Key": "txn", "Value": base64.b64encode(b"1").decode()}}]
    assert put(follower, "/v1/txn", operations)["Errors"] is None
    reading = put(follower, "/v1/txn", [{"KV": {"Verb": "get", "Key": "txn"}}])
    assert reading["Results"][0]["KV"]["Value"] == base64.b64encode(b"1").decode()
    assert follower.http("PUT", "/v1/txn", [{"KV": {"Verb": "get", "Key": "none"}}]).status == 409


def test_catalog_health_queries_and_config_entries(follower: Agent, leader: AnyAgent) -> None:
    service = {"ID": "web-1", "Service": "web", "Port": 80, "Tags": ["v1"]}
    check = {"CheckID": "web", "Name": "web", "Status": "passing", "ServiceID": "web-1"}
    put(follower, "/v1/catalog/register", {"Node": "far", "Address": "10.0.0.1", "Service": service, "Check": check})
    for one in (follower, leader):
        assert [entry["ServiceID"] for entry in get(one, "/v1/catalog/service/web")] == ["web-1"]
        assert [entry["Node"]["Node"] for entry in get(one, "/v1/health/service/web?passing")] == ["far"]
        assert get(one, '/v1/catalog/nodes?filter=Node%3D%3D"far"')[0]["Address"] == "10.0.0.1"
    query = put_query(follower, {"Name": "q", "Service": {"Service": "web"}})
    assert get(follower, f"/v1/query/{query}/execute")["Nodes"][0]["Node"]["Node"] == "far"
    assert get(leader, f"/v1/query/{query}")[0]["Name"] == "q"
    assert put(follower, "/v1/config", {"Kind": "service-defaults", "Name": "web", "Protocol": "http"}) is True
    assert get(follower, "/v1/config/service-defaults/web")["Protocol"] == "http"
    assert get(leader, "/v1/config/service-defaults")[0]["Name"] == "web"
    put(follower, "/v1/catalog/deregister", {"Node": "far"})
    assert get(leader, "/v1/catalog/service/web") == []


def put_query(agent: Agent, query: dict[str, Any]) -> str:
    answer = agent.http("POST", "/v1/query", query)
    assert answer.status == 200, answer
    return str(answer.json()["ID"])


def test_refusals_of_the_leader_reach_the_client(follower: Agent) -> None:
    answer = follower.http("PUT", "/v1/session/create", {"TTL": "1s"})
    assert answer.status == 500
    assert answer.body.startswith(b"rpc error making call: Invalid Session TTL '1000000000'")


def test_services_of_a_follower_get_into_the_catalog(follower: Agent, leader: AnyAgent) -> None:
    put(follower, "/v1/agent/service/register", {"Name": "local", "Port": 1, "Check": {"TTL": "60s"}})
    put(follower, "/v1/agent/check/pass/service:local")

    def synced() -> bool:
        found = seen(leader, "/v1/health/service/local?passing")
        return [entry["Node"]["Node"] for entry in found] == [follower.node_name]

    wait_until(synced, 2 * PATIENCE_S, "the service in the catalog")
    put(follower, "/v1/agent/service/deregister/local")
    wait_until(lambda: seen(leader, "/v1/catalog/service/local") == [], 2 * PATIENCE_S, "its end")


def test_events_of_one_server_reach_the_others(cluster: Cluster, follower: Agent) -> None:
    put(follower, "/v1/event/fire/deploy", b"now")
    for one in cluster:
        # What gets lost on its way comes with the next exchange of whole states, half a minute later.
        wait_until(partial(seen, one, "/v1/event/list?name=deploy"), 2 * PATIENCE_S, "the event")


def test_snapshots_are_taken_and_restored_through_a_follower(cluster: Cluster, follower: Agent) -> None:
    put(follower, "/v1/kv/saved", b"1")
    archive = follower.http("GET", "/v1/snapshot", timeout_s=60)
    assert archive.status == 200
    put(follower, "/v1/kv/saved", b"2")
    assert follower.http("PUT", "/v1/snapshot", archive.body, timeout_s=60).status == 200
    for one in cluster:
        wait_until(partial(has, one, "saved", b"1"), what="the restored state")


def test_commands_against_a_follower(follower: Agent) -> None:
    assert follower.cli("kv", "put", "cli", "from a follower").returncode == 0
    assert follower.cli("kv", "get", "cli").stdout == "from a follower\n"
    peers = follower.cli("operator", "raft", "list-peers").stdout
    assert peers.count("follower") == 2
    assert peers.count("leader") == 1
    assert follower.cli("members").stdout.count("alive") == 3


@pytest.mark.skipif(shutil.which("dig") is None, reason="dig is not installed")
def test_names_are_answered_by_every_server(cluster: Cluster) -> None:
    names = {one.address for one in cluster}
    for one in cluster:
        command = ["dig", f"@{one.address}", "-p", "8600", "+short", "consul.service.consul"]
        wait_until(lambda command=command: said_by(command) == names, what=f"all names by {one.address}")  # type: ignore[misc]


def said_by(command: list[str]) -> set[str]:
    answer = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    return set(answer.stdout.split())


def test_many_clients_write_through_a_follower_at_once(follower: Agent, leader: AnyAgent) -> None:
    failures: list[str] = []

    def write(client: int) -> None:
        for number in range(10):
            body = json.dumps([client, number])
            answer = follower.http("PUT", f"/v1/kv/many/{client}/{number}", body, timeout_s=2 * PATIENCE_S)
            if answer.body != b"true":
                failures.append(f"{answer.status} {answer.body!r}")

    threads = [threading.Thread(target=write, args=(client,)) for client in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * PATIENCE_S)
    assert not failures
    assert len(get(leader, "/v1/kv/many?keys")) == 400
