"""Writes: commands on their way to the log, and the two ways their results come back.

rpc_core checks a command and hands it to raft_node. Told by which connection and tag this process waits, raft_node
answers here itself, all results of a batch in one `applied` event, together with the change record that wakes the
readers: so a write wakes this process once, not twice. Whatever does not get that far rpc_core answers as any call;
the first answer ends the call."""

from __future__ import annotations

from time import monotonic
from typing import Any, Final

from shared import metrics
from shared.ipc import ConnectionLostError, IpcError, Link, RemoteError
from shared.ipc.calls import OnDone

_KV_METHOD: Final = "KVS.ApplyEncoded"
_CATALOG_METHOD: Final = "Catalog.ApplyEncoded"
TIMEOUT_S: Final = 30.0
_AHEAD: Final = 4
"""So many writes leave at once when none were under way, ahead of the rest of their batch: the neighbours check, log
and apply them while this process still reads requests."""
_TOGETHER: Final = 8
"""So many leave together later on. A whole batch at once would keep one process busy after the other; fewer would cost
each of them more wake-ups than the work side by side is worth."""


class Writes:
    """One per process. Belongs to the event loop."""

    def __init__(self, raft: Link, rpc: Link) -> None:
        self._raft, self._rpc = raft, rpc
        self._tags: dict[int, None] = {}
        self._held = 0
        """Posted since the last of them left."""
        raft.subscribe("applied", self._applied)
        raft.on_down(self._lost)

    def post(self, operation: str, raw_key: bytes, command: bytes, on_done: OnDone) -> None:
        """command: Consul's KVS request in msgpack. `on_done(value, error)` is called once; value: whether the
        operation took effect, True for those that always do. A lost neighbour leaves the outcome unknown."""
        self._post(_KV_METHOD, (operation, raw_key, command), "consul.kvs.apply", on_done)

    def post_catalog(self, command: bytes, metric: str, on_done: OnDone) -> None:
        """The same for a checked registration or deregistration, encoded as a whole; value: True.

        metric: sample of the time until it was applied."""
        self._post(_CATALOG_METHOD, (command,), metric, on_done)

    def _post(self, method: str, payload: tuple[Any, ...], metric: str, on_done: OnDone) -> None:
        rpc, number = self._rpc, self._raft.number
        if not number:
            rpc.post(method, payload, on_done, timeout_s=TIMEOUT_S)
            return
        tag, tags, started = rpc.next_id, self._tags, monotonic()

        def finished(value: Any, error: IpcError | None) -> None:
            tags.pop(tag, None)
            if isinstance(error, RemoteError) and error.code in ("not_leader", "no_leader"):
                # Refused by the log, so it is in no log: rpc_core knows how to find, or wait for, the leader.
                rpc.post(method, payload, on_done, timeout_s=TIMEOUT_S)
                return
            metrics.sample(metric, (monotonic() - started) * 1000)
            on_done(value, error)

        tags[tag] = None
        rpc.post(method, (*payload, number, tag), finished, timeout_s=TIMEOUT_S)
        self._held += 1
        if len(tags) == _AHEAD or self._held >= _TOGETHER:
            self._held = 0
            rpc.flush()

    def _applied(self, results: Any) -> None:
        """[[tag, result], ...]; a write that failed: [tag, None, code, text, data]."""
        resolve = self._rpc.resolve
        for tag, result, *failure in results:
            if failure:
                resolve(tag, None, RemoteError(*failure))
            else:
                resolve(tag, True if result is None else result)

    def _lost(self) -> None:
        """raft_node has gone, and with it the results that were to come from there."""
        for tag in tuple(self._tags):
            self._rpc.resolve(tag, None, ConnectionLostError(self._raft.neighbour, "a write"))
