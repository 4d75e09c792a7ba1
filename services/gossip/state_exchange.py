"""Exchanges of states: ours for a peer's over a stream, and how the peer's is taken over."""

from collections.abc import Callable

import trio

from services.gossip.codec.stream import PushPull
from services.gossip.serf.core import Serf
from services.gossip.serf.effects import Effect
from services.gossip.streams import Streams
from services.gossip.swim import MergeError
from services.gossip.swim.address import Address
from shared import metrics

_RECORDS_AT_ONCE = 500  # of a peer's state: 20 ms of work if all of them are new


class StateExchange:
    """For one pool. perform: does what the core asks for."""

    def __init__(self, serf: Serf, streams: Streams, perform: Callable[[list[Effect]], None]) -> None:
        self._serf = serf
        self._streams = streams
        self._perform = perform

    async def push_pull(self, to: Address, *, join: bool, ignore_old: bool = False) -> None:
        """Exchange and merge states. Raises ExchangeError, MergeError."""
        started = trio.current_time()
        answer = await self._streams.push_pull(to, self._serf.push_pull(join))
        # The answer's flag is ours repeated; what decides about the merge check is what we set out to do.
        await self.merge(PushPull(join, answer.nodes, answer.user_state), ignore_old=ignore_old)
        metrics.sample("consul.memberlist.pushPullNode", (trio.current_time() - started) * 1000)

    async def merge(self, state: PushPull, *, ignore_old: bool = False) -> None:
        """Merge a peer's state, a large one in pieces, between which others get their turn. Raises MergeError."""
        try:
            self._serf.check_merge(state)
        except MergeError:
            metrics.incr("consul.memberlist.merge.refused")
            raise
        for start in range(0, len(state.nodes), _RECORDS_AT_ONCE):
            if start:
                await trio.lowlevel.checkpoint()
            records = state.nodes[start : start + _RECORDS_AT_ONCE]
            self._perform(self._serf.merge_nodes(records, trio.current_time()))
        self._perform(self._serf.merge_user_state(state, trio.current_time(), ignore_old=ignore_old))
