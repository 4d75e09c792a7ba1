"""A mixed pool of ten that members keep leaving and returning to, in every way: nobody is taken for dead who is not.

Half a minute of it in CI, in a faster pool than Consul's; half an hour with Consul's own timing with --long.
PROCONSUL_CHURN_S is for how many seconds, PROCONSUL_CHURN_SEED replays the choices of a run."""

from __future__ import annotations

import contextlib
import os
import random
import re
import statistics
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
import trio

from tests.interop.gossip_members import (
    ALIVE,
    FAILED,
    GONE,
    KEY,
    LEAVING,
    LEFT,
    NO_ANSWER,
    QUICK,
    ConsulMember,
    OurMember,
    PoolMember,
    Timing,
    wait_all,
)
from tests.seeds import seed_of

pytestmark = pytest.mark.real_consul

CONSULS = Timing()
SIZE = 10
LONG_S = 1800.0
KEEP_THE_DEAD = {"autopilot": {"cleanup_dead_servers": False}}
"""A leader sends dead servers that do not vote yet away at once: they would be seen to have left."""
_FAILED = re.compile(r"^\s*(\S+) \[INFO\]\s+agent\.(?:server|client)\.serf\.lan: serf: EventMemberFailed: (\S+) ", re.M)


class Pool:
    """The ten, and what was done to them.

    excused: (name, from, to) in seconds of the epoch: when a member may be called failed; to is infinity while it is
    being disturbed. stopped: (name, from, to), who was stopped for a moment itself: a suspicion that began before may
    have run out while its refutation waited to be read, and real agents act on it first; they take it back at once.
    detections_s: how long it took until everybody knew of a death. stayed_leaving: see _ended_leaving."""

    def __init__(self, members: list[PoolMember], timing: Timing, rng: random.Random) -> None:
        self.members, self.timing, self._rng = members, timing, rng
        self.by_name = {member.name: member for member in members}
        self.excused: list[tuple[str, float, float]] = []
        self.stopped: list[tuple[str, float, float]] = []
        self.detections_s: list[float] = []
        self.stayed_leaving: list[tuple[str, str]] = []
        self.done: dict[str, int] = {}

    def others(self, *victims: PoolMember) -> list[PoolMember]:
        return [member for member in self.members if member not in victims]

    async def all_alive(self) -> None:
        """And none of them still busy with joining: one that leaves then is taken for failed."""
        await wait_all(self.members, {member.name: ALIVE for member in self.members}, 120)
        for member in self.members:
            await member.wait_start_over()

    async def disturb(self, action: str, victims: list[PoolMember]) -> None:
        self.done[action] = self.done.get(action, 0) + 1
        began = time.time()
        await getattr(self, f"_{action}")(victims)
        await self.all_alive()
        if action == "short_freeze":
            self.stopped += [(victim.name, began, time.time() + 1) for victim in victims]
        if not action.startswith("short"):
            self.excused += [(victim.name, began, time.time()) for victim in victims]

    async def _kill(self, victims: list[PoolMember]) -> None:
        for victim in victims:
            victim.kill()
        await self._seen_failed(victims)
        for victim in victims:
            victim.start()

    async def _freeze(self, victims: list[PoolMember]) -> None:
        for victim in victims:
            victim.freeze()
        try:
            await self._seen_failed(victims)
        finally:
            for victim in victims:
                victim.thaw()

    async def _leave(self, victims: list[PoolMember]) -> None:
        for victim in victims:
            await victim.leave()
        await wait_all(self.others(*victims), {victim.name: LEFT for victim in victims})
        for victim in victims:
            victim.start()
            if isinstance(victim, OurMember):
                await victim.wait_statuses({victim.name: ALIVE})
                await victim.join(self._rng.choice(self.others(*victims)).lan)
        await self._ended_leaving(victims)

    async def _ended_leaving(self, victims: list[PoolMember]) -> None:
        """Until everybody saw those that had left come back; who takes one for leaving for ever is helped.

        That is Serf's: who has heard that a member joined again, but not yet that it lives, still counts it among
        those that left, with the time of the new join, in an exchange of states. Its partner must take that for a
        leaving one later than the join that it knows. Nothing is newer than that but another join, by way of a member
        with such a clock."""
        with trio.move_on_after(60):
            while any(status not in (ALIVE, LEAVING) for _, _, status in await self._sightings(victims)):
                await trio.sleep(0.1)
        for observer, victim, status in await self._sightings(victims):
            if status == LEAVING:
                self.stayed_leaving.append((observer.name, victim.name))
                await victim.join(observer.lan)

    async def _sightings(self, victims: list[PoolMember]) -> list[tuple[PoolMember, PoolMember, int]]:
        """(observer, victim, as what it sees it); nothing is seen by one that does not answer."""
        found = []
        for observer in self.members:
            seen: dict[str, int] = {}
            with contextlib.suppress(*NO_ANSWER):
                seen = await observer.statuses()
            found += [(observer, victim, seen.get(victim.name, GONE)) for victim in victims]
        return found

    async def _short_freeze(self, victims: list[PoolMember]) -> None:
        """For less time than the shortest suspicion: it is suspected, and refutes."""
        for victim in victims:
            victim.freeze()
        await trio.sleep(self.timing.suspicion_min_s(SIZE) / 2)
        for victim in victims:
            victim.thaw()

    async def _short_kill(self, victims: list[PoolMember]) -> None:
        """Killed and started again at once: it is back from its snapshot before any suspicion ends."""
        for victim in victims:
            victim.kill()
            victim.start()

    async def _seen_failed(self, victims: list[PoolMember]) -> None:
        began = trio.current_time()
        longest_s = self.timing.detection_within_s(SIZE)
        await wait_all(self.others(*victims), {victim.name: FAILED for victim in victims}, longest_s)
        self.detections_s.append(trio.current_time() - began)

    def deaths(self) -> list[tuple[float, str, str]]:
        """(when, who said so, who), as in the logs."""
        found = []
        for member in self.members:
            for stamp, name in _FAILED.findall(member.log()):
                found.append((datetime.fromisoformat(stamp).timestamp(), member.name, name))
        return sorted(found)

    def false_deaths(self) -> list[tuple[float, str, str]]:
        return [
            (at, observer, name)
            for at, observer, name in self.deaths()
            if not any(name == one and start <= at <= end for one, start, end in self.excused)
            and not any(observer == one and start <= at <= end for one, start, end in self.stopped)
        ]


