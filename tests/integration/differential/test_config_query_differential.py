"""Config entries and prepared queries: the same requests to the real Consul and to our agent, equal answers.

The scenarios of one family build on each other; scripts start and end with no query at all."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.agents import Agent, wait_settled
from tests.integration.differential import scenarios_config, scenarios_query
from tests.integration.differential.exchange import Request
from tests.integration.differential.pairs import STILL, Pair, Pairs, assert_none, compared, run_of, shown
from tests.integration.differential.script import Step
from tests.loopback import LoopbackPool
from tests.unit.cli.runner import run_cli

pytestmark = pytest.mark.real_consul

SCRIPTS: dict[str, list[Request | Step]] = {
    **scenarios_query.SCRIPTS,
    **{name: list(requests) for name, requests in scenarios_config.SCENARIOS.items()},
    **{name: list(requests) for name, requests in scenarios_query.SCENARIOS.items()},
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_same_answers(agents: Pair, name: str) -> None:
    known, tried = map(run_of, agents)
    found = []
    for step in SCRIPTS[name]:
        expected = scenarios_config.any_chain(known.take(step))
        found += shown(step, compared(expected, lambda step=step: scenarios_config.any_chain(tried.take(step))))  # type: ignore[misc]
    assert_none(found)


BOOTSTRAP: list[object] = [
    {"kind": "proxy-defaults", "name": "global", "config": {"protocol": "http", "one": ["a"], "n": 7}},
    {"Kind": "service-defaults", "Name": "web", "protocol": "GRPC", "mesh_gateway": {"mode": "local"}},
    {"Kind": "service-resolver", "Name": "web", "connect_timeout": "3s", "subsets": {"v1": {}}},
]


def test_a_leader_writes_the_entries_of_its_configuration(pairs: Pairs) -> None:
    """Also with the same indexes: they are the first thing a new leader writes. Only the agent may write itself before,
    as soon as it hears of the leader."""
    kinds = ("proxy-defaults", "service-defaults", "service-resolver")
    with pairs.running(STILL | {"config_entries": {"bootstrap": BOOTSTRAP}}) as (real, ours):
        found = []
        for agent in (real, ours):
            entries = [entry for kind in kinds for entry in agent.http("GET", f"/v1/config/{kind}").json()]
            indexes = [(entry.pop("CreateIndex"), entry.pop("ModifyIndex")) for entry in entries]
            node = agent.http("GET", "/v1/catalog/node/node1").json()["Node"]
            found.append((entries, indexes, node["CreateIndex"] > max(indexes)[0]))
        assert found[1][0] == found[0][0]
        assert sorted(found[1][1]) == found[1][1]
        if all(first for *_, first in found):
            assert found[1][1] == found[0][1]
        shown = [agent.http("GET", "/v1/agent/self").json()["DebugConfig"] for agent in (real, ours)]
        assert shown[1]["ConfigEntryBootstrap"] == shown[0]["ConfigEntryBootstrap"]


def test_entries_of_the_configuration_are_written_once(loopback: LoopbackPool, tmp_path: Path) -> None:
    """What was changed since stays changed when the server starts again."""
    agent = Agent(loopback(), tmp_path, dev=False, config={"bootstrap": True, "server": True, "config_entries":
                  {"bootstrap": [{"Kind": "service-defaults", "Name": "web", "Protocol": "http"}]}})  # fmt: skip
    path = "/v1/config/service-defaults/web"
    with agent.running():
        wait_settled(agent)
        assert agent.http("GET", path).json()["Protocol"] == "http"
        entry = {"Kind": "service-defaults", "Name": "web", "Protocol": "grpc"}
        assert agent.http("PUT", "/v1/config", json.dumps(entry)).body.strip() == b"true"
        agent.stop()
        agent.start()
        agent.wait_ready()
        wait_settled(agent)
        assert agent.http("GET", path).json()["Protocol"] == "grpc"


REFUSED = {
    "unknown kind": 'kind = "nope" name = "x"',
    "no kind": 'name = "x"',
    "kind of another type": "kind = 7",
    "unknown key": 'kind = "service-defaults" name = "x" foo = 1',
    "number for a text": 'kind = "service-defaults" name = "x" protocol = 7',
    "map for a text": 'kind = "service-defaults" name = { a = 1 }',
    "no splits": 'kind = "service-splitter" name = "x"',
    "wrong sum": 'kind = "service-splitter" name = "x" splits { weight = 99 }',
    "wrong weight": 'kind = "service-splitter" name = "x" splits { weight = "a" }',
    "wrong duration": 'kind = "service-resolver" name = "x" connect_timeout = "x" subsets { a { nope = 1 } }',
    "no name": 'kind = "service-router"',
    "another name": 'kind = "proxy-defaults" name = "other" config { a = 1 }',
}


@pytest.mark.parametrize("what", REFUSED)
def test_entries_of_a_configuration_are_judged_alike(real_consul: Path, tmp_path: Path, what: str) -> None:
    file = tmp_path / "agent.hcl"
    file.write_text(f'data_dir = "/tmp/x"\nconfig_entries {{ bootstrap {{ {REFUSED[what]} }} }}\n')
    real = subprocess.run([str(real_consul), "validate", str(file)], capture_output=True, timeout=60, check=False)
    ours = run_cli("validate", str(file))
    assert (ours.status, ours.stdout, ours.stderr) == (real.returncode, real.stdout, real.stderr)
