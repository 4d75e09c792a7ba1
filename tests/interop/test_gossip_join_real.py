"""Our gossip process and the real Consul 1.8.7 in one pool, joined from either side."""

import functools
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from tests.agents import RealConsul, wait_until
from tests.integration.gossip.gossip_process import Caller, GossipProcess, wait_for

pytestmark = pytest.mark.real_consul

ALIVE, LEAVING, LEFT, FAILED = 1, 2, 3, 4
KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
SECOND_KEY = "EBESExQVFhcYGRobHB0eHw=="
Loopback = Callable[[], str]
Make = Callable[..., GossipProcess]


@pytest.fixture
def make(loopback: Loopback, tmp_path: Path) -> Make:
    def made(name: str, **config: object) -> GossipProcess:
        return GossipProcess(loopback(), tmp_path / name, name, **config)

    return made


@pytest.fixture
def real(loopback: Loopback, tmp_path: Path, real_consul: Path) -> RealConsul:
    return RealConsul(loopback(), tmp_path / "real", real_consul, node_name="real")


async def in_thread(act: Callable[..., object], *arguments: object) -> object:
    return await trio.to_thread.run_sync(act, *arguments)


def members(agent: RealConsul, wan: str = "") -> dict[str, dict[str, object]]:
    return {one["Name"]: one for one in agent.http("GET", f"/v1/agent/members{wan}").json()}


def wait_status(agent: RealConsul, name: str, status: int, wan: str = "", timeout_s: float = 40.0) -> dict[str, object]:
    def seen() -> dict[str, object] | None:
        found = members(agent, wan).get(name)
        return found if found is not None and found["Status"] == status else None

    found = wait_until(seen, timeout_s, f"{name} with status {status}")
    assert found is not None
    return found


async def live_together(call: Caller, ours: GossipProcess, real: RealConsul, seconds: float) -> None:
    """Nobody fails for `seconds`. Who gets no processor for a while seems to have failed: then once more."""

    def failures() -> int:
        return (real.output() + ours.log()).count("EventMemberFailed")

    for _ in range(5):
        await call.wait_statuses({"ours": ALIVE, "real": ALIVE})
        await in_thread(wait_status, real, "ours", ALIVE)
        before = failures()
        await trio.sleep(seconds)
        if failures() == before:
            return
    raise AssertionError("they go on taking each other for failed")


def serf_health(agent: RealConsul, name: str) -> str | None:
    checks = agent.http("GET", f"/v1/health/node/{name}").json()
    return next((one["Status"] for one in checks if one["CheckID"] == "serfHealth"), None)


async def test_ours_joins_a_real_agent_and_lives_fails_returns_and_leaves(make: Make, real: RealConsul) -> None:
    with real.running(), make("ours", server=False) as ours:
        async with ours.link() as call:
            await call.wait_statuses({"ours": ALIVE})
            assert await call("Join", pool="lan", addresses=[real.address]) == 1
            await call.wait_statuses({"ours": ALIVE, "real": ALIVE})
            seen = await in_thread(wait_status, real, "ours", ALIVE)
            assert isinstance(seen, dict)
            assert seen["Tags"] == {
                "acls": "0",
                "build": "1.8.7:",
                "dc": "dc1",
                "id": ours.config.node_id,
                "role": "node",
                "segment": "",
                "vsn": "2",
                "vsn_max": "3",
                "vsn_min": "2",
            }
            versions = [seen[f"{kind}{end}"] for kind in ("Protocol", "Delegate") for end in ("Min", "Max", "Cur")]
            assert versions == [1, 5, 2, 2, 5, 4]
            await in_thread(wait_until, lambda: serf_health(real, "ours") == "passing", 30.0, "serfHealth")

            await live_together(call, ours, real, 5)  # fifty probe rounds of dev agents, in both directions
            for node in ({}, {"node": "real"}):
                with trio.fail_after(30):
                    while True:  # there is none of the other one before it has answered a ping
                        known = await call("Coordinate", pool="lan", **node)
                        if known is not None and known["Error"] < 1.5:
                            break
                        await trio.sleep(0.1)

            ours.kill()
            await in_thread(wait_status, real, "ours", FAILED)
            await in_thread(wait_until, lambda: serf_health(real, "ours") == "critical", 30.0, "serfHealth")
            ours.start()
            await call.wait_statuses({"ours": ALIVE})
            await call("Join", pool="lan", addresses=[real.address])
            await in_thread(wait_status, real, "ours", ALIVE)
            await in_thread(wait_until, lambda: serf_health(real, "ours") == "passing", 30.0, "serfHealth")

            await call("Leave", pool="lan")
            await in_thread(wait_status, real, "ours", LEFT)
            await in_thread(wait_until, lambda: serf_health(real, "ours") is None, 30.0, "deregistration")


