"""Confirming: a leader's gateway asks the other voters itself whether this server leads, at their raft_nodes' doors.

By its own raft_node each round would cost two more wake-ups, one after the other. That one is asked where this cannot
be done or leads to nothing: it knows how to wait, and what to say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import trio

from services.http_gateway.confirmation import Confirmation
from shared import metrics
from shared.ipc.calls import OnDone
from shared.server_rpc.errors import ServerCallError
from shared.server_rpc.pool import ServerPool
from shared.state.leadership import LeadershipPage

IDLE_TIMEOUT_S: Final = 120.0
DIAL_PAUSE_S: Final = 1.0
DIAL_PAUSE_MAX_S: Final = 32.0
"""Between attempts to connect to voters that could not be asked the last time, doubled from one to the next."""
PATIENCE_S: Final = 0.05
"""How long voters may take before raft_node is asked, which asks all of them."""


class _Round:
    """One question, for all who came before it. asked: ids of voters that have not answered yet."""

    __slots__ = ("asked", "confirmation", "on_done", "until")

    def __init__(self, confirmation: Confirmation, asked: set[str], on_done: OnDone, until: float) -> None:
        self.confirmation, self.asked, self.on_done, self.until = confirmation, asked, on_done, until


class Confirming:
    """One per server. otherwise: asks this server's raft_node. is_up: whether that is there. bind_host, after_batch:
    see ServerPool."""

    def __init__(
        self,
        page: LeadershipPage,
        otherwise: Callable[[OnDone], None],
        is_up: Callable[[], bool],
        bind_host: str,
        after_batch: Callable[[], None],
    ) -> None:
        self._page, self._otherwise, self._is_up = page, otherwise, is_up
        self._pool = ServerPool(
            bind_host, idle_timeout_s=IDLE_TIMEOUT_S, after_batch=after_batch, only_proven=True, doors=True
        )
        self._pool.on_silent = lambda address: self._pool.give_up(address, "nothing comes from the server")
        self._rounds: set[_Round] = set()
        self._busy = trio.Event()
        self._dial_from, self._dial_pause_s = 0.0, DIAL_PAUSE_S
        self._failed_at: dict[str, float] = {}
        """When voters were of no help: who is asked is the one for whom that is longest ago. The others sleep on."""
        self._last: dict[str, str] = {}
        """Who was asked last, of which peers."""
        self._last_peers: Mapping[str, str] = {}

    async def run(self) -> None:
        """Serves until cancelled."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._pool.run)
            while True:
                if not self._rounds:
                    self._busy = trio.Event()
                    await self._busy.wait()
                await trio.sleep(PATIENCE_S)
                self._expire(trio.current_time())

    def ask(self, on_done: OnDone) -> None:
        """on_done is called with the index up to which the state has to be applied, as raft_node's Raft.ReadIndex has
        it."""
        confirmation = Confirmation.begin(self._page) if self._is_up() else None
        chosen = self._chosen(confirmation) if confirmation is not None else {}
        if confirmation is None or not chosen:
            self._otherwise(on_done)
            return
        one = _Round(confirmation, set(chosen), on_done, trio.current_time() + PATIENCE_S)
        if not self._rounds:
            self._busy.set()
        self._rounds.add(one)
        for server_id, address in chosen.items():
            on_reply = partial(self._answered, one, server_id)
            if self._pool.begin(address, "Raft.Term", None, on_reply, repeatable=True) is None:
                self._give_up(one)
                return

    def flush(self) -> None:
        """Send what was asked now, instead of at the end of the batch."""
        for address in self._last.values():
            self._pool.flush(address)

    def _chosen(self, confirmation: Confirmation) -> dict[str, str]:
        """As many voters as are missing; none if there are not enough. Those of the last time, while all goes well."""
        last, pool = self._last, self._pool
        if last and self._last_peers is confirmation.peers and len(last) == confirmation.missing:
            for address in last.values():
                if not pool.is_ready(address) or pool.is_silent(address):
                    break
            else:
                return last
        now = trio.current_time()
        ready = [
            (server_id, address)
            for server_id, address in confirmation.peers.items()
            if self._pool.is_ready(address) and not self._pool.is_silent(address)
        ]
        if len(ready) == len(confirmation.peers):
            self._dial_pause_s = DIAL_PAUSE_S
        elif now >= self._dial_from:
            self._dial_from = now + self._dial_pause_s
            self._dial_pause_s = min(2 * self._dial_pause_s, DIAL_PAUSE_MAX_S)
            for address in confirmation.peers.values():
                self._pool.open(address)
        if len(ready) < confirmation.missing:
            return {}
        ready.sort(key=lambda one: self._failed_at.get(one[0], 0.0))
        self._last, self._last_peers = dict(ready[: confirmation.missing]), confirmation.peers
        return self._last

    def _answered(self, one: _Round, server_id: str, answer: Any, error: ServerCallError | None) -> None:
        if one not in self._rounds:
            return
        confirmation = one.confirmation
        if error is not None or not confirmation.answered(server_id, answer):
            self._give_up(one)
            return
        one.asked.discard(server_id)
        if confirmation.missing:
            return
        if not confirmation.stands(self._page):
            self._give_up(one)
            return
        self._rounds.discard(one)
        metrics.incr("consul.raft.verify_leader")
        one.on_done(confirmation.index, None)

    def _give_up(self, one: _Round) -> None:
        self._rounds.discard(one)
        self._last_peers = {}  # somebody else may be the better one to ask
        for server_id in one.asked:
            self._failed_at[server_id] = trio.current_time()
        self._otherwise(one.on_done)

    def _expire(self, now: float) -> None:
        for one in [one for one in self._rounds if one.until <= now]:
            self._give_up(one)
