"""Config entries and prepared queries in a whole agent: who waits is woken, order and distance, what survives."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.agents import Agent, wait_settled, wait_until
from tests.loopback import LoopbackPool

SERVICE = {"Service": "db"}


@pytest.fixture(scope="module")
def agent(loopback: LoopbackPool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    made = Agent(loopback(), tmp_path_factory.mktemp("agent"))
    with made.running():
        wait_settled(made)
        yield made


def write_entry(agent: Agent, **fields: Any) -> None:
    answer = agent.http("PUT", "/v1/config", fields)
    assert (answer.status, answer.body.strip()) == (200, b"true"), answer.body


def create_query(agent: Agent, **fields: Any) -> str:
    answer = agent.http("POST", "/v1/query", fields)
    assert answer.status == 200, answer.body
    made: str = answer.json()["ID"]
    return made


def register(agent: Agent, node: str, number: int) -> None:
    service = {"ID": f"db{number}", "Service": "db", "Port": number}
    body = {"Node": node, "Address": f"10.7.0.{number}", "Service": service}
    assert agent.http("PUT", "/v1/catalog/register", body).status == 200


class Waiting:
    """A blocking read under way."""

    def __init__(self, agent: Agent, path: str, index: str) -> None:
        self._answers: list[Any] = []

        def ask() -> None:
            self._answers.append(agent.http("GET", f"{path}?index={index}&wait=30s", timeout_s=60))

        self._thread = threading.Thread(target=ask, daemon=True)
        self._thread.start()

    def answer(self) -> Any:
        self._thread.join(60)
        assert self._answers, "the blocking read did not return"
        return self._answers[0]


def index_of(agent: Agent, path: str) -> str:
    return agent.http("GET", path).headers["x-consul-index"]


def blocked(agent: Agent, path: str) -> Waiting:
    """A reader of `path` that the gateway holds."""
    index = index_of(agent, path)
    return Waiting(agent, path, index)


def test_readers_of_an_entry_wait_for_it(agent: Agent) -> None:
    write_entry(agent, Kind="service-defaults", Name="other")
    one, kind = "/v1/config/service-defaults/waited", "/v1/config/service-defaults"
    missing, listed = blocked(agent, one), blocked(agent, kind)
    write_entry(agent, Kind="service-defaults", Name="waited", Protocol="http")
    assert missing.answer().json()["Protocol"] == "http"
    assert {entry["Name"] for entry in listed.answer().json()} >= {"other", "waited"}
    changed = blocked(agent, one)
    write_entry(agent, Kind="service-defaults", Name="waited", Protocol="grpc")
    assert changed.answer().json()["Protocol"] == "grpc"
    gone = blocked(agent, one)
    assert agent.http("DELETE", one).status == 200
    assert gone.answer().status == 404


def test_readers_of_a_query_wait_for_it(agent: Agent) -> None:
    query_id = create_query(agent, Name="waited", Service=SERVICE)
    one = f"/v1/query/{query_id}"
    changed, listed = blocked(agent, one), blocked(agent, "/v1/query")
    assert agent.http("PUT", one, {"Name": "renamed", "Service": SERVICE}).status == 200
    assert changed.answer().json()[0]["Name"] == "renamed"
    assert "renamed" in {query["Name"] for query in listed.answer().json()}
    gone = blocked(agent, one)
    assert agent.http("DELETE", one).status == 200
    assert gone.answer().status == 404


def test_instances_come_in_any_order_or_by_distance(agent: Agent) -> None:
    nodes = [f"far{number}" for number in range(1, 6)]
    for number, node in enumerate(nodes, start=1):
        register(agent, node, number)
    create_query(agent, Name="near", Service=SERVICE)

    def found(parameters: str = "") -> list[str]:
        answer = agent.http("GET", f"/v1/query/near/execute{parameters}").json()
        return [instance["Node"]["Node"] for instance in answer["Nodes"]]

    orders = [tuple(found()) for _ in range(150)]
    assert {tuple(sorted(order)) for order in orders} == {tuple(nodes)}
    assert len(set(orders)) > 1
    assert {order[0] for order in orders} == set(nodes)
    assert {len(found(f"?limit={limit}")) for limit in (1, 2, 9)} == {1, 2, 5}
    for number, node in enumerate(nodes, start=1):
        coordinate = {"Vec": [number / 100, *[0.0] * 7], "Error": 1.5, "Adjustment": 0.0, "Height": 1e-5}
        body = {"Node": node, "Segment": "", "Coord": coordinate}
        assert agent.http("PUT", "/v1/coordinate/update", body).status == 200
    for node in nodes:
        wait_until(lambda node=node: agent.http("GET", f"/v1/coordinate/node/{node}").status == 200, what="coordinates")
    assert found("?near=far1") == nodes
    assert found("?near=far5") == nodes[::-1]
    assert found("?near=far3&limit=1") == ["far3"]
    agent.http("PUT", "/v1/catalog/deregister", {"Node": "far3"})
    assert found("?near=far1") == ["far1", "far2", "far4", "far5"]


def test_everything_is_there_after_the_agent_was_killed(loopback: LoopbackPool, tmp_path: Path) -> None:
    agent = Agent(loopback(), tmp_path, dev=False, config={"bootstrap": True, "server": True})
    with agent.running():
        wait_settled(agent)
        write_entry(agent, Kind="proxy-defaults", Name="global", Config={"protocol": "http", "ratio": 0.5})
        splits = [{"Weight": 33.33}, {"Weight": 66.67, "Service": "b"}]
        write_entry(agent, Kind="service-splitter", Name="web", Splits=splits)
        write_entry(agent, Kind="service-router", Name="web", Routes=[{"Destination": {"RequestTimeout": "3s"}}])
        create_query(agent, Name="kept", Service=SERVICE, DNS={"TTL": "5s"})
        create_query(agent, Name="t-", Template={"Type": "name_prefix_match"}, Service={"Service": "${name.suffix}"})
        paths = ["/v1/config/proxy-defaults", "/v1/config/service-splitter/web", "/v1/config/service-router"]
        paths += ["/v1/query", "/v1/query/kept/explain", "/v1/query/t-x/explain"]
        before = [agent.http("GET", path).json() for path in paths]
        for component in ("raft_node", "rpc_core", "http_gateway"):
            agent.kill(component)
        agent.wait_ready()
        for path, wanted in zip(paths, before, strict=True):
            wait_until(lambda path=path, wanted=wanted: agent.http("GET", path).json() == wanted, what=path)
        agent.destroy()
        agent.start()
        agent.wait_ready()
        wait_settled(agent)
        assert [agent.http("GET", path).json() for path in paths] == before
        refused = agent.http("PUT", "/v1/config", json.dumps({"Kind": "proxy-defaults", "Name": "global"}))
        assert refused.status == 500
        assert b"does not permit advanced routing" in refused.body


def test_a_reload_writes_entries_that_came_into_the_configuration(loopback: LoopbackPool, tmp_path: Path) -> None:
    """Those that exist stay as they are, and one that does not fit refuses the reload."""
    directory = tmp_path / "conf"
    directory.mkdir()

    def configure(*entries: dict[str, Any]) -> None:
        (directory / "entries.json").write_text(json.dumps({"config_entries": {"bootstrap": entries}}))

    web = {"Kind": "service-defaults", "Name": "web", "Protocol": "http"}
    configure(web)
    agent = Agent(loopback(), tmp_path / "agent", ["-config-dir", str(directory)])
    with agent.running():
        wait_settled(agent)
        write_entry(agent, **web | {"Protocol": "grpc"})
        configure(web, {"Kind": "service-defaults", "Name": "api", "Protocol": "http2"})
        assert agent.http("PUT", "/v1/agent/reload").status == 200
        entries = agent.http("GET", "/v1/config/service-defaults").json()
        assert [(entry["Name"], entry["Protocol"]) for entry in entries] == [("api", "http2"), ("web", "grpc")]
        configure({"Kind": "service-router", "Name": "tcp-only"})
        refused = agent.http("PUT", "/v1/agent/reload")
        assert refused.status == 500
        assert b'Failed to apply configuration entry "service-router" / "tcp-only": discovery chain' in refused.body
