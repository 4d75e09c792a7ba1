"""Hearing: whether the other side of a connection that was called still says something."""

from __future__ import annotations

from collections.abc import Callable

PROBE_AFTER_S = 1.0
"""How long a call may go without a word of the peer, in whatever context, before it is asked for one."""
PROBE_TIMEOUT_S = 2.0
"""Peers answer probes at once, whatever their calls wait for."""


class Hearing:
    """Of one connection. probe: asks the peer for a word. Times are of trio's clock."""

    __slots__ = ("_probe", "_probed_at", "_unheard_since", "heard")

    def __init__(self, probe: Callable[[], None]) -> None:
        self._probe = probe
        self._unheard_since: float | None = None
        """Of the first call since the peer has said something."""
        self._probed_at: float | None = None
        self.heard = False
        """Whether the peer has said anything: before that, it may have accepted the connection only to close it."""

    def called(self, now: float) -> None:
        """The peer is to say something."""
        if self._unheard_since is None:
            self._unheard_since = now

    def spoke(self) -> None:
        """It has."""
        self._unheard_since = self._probed_at = None
        self.heard = True

    def listen(self, now: float) -> None:
        """Ask a peer that has not said anything since it was called for a word. To be called every now and then."""
        if self._unheard_since is not None and self._probed_at is None and now - self._unheard_since >= PROBE_AFTER_S:
            self._probed_at = now
            self._probe()

    def is_silent(self, now: float) -> bool:
        """Whether the peer does not even answer probes: a link that is half open, say, which TCP and the keepalive find
        out much later. True until it says something again."""
        return self._probed_at is not None and now - self._probed_at >= PROBE_TIMEOUT_S
