"""Where a call is to be answered: here, or by the leader.

Order of Consul's ForwardRPC: another datacenter; a stale read, which any server answers; this server if it leads;
else the leader, see `forwarding`."""

from __future__ import annotations

import random
import time
from typing import Protocol

import trio

from services.rpc_core.errors import ElsewhereError, NoLeaderError, NoPathToDatacenterError
from shared.log import get_logger
from shared.state.leadership import LEADER, Leadership

_log = get_logger("agent.server.rpc")

JITTER_FRACTION = 16
"""Retries wait a random part of the hold timeout divided by this; blocking queries add the same part."""


class LeadershipSource(Protocol):
    """Whoever knows the current leadership (the page that raft_node writes)."""

    def read(self) -> Leadership: ...


class Router:
    """Decides for one server. own_address: its RPC address ("ip:port") as Raft knows it. `leaving` makes calls that
    wait for a leader fail at once."""

    def __init__(
        self,
        datacenter: str,
        hold_timeout_s: float,
        leadership: LeadershipSource,
        rng: random.Random,
        own_address: str = "",
    ) -> None:
        self.datacenter = datacenter
        self.hold_timeout_s = hold_timeout_s
        self.leaving = trio.Event()
        self._leadership = leadership
        self._rng = rng
        self._own_address = own_address
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

    def leader_elsewhere(self) -> str:
        """RPC address of another server that leads, "" if none is known."""
        return self._leadership.read().leader_elsewhere(self._own_address)

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
        """Returns if this server may answer. stale: a read that any server may answer.

        Raises NoPathToDatacenterError, or ElsewhereError: who called the method then asks the leader, or waits."""
        self.check_datacenter(method, datacenter)
        if stale and self._ever_had_a_leader():
            return
        if not self.leads():
            raise self.elsewhere()

    def elsewhere(self) -> NoLeaderError:
        """What to raise where only the leader can answer, and that is not this server."""
        return NoLeaderError() if self.leaving.is_set() else ElsewhereError(self.leader_elsewhere())

    async def wait_to_lead(self) -> None:
        """Returns when this server leads. Raises ElsewhereError if another one does, NoLeaderError after the hold
        timeout."""
        give_up_at = trio.current_time() + self.hold_timeout_s
        while not self.leads():
            if self.leader_elsewhere():
                raise self.elsewhere()
            if self.leaving.is_set() or trio.current_time() >= give_up_at:
                raise NoLeaderError
            await self.pause()

    def _ever_had_a_leader(self) -> bool:
        now = self._leadership.read()
        return now.role == LEADER or now.last_contact_ns > 0
