"""Keys of gossip in pools of real Consul agents and ours: rotated from either side, and nobody is cut off."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from services.rpc_core.local.user_event import UserEvent, encode, new_id
from tests.agents import Agent, RealConsul, all_running, wait_until
from tests.integration.gossip.gossip_process import wait_for
from tests.interop.gossip_members import ALIVE, ConsulMember, OurMember, SerfMember, Timing, in_thread, wait_all

pytestmark = pytest.mark.real_consul

FIRST = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
SECOND = "EBESExQVFhcYGRobHB0eHw=="
THIRD = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3"
PATH = "/v1/operator/keyring"
QUICK = Timing(probe_interval_s=0.3, probe_timeout_s=0.2, gossip_interval_s=0.1, suspicion_mult=4)
Loopback = Callable[[], str]


class MixedPool:
    """A real server and client, and two processes of ours."""

    def __init__(self, loopback: Loopback, directory: Path, consul: Path) -> None:
        keys = ["-encrypt", FIRST]
        self.server = ConsulMember(
            loopback(), directory / "server", consul, "server", server=1, timing=QUICK, arguments=keys
        )
        self.client = ConsulMember(
            loopback(), directory / "client", consul, "client", timing=QUICK,
            arguments=[*keys, "-retry-join", self.server.lan, "-retry-interval=1s"],
        )  # fmt: skip
        self.o1, self.o2 = (
            OurMember(loopback(), directory / name, name, QUICK, encrypt=FIRST, disable_keyring_file=False)
            for name in ("o1", "o2")
        )
        self.everybody = [self.server, self.client, self.o1, self.o2]
        self._heard: dict[str, list[str]] = {"o1": [], "o2": []}
        self._rng = random.Random(7)
        self._told = 0

    @contextlib.asynccontextmanager
    async def running(self) -> Any:
        async with self.server.running(), self.client.running(), self.o1.running(), self.o2.running():
            for ours in (self.o1, self.o2):
                heard = self._heard[ours.name]
                ours.call.link.subscribe("events", partial(_take_name, heard))
            await self.o1.join(self.server.lan)
            await self.o2.join(self.client.lan)
            await self.all_alive()
            yield

    async def all_alive(self) -> None:
        await wait_all(self.everybody, {member.name: ALIVE for member in self.everybody})

    async def talk(self) -> None:
        """An event from each kind reaches everybody."""
        for teller in ("o1", "client"):
            self._told += 1
            name = f"told-{self._told}"
            if teller == "o1":
                payload = encode(UserEvent(new_id(self._rng), name))
                await self.o1.call("UserEvent", name=f"consul:event:{name}", payload=payload, coalesce=False)
            else:
                # One that was just started may not have heard of the server yet, and refuses.
                await in_thread(wait_until, lambda name=name: _fired(self.client.agent, name), 30.0, f"{name} fired")
            for heard in self._heard.values():
                await wait_for(lambda heard=heard, name=name: f"consul:event:{name}" in heard)  # type: ignore[misc]
            for member in (self.server, self.client):
                await in_thread(wait_until, lambda m=member, n=name: _listed(m.agent, n), 30.0, f"{name} everywhere")
        await self.all_alive()

    async def by_us(self, operation: str, key: str) -> None:
        answer = await self.o1.call.keyring(operation, key)
        assert (answer["Error"], answer["NumNodes"]) == ("", 4), answer

    async def by_consul(self, method: str, key: str) -> None:
        """Until everybody in the LAN has confirmed: the query ends before a slow member answers. What is done from our
        side never reaches the WAN pool of the real server, which may refuse the next step."""

        def done() -> bool:
            body = self.server.agent.http(method, PATH, {"Key": key}).body
            return b"(LAN) error" not in body

        await in_thread(wait_until, done, 30.0, f"{method} {key}")

    async def assert_keys(self, primary: str, *others: str, relay_factor: int = 0) -> None:
        """Everybody has these keys, as told to either kind."""
        expected = dict.fromkeys((primary, *others), 4)

        def seen_by_consul() -> Any:
            answer = self.server.agent.http("GET", f"{PATH}?local-only=true&relay-factor={relay_factor}")
            return answer.status == 200 and answer.json()[0]["NumNodes"] == 4 and answer.json()[0]

        theirs = await in_thread(wait_until, seen_by_consul, 30.0, "an answer of everybody")
        ours = await self.o2.call.keyring("list-keys", relay_factor=relay_factor)
        for found in (theirs, ours):
            assert (found["Keys"], found["PrimaryKeys"], found["NumNodes"]) == (expected, {primary: 4}, 4)


def _take_name(heard: list[str], event: dict[str, Any]) -> None:
    heard.append(event["name"])


def _fired(agent: RealConsul, name: str) -> bool:
    return agent.http("PUT", f"/v1/event/fire/{name}").status == 200


def _listed(agent: RealConsul, name: str) -> bool:
    return bool(agent.http("GET", f"/v1/event/list?name={name}").json())


async def test_keys_are_rotated_from_either_side_while_messages_flow(
    loopback: Loopback, tmp_path: Path, real_consul: Path
) -> None:
    pool = MixedPool(loopback, tmp_path, real_consul)
    async with pool.running():
        await pool.talk()
        await pool.by_us("install-key", SECOND)
        await pool.assert_keys(FIRST, SECOND)
        await pool.by_consul("PUT", SECOND)
        await pool.talk()
        await pool.by_us("remove-key", FIRST)
        await pool.assert_keys(SECOND)
        await pool.talk()
        await pool.by_consul("POST", THIRD)
        await pool.by_us("use-key", THIRD)
        await pool.assert_keys(THIRD, SECOND)
        await pool.talk()
        await pool.by_consul("DELETE", SECOND)
        await pool.assert_keys(THIRD)

        refused = await pool.o1.call.keyring("remove-key", THIRD)
        assert refused["Error"] == "4/4 nodes reported failure"
        assert set(refused["Messages"].values()) == {"Removing the primary key is not allowed"}
        assert set(refused["Messages"]) == {member.name for member in pool.everybody}

        await pool.assert_keys(THIRD, relay_factor=3)  # answers come several times, and count once

        for member in (pool.o2, pool.client):  # what they start with is in their files
            member.kill()
            member.start()
        await pool.o2.wait_statuses({"o2": ALIVE})
        await pool.all_alive()
        await pool.assert_keys(THIRD)
        await pool.talk()


class TwoDatacenters:
    """Our agent is dc1, a real one dc2; both speak for both."""

    def __init__(self, ours: Agent, real: RealConsul) -> None:
        self.ours, self.real = ours, real

    def change(self, agent: Agent | RealConsul, option: str, key: str) -> None:
        wait_until(lambda: agent.cli("keyring", option, key).returncode == 0, what=f"keyring {option}")

    def keys(self, agent: Agent | RealConsul) -> dict[str, Any]:
        """Pool -> its answer, from a request that everybody answered."""
        answer = wait_until(lambda: (a := agent.http("GET", PATH)).status == 200 and a, what="all keys")
        assert answer
        found = answer.json()
        assert [one["WAN"] for one in found] == [True, False, False]
        return {"wan" if one["WAN"] else one["Datacenter"]: {**one, "Datacenter": ""} for one in found}

    def assert_keys(self, *keys: str) -> None:
        """Both say so, once neither takes the other for failed."""
        expected = {"wan": dict.fromkeys(keys, 2), "dc1": dict.fromkeys(keys, 1), "dc2": dict.fromkeys(keys, 1)}
        seen: list[dict[str, Any]] = []

        def alike() -> bool:
            seen[:] = [self.keys(agent) for agent in (self.ours, self.real)]
            return seen[0] == seen[1] and seen[0]["wan"]["NumNodes"] == 2

        with contextlib.suppress(AssertionError):
            wait_until(alike)
        assert seen[0] == seen[1]
        assert {pool: one["Keys"] for pool, one in seen[0].items()} == expected


def test_keys_of_all_pools_of_two_datacenters(loopback: Loopback, tmp_path: Path, real_consul: Path) -> None:
    ours = Agent(loopback(), tmp_path / "ours", ["-encrypt", FIRST], node_name="ours")
    real = RealConsul(
        loopback(), tmp_path / "real", real_consul, ["-encrypt", FIRST, "-datacenter=dc2"], node_name="real"
    )
    with all_running(ours, real):
        assert ours.cli("join", "-wan", real.address).returncode == 0
        for agent in (ours, real):
            wait_until(lambda a=agent: len(a.http("GET", "/v1/catalog/datacenters").json()) == 2, what="both")  # type: ignore[misc]
        both = TwoDatacenters(ours, real)
        both.assert_keys(FIRST)
        both.change(ours, "-install", SECOND)
        both.assert_keys(FIRST, SECOND)
        both.change(real, "-use", SECOND)
        both.change(ours, "-remove", FIRST)
        both.assert_keys(SECOND)
        for agent, datacenter in ((ours, "dc1"), (real, "dc2")):
            answer = wait_until(lambda a=agent: (it := a.http("GET", f"{PATH}?local-only=1")).status == 200 and it)  # type: ignore[misc]
            (only,) = answer.json()
            assert (only["WAN"], only["Datacenter"], only["Keys"]) == (False, datacenter, {SECOND: 1})

        def refused_alike() -> bool:
            """Also the numbers of those who answered."""
            refused = [agent.http("POST", PATH, {"Key": "c2hvcnQ="}) for agent in (ours, real)]
            assert [one.status for one in refused] == [500, 500]
            told = [sorted(line.strip() for line in one.body.decode().splitlines()) for one in refused]
            return told[0] == told[1]

        wait_until(refused_alike, what="the same words")


async def test_encryption_is_turned_on_in_a_living_pool(loopback: Loopback, tmp_path: Path, real_consul: Path) -> None:
    """Keys first, then what is sent, then what is let in: as the documents of Consul say."""
    lax = {"encrypt_verify_incoming": False, "encrypt_verify_outgoing": False}
    real = ConsulMember(
        loopback(), tmp_path / "real", real_consul, "real", server=1, timing=QUICK, arguments=["-encrypt", FIRST],
        config=lax,
    )  # fmt: skip
    ours = OurMember(loopback(), tmp_path / "ours", "ours", QUICK, encrypt=FIRST, **lax)
    plain = OurMember(loopback(), tmp_path / "plain", "plain", QUICK)
    rng = random.Random(3)

    async def tell_each_other(*members: OurMember) -> None:
        """An event from each of ours reaches the real one."""
        for member in members:
            name = f"from-{member.name}-{rng.getrandbits(40)}"
            payload = encode(UserEvent(new_id(rng), name))
            await member.call("UserEvent", name=f"consul:event:{name}", payload=payload, coalesce=False)
            await in_thread(wait_until, lambda name=name: _listed(real.agent, name), 30.0, name)

    async with real.running(), ours.running():
        async with plain.running():
            for member in (ours, plain):
                await member.join(real.lan)
            everybody = [real, ours, plain]
            await wait_all(everybody, {member.name: ALIVE for member in everybody})
            await tell_each_other(ours, plain)
            plain.process.config = plain.process.config.replace(encrypt=FIRST, **lax)
            plain.kill()
            plain.start()
            await wait_all(everybody, {member.name: ALIVE for member in everybody})
        for verified in ({"encrypt_verify_outgoing": True}, {"encrypt_verify_incoming": True}):
            if "encrypt_verify_incoming" in verified:
                real.kill()
                real.agent.config = {**(real.agent.config or {}), "encrypt_verify_outgoing": True}
                real.start()
                await real.wait_statuses({"real": ALIVE})  # who comes first finds nobody, and does not look again
            ours.process.config = ours.process.config.replace(**verified)
            ours.kill()
            ours.start()
            await ours.wait_statuses({"ours": ALIVE})
            await wait_all([real, ours], {"real": ALIVE, "ours": ALIVE})
            await tell_each_other(ours)


async def test_keys_of_a_pool_with_serf_agents(loopback: Loopback, tmp_path: Path, real_serf: Path) -> None:
    serf = SerfMember(loopback(), tmp_path / "serf", real_serf, "serf", f"-encrypt={FIRST}", "-profile=local")
    ours = OurMember(loopback(), tmp_path / "ours", "ours", QUICK, encrypt=FIRST)

    async def by_serf(option: str, key: str = "") -> str:
        """Until both have confirmed: the query ends before a slow member answers."""
        with trio.fail_after(30):
            while True:
                try:
                    return await serf.cli("keys", f"{option}={key}" if key else option)
                except OSError as error:
                    if "nodes reported success" not in str(error):
                        raise

    async with serf.running(), ours.running():
        await ours.join(serf.lan)
        await wait_all([serf, ours], {"serf": ALIVE, "ours": ALIVE})
        await by_serf("-install", SECOND)
        assert (await ours.call.keyring("use-key", SECOND))["Error"] == ""
        await by_serf("-remove", FIRST)
        listed = await by_serf("-list")
        assert f"{SECOND}  [2/2]" in listed
        assert FIRST not in listed
        answer = await ours.call.keyring("list-keys")
        assert (answer["Keys"], answer["PrimaryKeys"]) == ({SECOND: 2}, {SECOND: 2})
        with pytest.raises(OSError, match="Removing the primary key is not allowed"):
            await by_serf("-remove", SECOND)
        await wait_all([serf, ours], {"serf": ALIVE, "ours": ALIVE})
