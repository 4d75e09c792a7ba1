"""Requests that come again byte for byte, and the shortest way to their answers.

Who polls sends the same bytes every time. A complete head without a body that went the full way once - parsed,
routed, checked against the policy - is remembered with what it came to, so that its repetition costs a dictionary
look-up and a check that the answer still holds. Remembered are only plain HTTP/1.1 requests that keep their
connection, so an answer depends on the bytes of the head and the state alone, not on who asks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from services.http_gateway.moment import Moment

if TYPE_CHECKING:
    from shared.metrics.lookups import Counter

HEADS_MAX = 2048
HEAD_BYTES_MAX = 1024


class Known(Protocol):
    """What a request came to. metric: path part of the metric name. counters: what is counted for each answer."""

    @property
    def metric(self) -> str: ...

    @property
    def counters(self) -> Sequence[Counter]: ...

    def answer(self, moment: Moment) -> bytes | None:
        """The complete answer if it can be given at this moment; None: the request has to go the full way.

        Raises StateUnavailableError."""


class Repeats:
    """Bounded by number and length of the heads; when full it starts anew, which costs the busy ones little."""

    def __init__(self) -> None:
        self._known: dict[bytes, Known] = {}
        self.find = self._known.get

    def learn(self, head: bytes, known: Known) -> None:
        """`head`: all bytes of a request that has no body; b"" for one that cannot be told by its head."""
        if 0 < len(head) <= HEAD_BYTES_MAX:
            if len(self._known) >= HEADS_MAX:
                self._known.clear()
            self._known[head] = known

    def forget(self, head: bytes) -> None:
        self._known.pop(head, None)
