"""User events between our agents and real ones of one datacenter: fired on either side, seen on both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agents import Agent, RealConsul, wait_until
from tests.loopback import LoopbackPool

pytestmark = pytest.mark.real_consul

Pair = tuple[Agent, RealConsul]


@pytest.fixture(scope="module")
def pair(real_consul: Path, loopback: LoopbackPool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Our server, and a real server that has joined it."""
    ours = Agent(loopback(), tmp_path_factory.mktemp("ours"), dev=False, node_name="ours")
    with ours.running():
        arguments = ("-bootstrap-expect=0", "-retry-join", ours.address)
        real = RealConsul(
            loopback(), tmp_path_factory.mktemp("real"), real_consul, arguments, dev=False, node_name="real"
        )
        with real.running():
            for agent in (ours, real):
                wait_until(lambda agent=agent: len(agent.http("GET", "/v1/agent/members").json()) == 2, 60, "both")
            yield ours, real


def fire(agent: Agent | RealConsul, what: str, payload: bytes | str = b"") -> dict[str, object]:
    """The event. Fired again while there is no leader to pass it on: the second server just gets its vote."""
    answer = wait_until(lambda: (it := agent.http("PUT", f"/v1/event/fire/{what}", payload)).status == 200 and it, 60)
    assert answer
    event: dict[str, object] = answer.json()
    return event


def listed(agent: Agent | RealConsul, event_id: object) -> dict[str, object] | None:
    events = agent.http("GET", "/v1/event/list").json()
    return next((event for event in events if event["ID"] == event_id), None)


@pytest.mark.parametrize("fired_by", [0, 1], ids=["ours", "real"])
def test_an_event_reaches_everybody_and_looks_the_same(pair: Pair, fired_by: int) -> None:
    fired = fire(pair[fired_by], "deploy?node=.*&pretty", b"\x00payload\xff")
    found = [wait_until(lambda agent=agent: listed(agent, fired["ID"]), 60, "the event") for agent in pair]
    assert found[0] == found[1] == {**fired, "LTime": found[0]["LTime"]}  # type: ignore[index]
    assert found[0]["LTime"] > 0  # type: ignore[operator]


@pytest.mark.parametrize("fired_by", [0, 1], ids=["ours", "real"])
@pytest.mark.parametrize("meant", [0, 1], ids=["for ours", "for real"])
def test_a_filter_decides_where_an_event_is_seen(pair: Pair, fired_by: int, meant: int) -> None:
    agent = pair[fired_by]
    only = fire(agent, f"x?node=^{('ours', 'real')[meant]}$")["ID"]
    everybody = fire(agent, "y")["ID"]
    for each in pair:
        wait_until(lambda each=each: listed(each, everybody), 60, "the event behind it")
    wait_until(lambda: listed(pair[meant], only), 60, "the event where it is meant")
    assert listed(pair[1 - meant], only) is None


@pytest.mark.parametrize("fired_by", [0, 1], ids=["ours", "real"])
def test_a_service_of_ours_is_matched_by_id_and_tag(pair: Pair, fired_by: int) -> None:
    ours = pair[0]
    assert ours.http("PUT", "/v1/agent/service/register", {"Name": "web", "Tags": ["v1"]}).status == 200
    seen, unseen = (fire(pair[fired_by], f"s?service=^web$&tag={tag}")["ID"] for tag in ("v1", "v2"))
    wait_until(lambda: listed(ours, seen), 60, "the event")
    last = fire(pair[fired_by], "last")["ID"]
    wait_until(lambda: listed(ours, last), 60, "the event behind it")
    assert listed(ours, unseen) is None


def test_the_real_watch_program_follows_our_events(pair: Pair, tmp_path: Path) -> None:
    import subprocess

    ours, real = pair
    out = tmp_path / "out"
    command = [str(real.binary), "watch", "-type=event", "-name=followed", f"cat >> {out}"]
    environment = {"CONSUL_HTTP_ADDR": f"{ours.address}:{ours.http_port}", "PATH": "/usr/bin:/bin"}
    process = subprocess.Popen(command, env=environment)
    try:
        wait_until(lambda: out.exists() and out.read_text() == "[]\n", what="the first call")
        for number in range(3):
            fire(ours, "followed", str(number))
            wait_until(lambda number=number: out.read_text().count('"Name":"followed"') == number + 1, what="an event")
    finally:
        process.terminate()
        process.wait(30)
