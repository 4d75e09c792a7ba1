"""Attempts: whether a client may try a call once more, and after which pause. Sans-IO.

As Consul's Client.RPC: what failed for want of a leader is tried again until the hold timeout is over, counted from the
beginning, since servers hold calls as well; and so are reads whose connection ended. Beyond that, where Consul fails at
once: reads have the whole time from their first failure, however long they had waited before, and a call that never
left, because its server could not be reached, goes to each of the others first."""

from __future__ import annotations

import random

from shared.server_rpc.errors import DialError, ServerCallError

JITTER_FRACTION = 16
"""Pauses are a random part of the hold timeout divided by this."""


HUNG_S = 3.0
"""An attempt that failed after so long may have waited for a silent server: after that time one counts as such."""


class Attempts:
    """Of one call. repeatable: doing it twice changes nothing. now: seconds of any clock, the same one for all."""

    __slots__ = ("_failed_at", "_hold_timeout_s", "_hung", "_repeatable", "_started", "_tried_at", "_unreachable")

    def __init__(self, hold_timeout_s: float, *, repeatable: bool, now: float) -> None:
        self._hold_timeout_s, self._repeatable, self._started = hold_timeout_s, repeatable, now
        self._failed_at: float | None = None
        self._tried_at = now
        self._hung: set[str] = set()
        self._unreachable: set[str] = set()

    def pause_s(
        self, error: ServerCallError, server: str, servers: list[str], now: float, rng: random.Random
    ) -> float | None:
        """Seconds until the next attempt after `error` of `server`; None: there is none. servers: names of all."""
        if self._failed_at is None:
            self._failed_at = now
        if isinstance(error, DialError):
            self._unreachable.add(server)
            return None if self._unreachable.issuperset(servers) else 0.0
        if error.retry_always:
            since = self._started
        elif error.retry_reads and self._repeatable:
            if now - self._tried_at >= HUNG_S and server not in self._hung:
                # A connection that had died in silence: the time it took is not the cluster's, once for each server.
                self._hung.add(server)
                self._failed_at = now
            since = self._failed_at
        else:
            return None
        if now - since >= self._hold_timeout_s:
            return None
        pause_s = rng.random() * self._hold_timeout_s / JITTER_FRACTION
        self._tried_at = now + pause_s
        return pause_s