async def test_a_real_agent_joins_ours_and_leaves(make: Make, real: RealConsul) -> None:
    with real.running(), make("ours", server=False) as ours:
        async with ours.link() as call:
            await call.wait_statuses({"ours": ALIVE})
            events: list[dict[str, object]] = []
            call.link.subscribe("events", events.append)
            joined = await in_thread(real.cli, "join", ours.address)
            assert joined.stdout == "Successfully joined cluster by contacting 1 nodes.\n"  # type: ignore[attr-defined]
            await call.wait_statuses({"ours": ALIVE, "real": ALIVE})
            await in_thread(wait_status, real, "ours", ALIVE)

            [theirs] = [one for one in await call("Members", pool="lan") if one["Name"] == "real"]
            assert theirs["Tags"]["role"] == "consul"
            assert [theirs[key] for key in ("ProtocolMin", "ProtocolMax", "ProtocolCur")] == [1, 5, 2]

            fired = await in_thread(real.cli, "event", "-name", "deploy", "v7")
            assert fired.returncode == 0  # type: ignore[attr-defined]
            await wait_for(lambda: any(one["name"] == "consul:event:deploy" for one in events))

            left = await in_thread(real.cli, "leave")
            assert left.returncode == 0  # type: ignore[attr-defined]
            await call.wait_statuses({"ours": ALIVE, "real": LEFT})


async def test_servers_meet_in_both_pools(make: Make, real: RealConsul) -> None:
    with real.running(), make("ours") as ours:
        async with ours.link() as call:
            await call.wait_statuses({"ours": ALIVE})
            await call("Join", pool="lan", addresses=[f"real/{real.address}:8301"])
            await call.wait_statuses({"ours.dc1": ALIVE, "real.dc1": ALIVE}, "wan")
            seen = await in_thread(wait_status, real, "ours.dc1", ALIVE, "?wan=1")
            assert isinstance(seen, dict)
            theirs = members(real, "?wan=1")["real.dc1"]
            assert isinstance(theirs["Tags"], dict)
            assert isinstance(seen["Tags"], dict)
            assert seen["Tags"] == {**theirs["Tags"], "id": ours.config.node_id}
            near, own = await in_thread(wait_status, real, "ours", ALIVE), members(real)["real"]
            assert isinstance(near, dict)
            assert isinstance(own["Tags"], dict)
            assert near["Tags"] == {**own["Tags"], "id": ours.config.node_id}
            await call("Leave", pool="wan")
            await in_thread(wait_status, real, "ours.dc1", LEFT, "?wan=1")


async def test_another_datacenter_is_refused_on_either_side(make: Make, real: RealConsul) -> None:
    with real.running(), make("ours", server=False, datacenter="dc2") as ours:
        async with ours.link() as call:
            await call.wait_statuses({"ours": ALIVE})
            with pytest.raises(Exception, match="Member 'real' part of wrong datacenter 'dc1'"):
                await call("Join", pool="lan", addresses=[real.address])
            joined = await in_thread(real.cli, "join", ours.address)
            text = joined.stderr  # type: ignore[attr-defined]
            assert "Member 'ours' part of wrong datacenter 'dc2'" in text
            assert await call.statuses() == {"ours": ALIVE}
            assert list(members(real)) == ["real"]


def change_keys(real: RealConsul, option: str, key: str) -> None:
    """Until every member has confirmed it: the query ends before a slow member answers."""
    wait_until(lambda: real.cli("keyring", option, key).returncode == 0, what=f"keyring {option}")


def keys_of_the_pool(real: RealConsul) -> dict[str, int]:
    """LAN key -> how many members have it."""
    (lan,) = [one for one in json.loads(real.http("GET", "/v1/operator/keyring").body) if not one["WAN"]]
    keys: dict[str, int] = lan["Keys"]
    return keys


async def test_an_encrypted_pool_with_a_key_rotation_started_by_the_real_one(
    make: Make, loopback: Loopback, tmp_path: Path, real_consul: Path
) -> None:
    real = RealConsul(loopback(), tmp_path / "real", real_consul, ["-encrypt", KEY], node_name="real")
    with real.running(), make("ours", server=False, encrypt=KEY) as ours:
        async with ours.link() as call:
            await call.wait_statuses({"ours": ALIVE})
            await call("Join", pool="lan", addresses=[real.address])
            await in_thread(wait_status, real, "ours", ALIVE)
            for option in ("-install", "-use"):
                await in_thread(change_keys, real, option, SECOND_KEY)
            await in_thread(change_keys, real, "-remove", KEY)
            await in_thread(wait_until, lambda: keys_of_the_pool(real) == {SECOND_KEY: 2}, 30.0, "one key for both")
            await call.wait_statuses({"ours": ALIVE, "real": ALIVE})
            ring = await call.keyring("list-keys")
            assert (ring["Keys"], ring["NumErr"]) == ({SECOND_KEY: 2}, 0)
            await live_together(call, ours, real, 3)


async def test_leaving_is_understood_from_an_exchange_of_states_too(make: Make, real: RealConsul) -> None:
    """An exchange overtakes the intent: told as any other member's, the time of the leaving would pass for a join."""
    with real.running(), make("ours") as ours:
        async with ours.link() as call, trio.open_nursery() as nursery:
            await call.wait_statuses({"ours": ALIVE})
            await call("Join", pool="wan", addresses=[f"real.dc1/{real.address}:8302"])
            await in_thread(wait_status, real, "ours.dc1", ALIVE, "?wan=1")
            nursery.start_soon(functools.partial(call, "Leave", pool="wan"))
            with trio.fail_after(40):  # the state in between may be over before it is looked at again
                while (await call.statuses("wan"))["ours.dc1"] not in (LEAVING, LEFT):
                    await trio.sleep(0.02)
            await in_thread(real.http, "PUT", f"/v1/agent/join/{ours.address}?wan=1")
            await in_thread(wait_status, real, "ours.dc1", LEFT, "?wan=1")
