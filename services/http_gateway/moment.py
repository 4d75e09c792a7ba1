"""Moment: the one state that a batch of requests looks at - snapshot, leadership, date -, taken when first needed.

Everything is taken after all bytes of the batch were read, so an answer is never older than its question. Between
batches nothing is remembered: whoever answers out of turn looks anew."""

from __future__ import annotations

import time

from services.http_gateway.go_http import DateLine
from shared.state.errors import StateUnavailableError
from shared.state.leadership import Leadership, LeadershipPage
from shared.state.reader import StateReader
from shared.state.snapshot import Snapshot


class Moment:
    """`reader` is None on a client agent. Belongs to the event loop. page: the leadership page."""

    __slots__ = (
        "_alone",
        "_date_bytes",
        "_in_batch",
        "_leadership",
        "_leads",
        "_mark",
        "_reader",
        "_snap",
        "date",
        "page",
    )

    def __init__(self, reader: StateReader | None, page: LeadershipPage, date: DateLine) -> None:
        self._reader, self.page, self.date = reader, page, date
        self._in_batch = False
        self._snap: Snapshot | None = None
        self._mark: tuple[int, int] | None = None
        self._leadership: Leadership | None = None
        self._leads: bool | None = None
        self._alone: bool | None = None
        self._date_bytes: bytes | None = None

    @property
    def in_batch(self) -> bool:
        return self._in_batch

    def begin(self) -> None:
        """Everything that is looked at from here to `end` is one state, no older than this moment."""
        self.end()
        self._in_batch = True

    def end(self) -> None:
        self._in_batch = False
        self._leadership = self._leads = self._alone = self._date_bytes = self._mark = None
        if self._snap is not None:
            self._snap.close()
            self._snap = None

    def snapshot(self) -> Snapshot:
        """The state as of this batch. Raises StateUnavailableError. Not to be kept."""
        snap = self._snap
        if snap is None:
            if self._reader is None:
                raise StateUnavailableError("a client agent")
            # Who may answer is looked at before what there is to answer: were it the other way round and this process
            # stopped in between, the server might have lost and regained its office, and the state be from before.
            self.leadership()
            snap = self._snap = self._reader.snapshot()
        return snap

    def mark(self) -> tuple[int, int]:
        """What tells this state from others: what was read under an equal mark is still so.

        Raises StateUnavailableError."""
        mark = self._mark
        if mark is None:
            mark = self._mark = self.snapshot().mark()
        return mark

    def leadership(self) -> Leadership:
        leadership = self._leadership
        if leadership is None:
            leadership = self.page.read()
            if self._in_batch:
                self._leadership = leadership
        return leadership

    def leads(self) -> bool:
        """Whether a default read may be answered here: the lease lived after the question had come."""
        leads = self._leads
        if leads is None:
            leads = self.leadership().may_serve_default(time.monotonic_ns())
            if self._in_batch:
                self._leads = leads
        return leads

    def leads_alone(self) -> bool:
        """Whether a consistent read may be answered without asking anybody: nobody else can vote, and nobody has been
        told of more than the state has."""
        alone = self._alone
        if alone is None:
            leadership = self.leadership()
            alone = leadership.leads_alone and leadership.applied_index >= self.page.committed()
            if self._in_batch:
                self._alone = alone
        return alone

    def last_contact_ms(self) -> int:
        """Milliseconds since the leader was last heard of; 0 on the leader itself."""
        leadership = self.leadership()
        if leadership.role == "leader" or not leadership.last_contact_ns:
            return 0
        return max(0, (time.monotonic_ns() - leadership.last_contact_ns) // 1_000_000)

    def date_line(self) -> bytes:
        """The Date field with its line end."""
        line = self._date_bytes
        if line is None:
            line = self.date.data()
            if self._in_batch:
                self._date_bytes = line
        return line
