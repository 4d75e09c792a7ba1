"""ChangeFeed: raft_node's change records, brought to those who wait for one, as long as anybody does.

Each record wakes the process that subscribes to them. Where clients only write that would be for nothing, at every
server of the cluster (decision 030)."""

from __future__ import annotations

from typing import Any, Final

from shared.ipc.link import Link
from shared.state.watch import WatchHub

TOPIC: Final = "changes"
_IN_VAIN_MAX: Final = 16
"""Records in a row for which nobody waited. Enough that a client which asks again and again finds the feed running."""


class ChangeFeed:
    """Feeds `hub` from `raft`. Whoever registers while the feed rests begins it, and is woken when it has begun: the
    changes since he looked are in no record."""

    def __init__(self, raft: Link, hub: WatchHub) -> None:
        self._raft = raft
        self._hub = hub
        self._in_vain = 0
        self._begin()

    def _begin(self) -> None:
        self._hub.on_first = None
        self._in_vain = 0
        self._raft.subscribe(TOPIC, self._record, begun=self._begun)

    def _begun(self) -> None:
        self._hub.wake_all()

    def _record(self, record: Any) -> None:
        """[index, topics]"""
        if len(self._hub):
            self._in_vain = 0
            self._hub.notify(record[1])
        else:
            self._in_vain += 1
            if self._in_vain >= _IN_VAIN_MAX:
                self._rest()

    def _rest(self) -> None:
        self._raft.unsubscribe(TOPIC)
        self._hub.on_first = self._begin
