"""The same checks, the same targets: what our runners report is what the real agent reports."""

from __future__ import annotations

import json
import random
import re
from functools import partial
from pathlib import Path

import pytest
import trio

from services.rpc_core.local.checks.definition import CheckDefinition
from services.rpc_core.local.checks.runner import CheckAgent, make_runner
from shared.config.runtime import RuntimeConfig
from tests.agents import PATIENCE_S, Agent, RealConsul, wait_until
from tests.integration.checks.check_cases import Cases, targets
from tests.loopback import LoopbackPool

pytestmark = pytest.mark.real_consul

Found = dict[str, tuple[str, str]]  # status and output by check

_MASKED = (
    (re.compile(r"127\.0\.0\.\d+:\d+->"), "CLIENT->"),
    (re.compile(r"ADDRESS:\d+->"), "CLIENT->"),
    (re.compile(r"on \S+:53: "), "on SERVER: "),
    # Two clocks of the real agent run out at the same time; which one it names is chance.
    (re.compile(r"dial tcp FULL: i/o timeout \(Client"), "context deadline exceeded (Client"),
)


_BROKEN = "net/http: HTTP/1.x transport connection broken: "

WHOLE_AGENT = (
    "http /ok", "http /429", "http /500", "http refused", "http /big", "http tls unchecked", "http unknown host",
    "tcp ok", "tcp refused", "grpc up", "grpc down", "grpc refused", "grpc tls unchecked",
    "script ok", "script warning", "script critical", "script big", "script timeout", "script no-utf-8",
    "docker web", "docker warn", "docker missing",
)  # fmt: skip


def masked(cases: Cases, found: Found) -> Found:
    """Without what differs from run to run."""

    def mask(text: str) -> str:
        text = cases.mask(text)
        for pattern, shown in _MASKED:
            text = pattern.sub(shown, text)
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")

    return {name: (status, mask(output)) for name, (status, output) in found.items()}


class Reports:
    """The first thing that was said of each check."""

    def __init__(self) -> None:
        self.found: Found = {}

    def update_check(self, check_id: str, status: str, output: str) -> None:
        self.found.setdefault(check_id, (status, output))


async def ours(cases: Cases) -> Found:
    """What our runners say."""
    agent = CheckAgent(RuntimeConfig.dev("run", node_name="node1"))
    reports, rng = Reports(), random.Random(7)
    with trio.fail_after(2 * PATIENCE_S):
        async with trio.open_nursery() as nursery:
            for name, body in cases.definitions.items():
                check = CheckDefinition.from_json({"Name": name, "ID": name, **body}).check_type()
                await nursery.start(make_runner(check, reports, rng=rng, agent=agent).run)
            while len(reports.found) < len(cases.definitions):
                await trio.sleep(0.02)
            nursery.cancel_scope.cancel()
    return reports.found


def told_by(cases: Cases, agent: Agent | RealConsul) -> Found:
    """What a whole agent says of checks that were registered with it."""
    for name, body in cases.definitions.items():
        # No result is a warning and has no output, so that says that nothing has run yet.
        body = {"Name": name, "Status": "warning", **body}
        response = agent.http("PUT", "/v1/agent/check/register", json.dumps(body).encode())
        assert response.status == 200, (name, response.body)

    def all_reported() -> Found | None:
        found = agent.http("GET", "/v1/agent/checks").json()
        seen = {name: (found[name]["Status"], found[name]["Output"]) for name in cases.definitions}
        return None if ("warning", "") in seen.values() else seen

    return wait_until(all_reported, 2 * PATIENCE_S, "a result of every check")


def differences(found: Found, expected: Found) -> dict[str, tuple[tuple[str, str], tuple[str, str]]]:
    """What the real agent says otherwise. Now and then it leaves out that the connection is broken by what it read: it
    depends on which of its tasks gets to see it first."""
    different = {}
    for name, said in expected.items():
        status, output = found[name]
        if said not in ((status, output), (status, output.replace(_BROKEN, ""))):
            different[name] = (found[name], said)
    return different


async def test_every_result_is_the_real_agents(
    real_consul: Path, loopback: LoopbackPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    with targets(loopback(), tmp_path) as cases:
        assert cases.web is not None
        found = await ours(cases)
        asked = {masked_request(cases, request) for request in cases.web.requests}
        cases.web.requests.clear()
        real = RealConsul(loopback(), tmp_path / "real", real_consul, config={"enable_script_checks": True})
        with real.running():
            expected = await trio.to_thread.run_sync(partial(told_by, cases, real))
        asked_by_real = {masked_request(cases, request) for request in cases.web.requests}
    assert differences(masked(cases, found), masked(cases, expected)) == {}
    assert asked == asked_by_real


def masked_request(cases: Cases, request: bytes) -> str:
    return cases.mask(request.decode("utf-8", "replace"))


def test_a_whole_agent_tells_what_the_real_one_tells(
    real_consul: Path, loopback: LoopbackPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One check of each kind and outcome, registered over HTTP, seen over HTTP."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    config = {"enable_script_checks": True}
    with targets(loopback(), tmp_path) as cases:
        cases.definitions = {name: cases.definitions[name] for name in WHOLE_AGENT}
        agents = (
            Agent(loopback(), tmp_path / "ours", config=config),
            RealConsul(loopback(), tmp_path / "real", real_consul, config=config),
        )
        told: list[Found] = []
        for agent in agents:
            with agent.running():
                told.append(masked(cases, told_by(cases, agent)))
    assert differences(*told) == {}
