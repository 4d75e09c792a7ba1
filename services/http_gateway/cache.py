"""Rendered answers of reads, kept until the state they were read from changes.

An entry is valid as long as the versions of what the answer watches are unchanged (`Snapshot.versions`), which
is checked against the snapshot of the batch: an answer from here is exactly what rendering it again would give.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

from services.http_gateway.message import Request
from services.http_gateway.moment import Moment
from shared import metrics
from shared.state.errors import StateUnavailableError

if TYPE_CHECKING:
    from services.http_gateway.call import Call
    from services.http_gateway.gateway import Gateway
    from services.http_gateway.options import ReadOptions
    from shared.metrics.lookups import Counter
    from shared.state.answer import Answer
    from shared.state.snapshot import Snapshot
    from shared.state.topics import Watch

ENTRIES_MAX = 4096
BYTES_MAX = 16 << 20
ENTRY_BYTES_MAX = 1 << 20

_DATE = b"\r\nDate: "
_DATE_LENGTH = len("Date: Sat, 21 Nov 2026 02:38:27 GMT\r\n")


class _Entry:
    """The answer before and after its Date field, and what has to be unchanged."""

    __slots__ = ("_after", "_before", "_mark", "_versions", "_watch", "counters", "metric", "size")

    def __init__(
        self, before: bytes, after: bytes, watch: Watch, versions: Hashable, metric: str, counters: list[Counter]
    ) -> None:
        self._before, self._after, self._watch, self._versions = before, after, watch, versions
        self._mark: tuple[int, int] | None = None
        self.metric, self.counters = metric, counters
        self.size = len(before) + len(after) + 200

    def answer(self, moment: Moment) -> bytes | None:
        """The answer if it is still the right one. Raises StateUnavailableError."""
        if not moment.leads():
            return None
        if self._mark != moment.mark():
            if self._versions is None or moment.snapshot().versions(self._watch) != self._versions:
                return None
            self._mark = moment.mark()
        return b"".join((self._before, moment.date_line(), self._after))

    def drop(self) -> None:
        """It is not kept any more: who still knows it must not hold its bytes, nor answer with it."""
        self._mark = self._versions = None
        self._before = self._after = b""


class AnswerCache:
    """Bounded by entries and bytes; when full, what was added first goes first."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, bool], _Entry] = {}
        self._bytes = 0
        self._offered: tuple[Call, Watch, Any] | None = None

    def answer(self, gateway: Gateway, request: Request) -> bool:
        """Answer the request from here if that is possible."""
        entry = self._entries.get((request.target, request.gzip))
        if entry is None:
            return False
        try:
            data = entry.answer(gateway.moment)
        except StateUnavailableError:
            return False
        if data is None:
            if gateway.moment.leads():
                self._remove((request.target, request.gzip), entry)
            return False
        gateway.repeats.learn(request.head, entry)
        gateway.finish_rendered(request, data, entry.metric)
        for name, labels in entry.counters:
            metrics.incr(name, labels=labels)
        return True

    def offer(self, gateway: Gateway, call: Call, options: ReadOptions, answer: Answer[Any], snap: Snapshot) -> None:
        """The answer that will be rendered next may be kept. Kept are answers any client would get now."""
        request = call.request
        cacheable = (
            request.method == "GET"
            and request.plain
            and request.keep_alive
            and request.version == 11
            and request.on_response is None
            and not options.min_index
            and not options.require_consistent
            and not options.use_cache
            and not request.path.startswith("/v1/kv/")
            and "near=" not in request.raw_query  # distances change without the catalog changing
            and gateway.moment.leads()
        )
        if cacheable:
            self._offered = (call, answer.watch, snap.versions(answer.watch))

    @property
    def has_offer(self) -> bool:
        return self._offered is not None

    def take(self, request: Request, data: bytes) -> None:
        """`data` was rendered for `request`: keep it if it was offered."""
        offered, self._offered = self._offered, None
        if offered is None or offered[0].request is not request or not data.startswith(b"HTTP/1.1 200 "):
            return
        if len(data) > ENTRY_BYTES_MAX:
            return
        call, watch, versions = offered
        at = data.index(_DATE) + 2
        entry = _Entry(data[:at], data[at + _DATE_LENGTH :], watch, versions, call.route.metric, call.counted)
        key = (request.target, request.gzip)
        old = self._entries.get(key)
        if old is not None:
            self._remove(key, old)
        self._entries[key] = entry
        self._bytes += entry.size
        while len(self._entries) > ENTRIES_MAX or self._bytes > BYTES_MAX:
            oldest = next(iter(self._entries))
            self._remove(oldest, self._entries[oldest])
        metrics.gauge("consul.http.answer_cache.entries", len(self._entries))
        metrics.gauge("consul.http.answer_cache.bytes", self._bytes)

    def _remove(self, key: tuple[str, bool], entry: _Entry) -> None:
        del self._entries[key]
        self._bytes -= entry.size
        entry.drop()
