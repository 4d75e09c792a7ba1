"""Our gossip process in a pool of serf 0.9.4 agents: joined from either side, everything agrees on every side."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.integration.gossip.gossip_process import wait_for
from tests.interop.gossip_members import (
    ALIVE,
    FAILED,
    GONE,
    KEY,
    LEFT,
    OurMember,
    PoolMember,
    SerfMember,
    Timing,
    wait_all,
)
from tests.promises import within_s

pytestmark = pytest.mark.real_consul

SERFS_LAN = Timing()
SERFS_LOCAL = Timing(probe_interval_s=1.0, probe_timeout_s=0.2, gossip_interval_s=0.1, suspicion_mult=3)
Loopback = Callable[[], str]


class Four:
    """Two of each kind in one pool: s1 and s2 of serf, o1 that joined s1, o2 that s2 joined."""

    def __init__(self, s1: SerfMember, s2: SerfMember, o1: OurMember, o2: OurMember, directory: Path) -> None:
        self.s1, self.s2, self.o1, self.o2 = s1, s2, o1, o2
        self.everybody = [s1, s2, o1, o2]
        self.directory = directory

    def serf_events(self, name: str) -> list[str]:
        path = self.directory / f"{name}.events"
        return path.read_text().splitlines() if path.exists() else []


def four(loopback: Loopback, directory: Path, serf: Path, profile: str, timing: Timing, key: str = "") -> Four:
    def real(name: str, *arguments: str) -> SerfMember:
        events = directory / f"{name}.events"
        handlers = [
            f'user=echo "$SERF_USER_EVENT:$(cat)" >> {events}',
            f'query:who=echo -n "{name} heard $(cat)"',
        ]
        options = [f"-profile={profile}", f"-tag=kind={name}", *([f"-encrypt={key}"] if key else []), *arguments]
        return SerfMember(loopback(), directory / name, serf, name, *options, handlers=handlers)

    s1 = real("s1")
    s2 = real("s2", f"-join={s1.lan}")
    o1, o2 = (OurMember(loopback(), directory / name, name, timing, encrypt=key) for name in ("o1", "o2"))
    return Four(s1, s2, o1, o2, directory)


async def gather(pool: Four) -> None:
    """One after the other: serf's local profile sends a rumour only twice, which may miss one who is just coming."""
    await pool.o1.join(pool.s1.lan)
    await wait_all([pool.s1, pool.s2, pool.o1], {"s1": ALIVE, "s2": ALIVE, "o1": ALIVE})
    await pool.s2.join(pool.o2.lan)
    await wait_all(pool.everybody, {one.name: ALIVE for one in pool.everybody})


@pytest.mark.parametrize("key", ["", KEY], ids=["plain", "encrypted"])
async def test_everything_that_is_told_in_the_pool_arrives_on_both_sides(
    loopback: Loopback, tmp_path: Path, real_serf: Path, key: str
) -> None:
    pool = four(loopback, tmp_path, real_serf, "local", SERFS_LOCAL, key)
    s1, s2, o1, o2 = pool.s1, pool.s2, pool.o1, pool.o2
    async with s1.running(), s2.running(), o1.running(), o2.running():
        await gather(pool)
        await see_the_same_members(pool)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(exchange_events, pool)
            nursery.start_soon(agree_on_coordinates, pool)
            await change_tags(pool)  # queries are filtered by them
            nursery.start_soon(ask_from_serf, pool)
            nursery.start_soon(ask_from_ours, pool)
        await live_together(pool)


async def live_together(pool: Four) -> None:
    """Nobody was taken for failed. Who gets no processor for a while seems to have failed, so to the letter with --long
    only; otherwise that must not go on."""

    def failures() -> int:
        return sum(one.log().count("EventMemberFailed") for one in pool.everybody)

    before, looks_left = 0, 0 if within_s(0.0) == 0.0 else 5
    while failures() != before and looks_left:
        looks_left -= 1
        await wait_all(pool.everybody, {one.name: ALIVE for one in pool.everybody})
        before = failures()
        await trio.sleep(3)  # in which nobody is taken for failed again
    assert failures() == before, "\n\n".join(one.log()[-4000:] for one in pool.everybody)


async def see_the_same_members(pool: Four) -> None:
    views = [await one.members() for one in pool.everybody]
    for name in ("s1", "s2", "o1", "o2"):
        for what in ("Addr", "Port", "Tags"):
            assert len({str(sorted(v[name][what].items()) if what == "Tags" else v[name][what]) for v in views}) == 1
    assert views[0]["o1"]["Tags"]["role"] == "node"
    assert views[2]["s1"]["Tags"] == {"kind": "s1"}
    versions = [views[2]["s1"][f"{kind}{end}"] for kind in ("Protocol", "Delegate") for end in ("Min", "Max", "Cur")]
    assert versions == [1, 5, 2, 2, 5, 5]


