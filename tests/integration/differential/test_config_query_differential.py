"""Config entries and prepared queries: the same requests to the real Consul and to our agent, equal answers.

The scenarios of one family build on each other; scripts start and end with no query at all."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.agents import Agent, RealConsul, wait_settled
from tests.integration.differential import scenarios_config, scenarios_query
from tests.integration.differential.exchange import Answer, Request, differences, exchange
from tests.integration.differential.script import Run, Step
from tests.loopback import LoopbackPool
from tests.unit.cli.runner import run_cli

pytestmark = pytest.mark.real_consul

COMPARED = os.environ.get("PROCONSUL_DIFFERENTIAL", "consul,proconsul").split(",")
SCRIPTS: dict[str, list[Request | Step]] = {
    **scenarios_query.SCRIPTS,
    **{name: list(requests) for name, requests in scenarios_config.SCENARIOS.items()},
    **{name: list(requests) for name, requests in scenarios_query.SCENARIOS.items()},
}
Pair = tuple[RealConsul, RealConsul | Agent]


@contextlib.contextmanager
def running_pair(
    kind: str, real_consul: Path, loopback: LoopbackPool, factory: pytest.TempPathFactory, entries: list[object]
) -> Iterator[Pair]:
    """The real agent first, then the one to be compared."""
    config = {"disable_coordinates": True, "config_entries": {"bootstrap": entries}}
    real = RealConsul(loopback(), factory.mktemp("real"), real_consul, config=config)
    other: RealConsul | Agent
    if kind == "consul":
        other = RealConsul(loopback(), factory.mktemp("other"), real_consul, config=config)
    else:
        other = Agent(loopback(), factory.mktemp("ours"), config=config)
    with contextlib.ExitStack() as stack:
        for agent in (real, other):
            stack.enter_context(agent.running())
        for agent in (real, other):
            wait_settled(agent)
        yield real, other


@pytest.fixture(scope="module", params=COMPARED)
def agents(
    request: pytest.FixtureRequest,
    real_consul: Path,
    loopback: LoopbackPool,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Pair]:
    with running_pair(request.param, real_consul, loopback, tmp_path_factory, []) as pair:
        yield pair


def _run(agent: RealConsul | Agent) -> Run:
    return Run(lambda request: exchange(agent.address, agent.http_port, request))


@pytest.mark.parametrize("name", SCRIPTS)
def test_same_answers(agents: Pair, name: str) -> None:
    known, tried = map(_run, agents)
    found = []
    for step in SCRIPTS[name]:
        expected = known.take(step)
        found += [f"{step}\n    {line}" for line in _compare(expected, step, tried)]
    assert not found, f"{len(found)} differences, Consul's answer first:\n" + "\n".join(found)


_ANY_CHAIN = re.compile(r'(discovery chain) "[^"]*"|(circular (?:resolver redirect|reference)): \[.*\]')


def _settled(answer: Answer) -> Answer:
    """Of several chains that a change would break Consul names any: it goes through a Go map."""
    body = _ANY_CHAIN.sub(r"\1\2 ONE OF THEM", answer.body)
    if body == answer.body:
        return answer
    return replace(answer, body=body, headers={**answer.headers, "Content-Length": ["DIFFERS"]})


def _compare(expected: Answer, step: Step | Request, run: Run) -> list[str]:
    try:
        return differences(_settled(expected), _settled(run.take(step)))
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError) as error:
        return [f"no comparable answer: {error!r}, where Consul says {expected.status}"]


BOOTSTRAP: list[object] = [
    {"kind": "proxy-defaults", "name": "global", "config": {"protocol": "http", "one": ["a"], "n": 7}},
    {"Kind": "service-defaults", "Name": "web", "protocol": "GRPC", "mesh_gateway": {"mode": "local"}},
    {"Kind": "service-resolver", "Name": "web", "connect_timeout": "3s", "subsets": {"v1": {}}},
]


def test_a_leader_writes_the_entries_of_its_configuration(
    real_consul: Path, loopback: LoopbackPool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Also with the same indexes: they are the first thing a new leader writes."""
    with running_pair("proconsul", real_consul, loopback, tmp_path_factory, BOOTSTRAP) as (real, ours):
        for kind in ("proxy-defaults", "service-defaults", "service-resolver"):
            path = f"/v1/config/{kind}"
            assert ours.http("GET", path).json() == real.http("GET", path).json()
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
