"""Where a call is to be answered: here, or not at all yet.

Order of Consul's ForwardRPC: another datacenter; a stale read, which any server answers; the leader; else
wait for one, at most `performance.rpc_hold_timeout`. Passing a call on to another server is where
`answer_here` raises or waits today."""

from __future__ import annotations

import random
import time
from typing import Protocol

import trio

from services.rpc_core.errors import NoLeaderError, NoPathToDatacenterError
from shared.log import get_logger
from shared.state.leadership import LEADER, Leadership

_log = get_logger("agent.server.rpc")

JITTER_FRACTION = 16
"""Retries wait a random part of the hold timeout divided by this; blocking queries add the same part."""


class LeadershipSource(Protocol):
    """Whoever knows the current leadership (the page that raft_node writes)."""

    def read(self) -> Leadership: ...


class Router:
    """Decides for one server. `leaving` makes calls that wait for a leader fail at once."""

    def __init__(
        self, datacenter: str, hold_timeout_s: float, leadership: LeadershipSource, rng: random.Random
    ) -> None:
        self.datacenter = datacenter
        self.hold_timeout_s = hold_timeout_s
        self.leaving = trio.Event()
        self._leadership = leadership
        self._rng = rng
        self._changed = trio.Event()

    def leadership_changed(self) -> None:
        """Those who wait for a leader look at the page again."""
        self._changed.set()
        self._changed = trio.Event()

    def start_leaving(self) -> None:
        """From now on nobody waits for a leader: calls fail at once, and callers try another server."""
        self.leaving.set()
        self.leadership_changed()

    async def pause(self) -> None:
        """Wait for news about the leader, or the random time after which a retry is due anyway."""
        with trio.move_on_after(self._rng.random() * self.hold_timeout_s / JITTER_FRACTION):
            await self._changed.wait()

    def leadership(self) -> Leadership:
        return self._leadership.read()

    def leads(self) -> bool:
        """Whether this server is the leader and its lease lives: it may answer `default` reads alone."""
        return self._leadership.read().may_serve_default(time.monotonic_ns())

    def last_contact_ns(self) -> int:
        """Nanoseconds since the last word of the leader: 0 on the leader itself."""
        now = self._leadership.read()
        if now.role == LEADER:
            return 0
        return max(0, time.monotonic_ns() - now.last_contact_ns)

    def check_datacenter(self, method: str, datacenter: str) -> None:
        """Raises NoPathToDatacenterError for any datacenter but ours (also for an empty name)."""
        if datacenter != self.datacenter:
            _log.warn(
                "RPC request for DC is currently failing as no path was found",
                datacenter=datacenter,
                method=method,
            )
            raise NoPathToDatacenterError

    async def answer_here(self, method: str, datacenter: str, *, stale: bool = False) -> None:
        """Returns when this server may answer. stale: a read that any server may answer.

        Raises NoPathToDatacenterError, or NoLeaderError after the hold timeout."""
        self.check_datacenter(method, datacenter)
        if stale and self._ever_had_a_leader():
            return
        if not self.leads():
            await self._wait_for_leader()

    def _ever_had_a_leader(self) -> bool:
        now = self._leadership.read()
        return now.role == LEADER or now.last_contact_ns > 0

    async def _wait_for_leader(self) -> None:
        give_up_at = trio.current_time() + self.hold_timeout_s
        while not self.leads():
            if self.leaving.is_set() or trio.current_time() >= give_up_at:
                raise NoLeaderError
            await self.pause()
