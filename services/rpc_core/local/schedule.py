"""When the agent compares itself with the catalog: at start, every minute or so, when a server comes up,
and 15 to 30 seconds after a failure. Small changes of its own are pushed at once."""

from __future__ import annotations

import math
import random
from enum import Enum

FULL_SYNC_INTERVAL_S = 60.0
SERVER_UP_STAGGER_S = 3.0
RETRY_FAIL_INTERVAL_S = 15.0
SCALE_THRESHOLD = 128
"""Clusters up to this size are not slowed down; beyond it each doubling adds one interval."""


def scale_factor(members: int) -> int:
    """By how much staggered intervals grow in a cluster of `members`."""
    if members <= SCALE_THRESHOLD:
        return 1
    return math.ceil(math.log2(members) - math.log2(SCALE_THRESHOLD)) + 1


class SyncKind(Enum):
    """What is to be done now."""

    FULL = "full"
    CHANGES = "changes"


class SyncSchedule:
    """State machine of anti-entropy. `due` says what to do now, `full_done` how it ended. Sans-IO."""

    def __init__(self, rng: random.Random, now: float, interval_s: float = FULL_SYNC_INTERVAL_S) -> None:
        self._rng = rng
        self._interval_s = interval_s
        self._retrying = False
        self._next_full_at = now
        self._changes_wanted = False
        self._busy = True  # the first full sync is as good as running
        self._server_up = False
        self._paused = 0
        self.members = 1
        """Cluster size, for staggering."""

    def _stagger(self, seconds: float) -> float:
        return self._rng.random() * scale_factor(self.members) * seconds

    @property
    def deadline(self) -> float:
        """When `due` may have something new to say."""
        if self._changes_wanted and not self._retrying and not self._paused:
            return 0.0
        return self._next_full_at

    def server_up(self, now: float) -> None:
        """A server (or leader) came up: compare everything soon, but not all agents at once.

        While a full sync is under way this waits for its end: it may have met the server that was before."""
        if self._busy:
            self._server_up = True
        else:
            self._next_full_at = min(self._next_full_at, now + self._stagger(SERVER_UP_STAGGER_S))

    def changed(self) -> None:
        """Something of our own changed."""
        self._changes_wanted = True

    def pause(self) -> None:
        self._paused += 1

    def resume(self) -> None:
        if self._paused == 0:
            raise ValueError("resume without a pause before it")
        self._paused -= 1
        self._changes_wanted = True

    def due(self, now: float) -> SyncKind | None:
        """What to do now. A FULL must be answered with `full_done`."""
        if now >= self._next_full_at:
            if self._paused:
                self._fail(now)
                return None
            self._changes_wanted = False
            self._busy = True
            return SyncKind.FULL
        if self._changes_wanted and not self._retrying and not self._paused:
            self._changes_wanted = False
            return SyncKind.CHANGES
        return None

    def full_done(self, ok: bool, now: float) -> None:
        """How a full sync ended."""
        self._busy = False
        if ok:
            self._retrying = False
            self._next_full_at = now + self._interval_s + self._stagger(self._interval_s)
        else:
            self._fail(now)
        if self._server_up:
            self._server_up = False
            self.server_up(now)

    def _fail(self, now: float) -> None:
        self._retrying = True
        self._next_full_at = now + RETRY_FAIL_INTERVAL_S + self._stagger(RETRY_FAIL_INTERVAL_S)