async def change_tags(pool: Four) -> None:
    await pool.s1.cli("tags", "-set=colour=red", "-delete=kind")
    await pool.o1.call("SetTags", pool="lan", tags={"dc": "dc1", "colour": "blue", "\N{SNOWMAN}": "x"})

    async def agree(member: Any) -> None:
        async def seen() -> tuple[Any, Any]:
            members = await member.members()
            return members["s1"]["Tags"], members["o1"]["Tags"]

        with trio.fail_after(60):
            while await seen() != ({"colour": "red"}, {"dc": "dc1", "colour": "blue", "\N{SNOWMAN}": "x"}):
                await trio.sleep(0.05)

    for member in pool.everybody:
        await agree(member)


async def exchange_events(pool: Four) -> None:
    """Events that may be coalesced and others, from each kind."""
    heard: dict[str, list[tuple[str, bytes]]] = {"o1": [], "o2": []}

    def listen(ours: OurMember) -> None:
        ours.call.link.subscribe("events", lambda one: heard[ours.name].append((one["name"], one["payload"])))

    for ours in (pool.o1, pool.o2):
        listen(ours)
        await ours.call("Stats", pool="lan")  # answered after the subscription
    for coalesce in (True, False):
        await pool.s1.cli("event", f"-coalesce={str(coalesce).lower()}", f"serf-{coalesce}", "payload of serf")
        await pool.o1.call("UserEvent", name=f"ours-{coalesce}", payload=b"payload of ours", coalesce=coalesce)
    names = [f"{kind}-{coalesce}" for coalesce in (True, False) for kind in ("serf", "ours")]
    events = sorted((name, f"payload of {name.partition('-')[0]}".encode()) for name in names)
    lines = sorted(f"{name}:{payload.decode()}" for name, payload in events)

    def complete() -> bool:
        return all(sorted(heard[name]) == events for name in ("o1", "o2")) and all(
            sorted(pool.serf_events(name)) == lines for name in ("s1", "s2")
        )

    try:
        await wait_for(complete, 60)
    except trio.TooSlowError:
        pytest.fail(f"{heard}, {pool.serf_events('s1')}, {pool.serf_events('s2')}")


async def agree_on_coordinates(pool: Four) -> None:
    """What one knows of another's place is what that one says of itself, and serf computes distances with ours."""
    for serf in (pool.s1, pool.s2):
        for other in ("o1", "o2"):
            with trio.fail_after(60):
                while True:
                    try:
                        answer = await serf.cli("rtt", other)
                        break
                    except OSError:  # no coordinate yet: nobody has answered a ping of it
                        await trio.sleep(0.1)
            assert f"Estimated {other} <-> {serf.name} rtt:" in answer
            milliseconds = float(answer.split("rtt: ")[1].split(" ms")[0])
            assert 0 < milliseconds < 1000 * within_s(1)
    with trio.fail_after(60):
        while set(await pool.o1.call("Coordinates", pool="lan")) != {"s1", "s2", "o1", "o2"}:
            await trio.sleep(0.1)


async def ask_from_serf(pool: Four) -> None:
    async def until(expected: tuple[list[str], dict[str, str]], *options: str) -> None:
        """A query that ends before a slow member answers is repeated."""
        for attempt in range(1, 9):
            timeout = f"-timeout={attempt}s"
            answer = json.loads(await pool.s1.cli("query", "-format=json", timeout, *options, "who", "what"))
            found = sorted(answer.get("Acks") or []), answer.get("Responses") or {}
            if found == expected:
                return
        assert found == expected

    async def reach_all() -> None:
        """It waits for the answers as long as Serf thinks it takes, which a machine without a free CPU may not do."""
        for attempt in range(1, 9):
            try:
                answer = await pool.s1.cli("reachability")
            except OSError:
                if attempt == 8:
                    raise
            else:
                assert "Successfully contacted all live nodes" in answer, answer
                return

    both = {name: f"{name} heard what" for name in ("s1", "s2")}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(until, (["o1", "o2", "s1", "s2"], both))
        nursery.start_soon(until, (["o1", "s2"], {"s2": both["s2"]}), "-node=o1", "-node=s2", "-relay-factor=2")
        nursery.start_soon(until, (["o1"], {}), "-tag=colour=^b.*e$")
        nursery.start_soon(until, ([], both), "-no-ack")
        nursery.start_soon(reach_all)


async def ask_from_ours(pool: Four) -> None:
    async def until(acks: list[str], answers: dict[str, bytes], options: dict[str, Any]) -> None:
        for attempt in range(1, 9):
            query = {"pool": "lan", "name": "who", "payload": b"it", "timeout_s": float(attempt), **options}
            found = await pool.o1.call.link.call("Gossip.Query", query, timeout_s=30.0)
            if (sorted(found["Acks"]), found["Answers"]) == (acks, answers):
                return
        assert (sorted(found["Acks"]), found["Answers"]) == (acks, answers)

    both = {name: f"{name} heard it".encode() for name in ("s1", "s2")}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(until, ["o1", "o2", "s1", "s2"], both, {"ack": True, "relay_factor": 2})
        nursery.start_soon(until, ["s2"], {"s2": both["s2"]}, {"ack": True, "tags": {"kind": "s[2-9]"}})
        nursery.start_soon(until, [], {"s1": both["s1"]}, {"nodes": ["s1", "o2"]})
        nursery.start_soon(until, ["o1"], {}, {"ack": True, "nodes": ["o1"], "tags": {"colour": "blue"}})


