"""Plan: one watch. Which request it makes next, and what it sees in an answer."""

from __future__ import annotations

from shared.structs import gojson
from shared.structs.errors import JsonError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from shared.watch_plan.shapes import Conform


class WatchError(Exception):
    """The watch cannot be set up, or its request failed. The text is Consul's."""


class Request:
    """A GET. `parameters`: a list for one that is given several times."""

    __slots__ = ("parameters", "path")

    def __init__(self, path: str, parameters: dict[str, str | list[str]]) -> None:
        self.path, self.parameters = path, parameters


class Answer:
    """headers: by lower-case name."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body


class Seen:
    """mark: the index (a number) or content hash (text) to block on. data: for the handler."""

    __slots__ = ("data", "mark")

    def __init__(self, mark: int | str, data: Any) -> None:
        self.mark, self.data = mark, data


class Query:
    """How one type of watch asks. by_hash: it blocks on a content hash; empty: 404 is an answer (no data) and its
    other errors say no text, as for keys; single: only the first element of the answer counts; news_only: of events
    only those behind the last one; refusal: why it is never asked."""

    def __init__(
        self,
        path: str,
        conform: Conform,
        parameters: dict[str, str | list[str]] | None = None,
        *,
        by_hash: bool = False,
        empty: bool = False,
        single: bool = False,
        news_only: bool = False,
        refusal: str = "",
    ) -> None:
        self.path, self.conform, self.parameters, self.refusal = path, conform, parameters or {}, refusal
        self.by_hash, self.empty, self.single, self.news_only = by_hash, empty, single, news_only


class Plan:
    """exempt: parameters that are not the watch's own, such as its handler."""

    def __init__(self, kind: str, query: Query, datacenter: str = "", token: str = "") -> None:
        self.kind, self.datacenter, self.token = kind, datacenter, token
        self.handler_type = ""
        self.exempt: dict[str, Any] = {}
        self._query = query

    @property
    def by_hash(self) -> bool:
        """Whether it blocks on a content hash, and so has no index."""
        return self._query.by_hash

    def request(self, last: int | str | None) -> Request:
        """The next request; last: what the answer before showed, None to be answered at once. Raises WatchError."""
        if self._query.refusal:
            raise WatchError(self._query.refusal)
        parameters = dict(self._query.parameters)
        if self.datacenter:
            parameters["dc"] = self.datacenter
        if last:
            parameters["hash" if self._query.by_hash else "index"] = str(last)
        return Request(self._query.path, parameters)

    def read(self, answer: Answer, last: int | str | None) -> Seen:
        """Raises WatchError."""
        query = self._query
        if query.empty and answer.status == 404:
            return Seen(self._mark(answer), None)
        if answer.status != 200:
            shown = "" if query.empty else f" ({answer.body.decode('utf-8', 'surrogateescape')})"
            raise WatchError(f"Unexpected response code: {answer.status}{shown}")
        mark = self._mark(answer)
        try:
            value = gojson.loads(answer.body)
        except JsonError as error:
            raise WatchError(str(error)) from None
        if query.news_only:
            value = _news(value, last)
        if query.single:
            value = value[0] if isinstance(value, list) and value else None
        if query.by_hash and isinstance(value, dict):
            mark = str(value.get("ContentHash") or "")
        return Seen(mark, query.conform(value))

    def _mark(self, answer: Answer) -> int | str:
        if self._query.by_hash:
            return ""
        header = answer.headers.get("x-consul-index", "")
        return int(header) if header.isascii() and header.isdigit() else 0


def _news(events: Any, last: int | str | None) -> Any:
    """The events behind the one that `last` is the index of; all if there is none."""
    for position, event in enumerate(events or ()):
        if event_index(event.get("ID", "")) == last:
            return events[position + 1 :]
    return events


def event_index(event_id: str) -> int | None:
    """The index that a list of events has when it ends with this one."""
    digits = event_id.replace("-", "")
    try:
        return int(digits[:16], 16) ^ int(digits[16:], 16)
    except ValueError:
        return None
