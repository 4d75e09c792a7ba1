"""Blocking queries from the network: each waits in its task, but what they wait for is looked up and encoded once.

One change of a service wakes everybody who watches it; the first evaluates, the others find its answer (`at_hand`)."""

from __future__ import annotations

from typing import Any

import trio

from services.rpc_core.core import Core
from services.rpc_core.endpoints.at_hand import Kept, ReadsAtHand
from services.rpc_core.errors import RpcError
from shared.structs.errors import WireTypeError
from shared.structs.query import QueryOptions
from shared.wire import rpc


class WaitingReads:
    """One per process."""

    def __init__(self, core: Core, at_hand: ReadsAtHand) -> None:
        self._core, self._at_hand = core, at_hand

    async def answer(self, method: str, body: Any) -> tuple[bytes | None, Any]:
        """The body of the answer in msgpack. None if the call has to go the way of all others - this server does not
        lead, or what is asked for cannot be shared -, and the request with which it is to go."""
        if not isinstance(body, dict) or not body.get("MinQueryIndex"):
            return None, body
        try:
            options = QueryOptions.from_wire(body)
        except WireTypeError:
            return None, body
        # What all have in common who ask the same.
        request = {**body, "MinQueryIndex": 0, "MaxQueryTime": 0}
        packed, core = rpc.pack(request), self._core
        give_up_at = core.give_up_at(options)
        kept = self._look(method, packed, request)
        if kept is not None and kept.tag and kept.index <= options.min_query_index:
            with core.counted_as_blocking(), trio.move_on_at(give_up_at) as scope:
                kept = await self._newer(kept, options.min_query_index, method, packed, request)
            if scope.cancelled_caught:
                kept = self._look(method, packed, request)
            if kept is None or not kept.tag:
                left_ns = int((give_up_at - trio.current_time()) * 1e9)
                return None, {**body, "MaxQueryTime": max(left_ns, 1)}
        if kept is None or not kept.tag:
            return None, body
        kept.counted()
        return kept.packed, body

    async def _newer(self, kept: Kept, index: int, method: str, packed: bytes, request: dict[str, Any]) -> Kept | None:
        """The answer when it is newer than `index`, or when the whole state was replaced; None if it has to be waited
        for in the other way."""
        generation = kept.versions[0]
        newer: Kept | None = kept
        while newer is not None and newer.index <= index and newer.versions[0] == generation:
            woken = trio.Event()
            registration = self._core.hub.register(newer.watch, woken.set)
            try:
                latest = self._look(method, packed, request)
                if latest is newer:  # nothing has changed before it was registered
                    await woken.wait()
                    latest = self._look(method, packed, request)
            finally:
                registration.cancel()
            newer = latest if latest is None or latest.tag else None
        return newer

    def _look(self, method: str, packed: bytes, request: dict[str, Any]) -> Kept | None:
        if not self._core.router.leads():
            return None
        try:
            with self._core.snapshot() as snap:
                return self._at_hand.look(snap, method, packed, lambda: request)
        except RpcError:
            return None
