"""Reads that need not wait, answered without a task: from one state, by a handler that runs through in one go.

Their encoded answers are kept and hold while nothing they were read from has changed (`Snapshot.versions`): an answer
from here is exactly what the handler would give."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final

from services.rpc_core.core import Core, Query, Reply, T
from services.rpc_core.endpoints.catalog import count_lookup
from services.rpc_core.errors import RpcError
from shared import metrics
from shared.many_reads import METHODS
from shared.state.errors import StateError
from shared.state.snapshot import Snapshot
from shared.state.topics import Watch
from shared.structs.errors import WireTypeError
from shared.structs.query import QueryMeta, QueryOptions, ServiceSpecificRequest
from shared.wire import rpc

ENTRIES_MAX: Final = 4096
BYTES_MAX: Final = 32 << 20
ENTRY_BYTES_MAX: Final = 1 << 20
_LOOKUPS: Final = {"Catalog.ServiceNodes": "catalog", "Health.ServiceNodes": "health"}

Handler = Callable[[Core, Any], Awaitable[Any]]
Mark = tuple[int, int]


class NotAtHandError(Exception):
    """The read has to go the way on which it can wait."""


class Kept:
    """The answer to one request. packed: the body in msgpack, with the metadata of a leader. tag: tells it from all
    other answers; b"" if it does not depend on what is watched alone."""

    __slots__ = ("count", "index", "mark", "packed", "tag", "versions", "watch")

    def __init__(self, packed: bytes, tag: bytes, index: int, watch: Watch, versions: Any, mark: Mark) -> None:
        self.packed, self.tag, self.index = packed, tag, index
        self.watch, self.versions, self.mark = watch, versions, mark
        self.count: Callable[[], None] | None = None
        """Counts the look-up of a service."""

    def counted(self) -> None:
        """It is given to somebody."""
        metrics.incr("consul.rpc.query")
        if self.count is not None:
            self.count()


class _Look:
    """One handler's look at the state: it answers `Core.read`, and remembers what was read."""

    __slots__ = ("_datacenter", "_snap", "index", "watch")

    def __init__(self, snap: Snapshot, datacenter: str) -> None:
        self._snap, self._datacenter = snap, datacenter
        self.index = 0
        self.watch: Watch = ()

    def read(self, datacenter: str, options: QueryOptions, query: Query[T]) -> Reply[T]:
        if datacenter != self._datacenter or options.require_consistent:
            raise NotAtHandError
        answer = query(self._snap)
        self.watch += answer.watch
        self.index = max(answer.index, 1)
        if self.index <= options.min_query_index:
            raise NotAtHandError
        return Reply(QueryMeta(index=self.index, known_leader=True), answer.value)


class ReadsAtHand:
    """One per process. handlers: by method. When full, what was added first goes first."""

    def __init__(self, core: Core, handlers: Mapping[str, Handler]) -> None:
        self._core, self._handlers = core, handlers
        self._kept: dict[tuple[str, bytes], Kept] = {}
        self._bytes = 0
        self._run = os.urandom(8)
        self._number = 0

    def answer(self, snap: Snapshot, method: str, packed: bytes, body: Callable[[], Any]) -> Kept | None:
        """The answer to a request as of `snap`; None if it has to go the other way. packed, body: the request in
        msgpack, and what makes a map of it."""
        kept = self.look(snap, method, packed, body)
        if kept is not None:
            kept.counted()
        return kept

    def look(self, snap: Snapshot, method: str, packed: bytes, body: Callable[[], Any]) -> Kept | None:
        """As `answer`, for somebody who does not take every answer."""
        key = (method, packed)
        kept = self._kept.get(key)
        mark = snap.mark()
        if kept is not None:
            if kept.mark == mark or snap.versions(kept.watch) == kept.versions:
                kept.mark = mark
                return kept
            self._forget(key, kept)
        if method not in METHODS:
            return None
        request = body()
        if not isinstance(request, dict) or request.get("Datacenter") != self._core.config.datacenter:
            return None
        kept = self._evaluate(snap, mark, method, request)
        if kept is not None and kept.tag:
            self._keep(key, kept)
        return kept

    def _evaluate(self, snap: Snapshot, mark: Mark, method: str, request: dict[str, Any]) -> Kept | None:
        core, look = self._core, _Look(snap, self._core.config.datacenter)
        core.at_hand = look
        step = self._handlers[method](core, request).__await__()
        try:
            next(step)
        except StopIteration as done:
            reply = done.value
        except (NotAtHandError, RpcError, WireTypeError, StateError):
            return None  # an error is found again, and told, on the other way
        else:
            raise AssertionError(f"{method} waits for something")
        finally:
            core.at_hand = None
            step.close()
        packed = rpc.pack(reply)
        # Distances to the source of a query change without what is watched.
        lasting = len(packed) <= ENTRY_BYTES_MAX and not (request.get("Source") or {}).get("Node")
        kept = Kept(
            packed, self._next_tag() if lasting else b"", look.index, look.watch, snap.versions(look.watch), mark
        )
        if method in _LOOKUPS:
            args = ServiceSpecificRequest.from_wire(request)
            found = len(reply.get("Nodes") or reply.get("ServiceNodes") or ())
            kept.count = partial(count_lookup, _LOOKUPS[method], args, found)
        return kept

    def _next_tag(self) -> bytes:
        self._number += 1
        return self._run + self._number.to_bytes(8, "big")

    def _keep(self, key: tuple[str, bytes], kept: Kept) -> None:
        self._kept[key] = kept
        self._bytes += len(kept.packed) + len(key[1])
        while len(self._kept) > ENTRIES_MAX or self._bytes > BYTES_MAX:
            oldest = next(iter(self._kept))
            self._forget(oldest, self._kept[oldest])

    def _forget(self, key: tuple[str, bytes], kept: Kept) -> None:
        del self._kept[key]
        self._bytes -= len(kept.packed) + len(key[1])
