"""The agent's services and checks in whole agents: kept over kills and reloads, waited for, taken over."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.agents import Agent, RealConsul, wait_until
from tests.loopback import LoopbackPool

WEB = {"Name": "web", "Port": 80, "Tags": ["a"], "Check": {"TTL": "10m"}}
CONFIG: dict[str, Any] = {
    "disable_coordinates": True,
    "service": {"name": "configured", "port": 1, "check": {"ttl": "10m"}},
}


def services(agent: Agent | RealConsul) -> dict[str, Any]:
    found = agent.http("GET", "/v1/agent/services").json()
    assert isinstance(found, dict)
    return found


def statuses(agent: Agent | RealConsul) -> dict[str, str]:
    return {key: check["Status"] for key, check in agent.http("GET", "/v1/agent/checks").json().items()}


def in_catalog(agent: Agent | RealConsul) -> set[str]:
    return set(agent.http("GET", "/v1/catalog/node/node1").json()["Services"]) - {"consul"}


def catalog_statuses(agent: Agent | RealConsul) -> dict[str, str]:
    return {check["CheckID"]: check["Status"] for check in agent.http("GET", "/v1/health/node/node1").json()}


def put(agent: Agent | RealConsul, path: str, body: Any = None) -> None:
    answer = agent.http("PUT", path, body)
    assert answer.status == 200, answer


@pytest.fixture
def agent(loopback: LoopbackPool, tmp_path: Path) -> Iterator[Agent]:
    made = Agent(loopback(), tmp_path, dev=False, config=CONFIG)
    with made.running():
        made.wait_output("Synced service: service=configured")
        yield made


def test_a_registration_is_in_the_catalog_when_it_is_answered(agent: Agent) -> None:
    for number in range(20):
        put(agent, "/v1/agent/service/register", {**WEB, "ID": f"web-{number}"})
        assert f"web-{number}" in in_catalog(agent)
        put(agent, f"/v1/agent/check/pass/service:web-{number}")
        assert catalog_statuses(agent)[f"service:web-{number}"] == "passing"
    put(agent, "/v1/agent/service/deregister/web-0")
    assert "web-0" not in in_catalog(agent)


def test_many_registrations_at_once(agent: Agent) -> None:
    def register(number: int) -> None:
        put(agent, "/v1/agent/service/register", {**WEB, "ID": f"web-{number}"})

    tasks = [threading.Thread(target=register, args=(number,)) for number in range(60)]
    for task in tasks:
        task.start()
    for task in tasks:
        task.join(60)
    wanted = {f"web-{number}" for number in range(60)} | {"configured"}
    assert in_catalog(agent) == set(services(agent)) == wanted
    assert set(catalog_statuses(agent)) == {"serfHealth", *(f"service:{each}" for each in wanted)}


def test_registrations_survive_the_death_of_rpc_core_and_of_everything(agent: Agent) -> None:
    put(agent, "/v1/agent/service/register", WEB)
    put(agent, "/v1/agent/check/pass/service:web?note=fine")
    put(agent, "/v1/agent/check/register", {"Name": "tcp", "TCP": "127.0.0.1:1", "Interval": "1h"})
    put(agent, "/v1/agent/maintenance?enable=true&reason=why")
    before = agent.http("GET", "/v1/agent/services").body
    for everything in (False, True):
        if everything:
            agent.kill_everything()
            agent.start()
            agent.wait_ready()
        else:
            agent.wait_restarted("rpc_core", agent.kill("rpc_core"))
        wait_until(lambda: agent.http("GET", "/v1/agent/services").body == before, what="the services again")
        assert statuses(agent) == {
            "service:configured": "critical",
            "service:web": "passing",
            "tcp": "critical",
            "_node_maintenance": "critical",
        }
        wait_until(lambda: in_catalog(agent) == {"web", "configured"}, what="both in the catalog")
        wait_until(lambda: catalog_statuses(agent).get("service:web") == "passing", what="the last status")
    notes = agent.http("GET", "/v1/agent/checks").json()["_node_maintenance"]["Notes"]
    assert notes == "why"


def test_what_others_put_on_our_node_goes_and_what_they_take_away_comes_back(agent: Agent) -> None:
    """With the full sync that follows the news of a leader."""
    put(agent, "/v1/agent/service/register", WEB)

    def changed_by_others() -> bool:
        put(agent, "/v1/catalog/register", {"Node": "node1", "SkipNodeUpdate": True, "Service": {"Service": "foreign"}})
        put(agent, "/v1/catalog/deregister", {"Node": "node1", "ServiceID": "web"})
        return in_catalog(agent) == {"foreign", "configured"}

    wait_until(changed_by_others, what="a moment between full syncs: the next may come at any time")
    agent.wait_restarted("rpc_core", agent.kill("rpc_core"))
    wait_until(lambda: in_catalog(agent) == {"web", "configured"}, what="our services alone")
    assert "consul" in agent.http("GET", "/v1/catalog/node/node1").json()["Services"]
    assert "serfHealth" in catalog_statuses(agent)


def test_a_client_waits_for_a_change_of_one_service_by_its_hash(agent: Agent) -> None:
    put(agent, "/v1/agent/service/register", WEB)
    known = agent.http("GET", "/v1/agent/service/web")
    content_hash = known.headers["x-consul-contenthash"]
    assert known.json()["ContentHash"] == content_hash
    started = time.monotonic()
    same = agent.http("GET", f"/v1/agent/service/web?hash={content_hash}&wait=300ms")
    assert time.monotonic() - started >= 0.3
    assert same.body == known.body
    put(agent, "/v1/agent/check/register", {"Name": "another", "ServiceID": "web", "TTL": "1m"})
    answers = []

    def wait() -> None:
        answers.append(agent.http("GET", f"/v1/agent/service/web?hash={content_hash}&wait=60s", timeout_s=90))

    for change in ({"Port": 81}, None):
        waiter = threading.Thread(target=wait)
        waiter.start()
        time.sleep(0.2)  # it may as well come late: then it is answered at once
        put(agent, "/v1/agent/reload")  # takes everything away for a moment, which nobody sees
        assert waiter.is_alive()
        if change is None:
            put(agent, "/v1/agent/service/deregister/web")
        else:
            put(agent, "/v1/agent/service/register", {**WEB, **change})
        waiter.join(30)
        assert not waiter.is_alive()
        content_hash = answers[-1].headers.get("x-consul-contenthash", "")
    assert [answer.status for answer in answers] == [200, 404]
    assert answers[0].json()["Port"] == 81


def test_a_reload_replaces_what_is_configured_and_keeps_the_rest(agent: Agent) -> None:
    put(agent, "/v1/agent/service/register", WEB)
    for check_id in ("service:web", "service:configured"):
        put(agent, f"/v1/agent/check/pass/{check_id}")
    changed = {
        **CONFIG,
        "service": {"name": "configured", "port": 2, "check": {"ttl": "10m"}},
        "services": [{"name": "second"}],
        "checks": [{"name": "third", "ttl": "10m"}],
        "discard_check_output": True,
    }
    (agent.directory / "config.json").write_text(json.dumps(changed))
    put(agent, "/v1/agent/reload")
    assert {key: each["Port"] for key, each in services(agent).items()} == {"configured": 2, "second": 0, "web": 80}
    expected = {"service:configured": "passing", "service:web": "passing", "third": "critical"}
    assert statuses(agent) == expected
    wait_until(lambda: in_catalog(agent) == {"configured", "second", "web"}, what="all in the catalog")
    wait_until(lambda: catalog_statuses(agent) == {**expected, "serfHealth": "passing"}, what="their statuses")
    put(agent, "/v1/agent/check/warn/service:web?note=secret")
    assert agent.http("GET", "/v1/agent/checks").json()["service:web"]["Output"] == ""
    (agent.directory / "config.json").write_text(json.dumps({**CONFIG, "service": {"name": "last"}}))
    put(agent, "/v1/agent/reload")
    assert set(services(agent)) == {"last", "web"}
    wait_until(lambda: in_catalog(agent) == {"last", "web"}, what="what is left")


def test_a_definition_that_cannot_be_taken_over_ends_the_start_and_fails_a_reload(agent: Agent) -> None:
    bad = {**CONFIG, "check": {"id": "c", "name": "c", "ttl": "1m", "service_id": "nope"}}
    text = "Failed to register check 'c': ServiceID \"nope\" does not exist"
    (agent.directory / "config.json").write_text(json.dumps(bad))
    refused = agent.http("PUT", "/v1/agent/reload")
    assert refused.status == 500
    assert f"Failed reloading checks: {text}" in refused.body.decode()
    wait_until(lambda: set(services(agent)) == {"configured"}, what="the old services")
    agent.stop()
    agent.config = bad
    agent.start()
    assert agent.wait_exit() == 1
    assert text in agent.output()


def test_scripts_run_only_if_they_are_allowed(loopback: LoopbackPool, tmp_path: Path) -> None:
    script = {"args": ["/bin/sh", "-c", "echo hello; exit 1"], "interval": "1h"}
    local = {"enable_local_script_checks": True, "check": {"id": "own", "name": "own", **script}}
    made = Agent(loopback(), tmp_path, config={**local, "disable_coordinates": True})
    with made.running():
        assert list(statuses(made)) == ["own"]
        refused = made.http("PUT", "/v1/agent/check/register", {"Name": "theirs", "Args": ["true"], "Interval": "1h"})
        assert refused.status == 500
        assert refused.body == (
            b"Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true"
        )
        assert list(statuses(made)) == ["own"]


@pytest.mark.real_consul
def test_an_agent_takes_over_what_the_real_one_kept(real_consul: Path, loopback: LoopbackPool, tmp_path: Path) -> None:
    """Its services, checks, statuses and maintenance are found in the data directory that it leaves."""
    real = RealConsul(loopback(), tmp_path / "real", real_consul, dev=False, config={"disable_coordinates": True})
    with real.running():
        put(real, "/v1/agent/service/register", WEB)
        sidecar = {"SidecarService": {"Check": {"TTL": "1h"}}}
        put(real, "/v1/agent/service/register", {"Name": "api", "Port": 90, "Meta": {"k": "v"}, "Connect": sidecar})
        put(real, "/v1/agent/check/pass/service:web?note=fine")
        put(real, "/v1/agent/service/maintenance/api?enable=true")
        wanted = services(real), real.http("GET", "/v1/agent/checks").json()
        real.stop()
    ours = Agent(loopback(), tmp_path / "ours", dev=False, config={"disable_coordinates": True})
    for name in ("services", "checks"):
        shutil.copytree(real.data_dir / name, ours.data_dir / name)
    with ours.running():
        assert services(ours) == wanted[0]
        assert ours.http("GET", "/v1/agent/checks").json() == wanted[1]
        wait_until(lambda: in_catalog(ours) == set(wanted[0]), what="everything in the catalog")
        put(ours, "/v1/agent/service/deregister/api")
        kept = {path.name for path in (ours.data_dir / "services").iterdir() if path.is_file()}
        assert set(services(ours)) == {"web"}
        assert len(kept) == 1


@pytest.mark.real_consul
def test_the_real_command_line_registers_and_maintains(agent: Agent, real_consul: Path, tmp_path: Path) -> None:
    cli = RealConsul(agent.address, tmp_path / "cli", real_consul)
    path = tmp_path / "svc.json"
    path.write_text(json.dumps({"services": [{"name": "one", "port": 1}, {"name": "two", "check": {"ttl": "1h"}}]}))
    done = cli.cli("services", "register", str(path))
    assert (done.returncode, done.stderr) == (0, "")
    assert "Registered service: one" in done.stdout
    assert {"one", "two"} <= in_catalog(agent)
    assert cli.cli("maint", "-enable", "-service=two", "-reason=disk").returncode == 0
    assert "Reason: disk" in cli.cli("maint").stdout
    assert cli.cli("maint", "-disable", "-service=two").returncode == 0
    assert cli.cli("services", "deregister", str(path)).returncode == 0
    assert in_catalog(agent) == {"configured"}