class Pair:
    """One serf agent and one of ours. In a pool of two a suspicion takes its shortest time: there is nobody to ask."""

    def __init__(self, loopback: Loopback, directory: Path, serf: Path) -> None:
        self.serf = SerfMember(loopback(), directory / "serf", serf, "serf", "-profile=local")
        self.ours = OurMember(loopback(), directory / "ours", "ours", SERFS_LOCAL)

    @contextlib.asynccontextmanager
    async def together(self) -> AsyncIterator[tuple[SerfMember, OurMember]]:
        async with self.serf.running(), self.ours.running():
            await self.ours.join(self.serf.lan)
            await wait_all([self.serf, self.ours], {"serf": ALIVE, "ours": ALIVE})
            yield self.serf, self.ours


async def see_fail(observer: PoolMember, name: str) -> None:
    """Not before the shortest suspicion is over, and in time."""
    began = trio.current_time()
    await observer.wait_statuses({name: FAILED}, SERFS_LOCAL.detection_within_s(2))
    assert trio.current_time() - began >= SERFS_LOCAL.detection_s_min(2)


async def ours_is_killed(pair: Pair) -> None:
    async with pair.together() as (serf, ours):
        ours.kill()
        await see_fail(serf, "ours")
        await serf.cli("force-leave", "ours")
        await serf.wait_statuses({"ours": LEFT})
        ours.start()  # finds the pool by its snapshot
        await wait_all([serf, ours], {"serf": ALIVE, "ours": ALIVE})


async def serf_is_killed(pair: Pair) -> None:
    async with pair.together() as (serf, ours):
        serf.kill()
        await see_fail(ours, "serf")
        await ours.call("ForceLeave", node="serf", prune=False)
        await ours.wait_statuses({"serf": LEFT})
        serf.start()
        await wait_all([serf, ours], {"serf": ALIVE, "ours": ALIVE})


async def ours_pauses_and_leaves(pair: Pair) -> None:
    async with pair.together() as (serf, ours):
        ours.freeze()
        await see_fail(serf, "ours")
        ours.thaw()
        await wait_all([serf, ours], {"serf": ALIVE, "ours": ALIVE})
        await ours.leave()
        await serf.wait_statuses({"ours": LEFT})
        await serf.cli("force-leave", "-prune", "ours")
        await serf.wait_statuses({"ours": GONE})


async def serf_pauses_and_leaves(pair: Pair) -> None:
    async with pair.together() as (serf, ours):
        serf.freeze()
        await see_fail(ours, "serf")
        serf.thaw()
        await wait_all([serf, ours], {"serf": ALIVE, "ours": ALIVE})
        await serf.leave()
        await ours.wait_statuses({"serf": LEFT})
        await ours.call("ForceLeave", node="serf", prune=True)
        await ours.wait_statuses({"serf": GONE})


async def test_deaths_pauses_and_departures_of_either_kind_are_seen_by_the_other(
    loopback: Loopback, tmp_path: Path, real_serf: Path
) -> None:
    async with trio.open_nursery() as nursery:
        scenarios = (ours_is_killed, serf_is_killed, ours_pauses_and_leaves, serf_pauses_and_leaves)
        for number, scenario in enumerate(scenarios):  # short names: the path of a socket has little room
            nursery.start_soon(scenario, Pair(loopback, tmp_path / str(number), real_serf))


async def test_a_name_belongs_to_who_had_it_first(loopback: Loopback, tmp_path: Path, real_serf: Path) -> None:
    pool = four(loopback, tmp_path, real_serf, "local", SERFS_LOCAL)
    s1, s2, o1, o2 = pool.s1, pool.s2, pool.o1, pool.o2
    async with s1.running(), s2.running(), o1.running(), o2.running():
        await gather(pool)
        thief = SerfMember(loopback(), tmp_path / "thief", real_serf, "o2", "-profile=local", f"-join={s1.lan}")
        other = OurMember(loopback(), tmp_path / "other", "s2", SERFS_LOCAL)
        thief.start()
        async with other.running():
            # Ours does not give up a name that it shares, as Consul does not: it reports, and who was first stays.
            await other.call("Join", pool="lan", addresses=[o1.lan])
            await wait_for(lambda: "Node name conflicts with another node at" in other.log(), 60)
            # A serf agent asks the others, ours among them, whose name it is, and ends itself.
            try:
                assert thief.process is not None
                await trio.to_thread.run_sync(thief.process.wait, 60)
            finally:
                thief.kill()
            assert "minority in name conflict resolution" in thief.log()
            await wait_for(lambda: "Got conflict resolution query for 'o2'" in o1.log())
            for member in (s1, o1):
                assert (await member.members())["o2"]["Addr"] == o2.lan.removesuffix(":8301")
                assert (await member.members())["s2"]["Addr"] == s2.lan.removesuffix(":7946")
        assert s2.process is not None
        assert s2.process.poll() is None