@pytest.mark.timeout(LONG_S + 900)
@pytest.mark.parametrize("key", [KEY, pytest.param("", marks=pytest.mark.slow)], ids=["encrypted", "plain"])
async def test_churn_in_a_mixed_pool_of_ten(
    request: pytest.FixtureRequest, real_consul: Path, loopback: Callable[[], str], tmp_path: Path, key: str
) -> None:
    long = request.config.getoption("--long")
    duration_s = float(os.environ.get("PROCONSUL_CHURN_S", LONG_S if long else 12))
    seed = int(os.environ.get("PROCONSUL_CHURN_SEED") or seed_of("gossip churn"))
    print(f"replay: PROCONSUL_CHURN_SEED={seed}")
    rng = random.Random(seed)
    timing = CONSULS if long else QUICK
    addresses = [loopback() for _ in range(SIZE)]
    joins = [f"-retry-join={address}" for address in addresses[:3]]
    options = [*(["-encrypt", key] if key else []), "-retry-interval=1s", *joins]
    members: list[PoolMember] = []
    for n, address in enumerate(addresses[:5]):
        directory, server = tmp_path / f"real{n}", 3 if n < 3 else 0
        real = ConsulMember(
            address, directory, real_consul, f"real{n}", server=server, timing=timing, arguments=options,
            config=KEEP_THE_DEAD,
        )  # fmt: skip
        members.append(real)
    members += [
        OurMember(address, tmp_path / f"ours{n}", f"ours{n}", timing, encrypt=key)
        for n, address in enumerate(addresses[5:])
    ]
    pool = Pool(members, timing, rng)
    # Where processes get no processor for a while, what is short by the clock is long for them.
    actions = ["kill", "freeze", "leave", *(["short_kill", "short_freeze"] if long else [])]
    async with contextlib.AsyncExitStack() as stack:
        for member in members:
            await stack.enter_async_context(member.running())
            if isinstance(member, OurMember):
                await member.join(addresses[0])
        await pool.all_alive()
        started = time.time()
        while time.time() - started < duration_s:
            servers, rest = members[:3], members[3:]
            victims = [rng.choice(members)] if rng.random() < 0.7 else [rng.choice(servers), rng.choice(rest)]
            await pool.disturb(rng.choice(actions), victims)
        took_s = time.time() - started
        false = [death for death in pool.false_deaths() if death[0] > started]
    print(f"taken for leaving when it was back (observer, member): {pool.stayed_leaving}")
    times = pool.detections_s
    print(f"{took_s:.0f} s, {pool.done}, {len(pool.deaths())} deaths told, {len(false)} of them false")
    if times:
        spread = f"{min(times):.1f} s to {max(times):.1f} s, median {statistics.median(times):.1f} s"
        print(f"deaths known to all after {spread}")
    assert false == []
