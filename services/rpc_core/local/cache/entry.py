"""Entry: what the cache knows about one request, from the first fetch to its eviction. Sans-IO; times are seconds.

Source: Consul's agent cache. An entry may hold a value and an error at once: then the error is the newer of the two,
and readers get the value, whose age grows."""

from __future__ import annotations

import random
from dataclasses import dataclass

from services.rpc_core.limits import TokenBucket

BACKOFF_AFTER = 3
"""So many fetches in a row may fail before there is a pause between them."""
BACKOFF_MAX_S = 60.0
CONNECTED_AFTER_S = 31.0
"""A refresh that blocks for so long has reached its server: keep-alives would have ended it otherwise."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a reader accepts. min_index: only a value newer than that (0: any). max_age_s: 0 for any age."""

    min_index: int = 0
    max_age_s: float = 0.0
    must_revalidate: bool = False


class Entry:
    """`value` is the encoded reply, `number` tells it from all others of this cache."""

    __slots__ = (
        "attempts",
        "blocks",
        "error",
        "expires_at",
        "fetch_started_at",
        "fetched_at",
        "index",
        "limiter",
        "lost_contact_at",
        "number",
        "refreshes",
        "value",
    )

    def __init__(self, *, refreshes: bool, blocks: bool, limiter: TokenBucket) -> None:
        """refreshes: it is kept fresh by fetches that never cease. blocks: a fetch can wait for a newer index."""
        self.refreshes, self.blocks, self.limiter = refreshes, blocks, limiter
        self.value: bytes | None = None
        self.number = 0
        self.index = 0
        self.error: Exception | None = None
        self.attempts = 0
        self.fetched_at = 0.0
        self.fetch_started_at: float | None = None
        self.lost_contact_at: float | None = None
        self.expires_at = float("inf")

    def satisfies(self, wanted: Wanted, now: float) -> bool:
        """Whether the value at hand is what a reader wants."""
        if self.value is None:
            return False
        if self.blocks and wanted.min_index > 0 and wanted.min_index >= self.index:
            return False
        if self.refreshes:
            return True
        too_old = 0 < wanted.max_age_s < now - self.fetched_at
        return not (too_old or wanted.must_revalidate)

    def age_s(self, now: float) -> float:
        """Of what is refreshed: since when the refresh fails. Of anything else: since it was fetched."""
        if not self.refreshes:
            return now - self.fetched_at
        started_at = self.fetch_started_at
        if self.index > 0 and started_at is not None and now - started_at >= CONNECTED_AFTER_S:
            self.lost_contact_at = None
        return 0.0 if self.lost_contact_at is None else now - self.lost_contact_at

    def started(self, now: float) -> None:
        """A fetch is on its way."""
        self.fetch_started_at = now

    def fetched(self, value: bytes, index: int, number: int, now: float) -> None:
        """A fetch brought `value`. An index of 0 counts as a failed attempt: a refresh would not block on it."""
        self.value, self.number, self.index = value, number, max(1, index)
        self.fetched_at, self.fetch_started_at, self.lost_contact_at = now, None, None
        self.error = None
        self.attempts = 0 if index > 0 else self.attempts + 1

    def failed(self, error: Exception, now: float) -> None:
        """A fetch ended with an error; the value, if there is one, stays."""
        self.error, self.fetch_started_at = error, None
        self.attempts += 1
        if self.refreshes and self.lost_contact_at is None:
            self.lost_contact_at = now

    def backoff_s(self, rng: random.Random) -> float:
        """How long to wait before the next refresh."""
        shift = self.attempts - BACKOFF_AFTER
        if shift <= 0:
            return 0.0
        wait_s = min(2.0 ** min(shift, 30), BACKOFF_MAX_S)
        return wait_s + rng.random() * wait_s
