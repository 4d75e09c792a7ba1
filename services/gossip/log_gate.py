"""Log lines that peers can cause: made printable, and limited in number, so that a flood of junk fills no disk.

Lines are told apart by how they begin: each kind may come in a burst and then at a low rate, so that a flood of one
kind hides no line of another. What was left out is counted and reported."""

import math
import re
from typing import Final

from shared.log import Logger

_KINDS_MAX: Final = 64
_WORDS: Final = 5
_VARIABLE: Final = re.compile(r"'[^']*'|\d+")
REPORT_INTERVAL_S: Final = 10.0
_SHOWN: Final = 120  # characters of a left out line in the report

# Burst and lines per second. Thousands of members may join or fail at once, and operators want to read who.
_OF_A_KIND: Final = {"info": (5000.0, 20.0), "warn": (10.0, 0.2), "error": (10.0, 0.2)}
_OF_ALL: Final = {"info": (10_000.0, 50.0), "warn": (100.0, 2.0), "error": (100.0, 2.0)}


class _Bucket:
    """Tokens that come back at a rate."""

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, burst: float, rate: float, now: float) -> None:
        self._burst, self._rate, self._tokens, self._at = burst, rate, burst, now

    def refill(self, now: float) -> bool:
        """Is there a token?"""
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        return self._tokens >= 1

    def take(self) -> None:
        self._tokens -= 1

    @property
    def is_full(self) -> bool:
        return self._tokens >= self._burst


class _Kind:
    __slots__ = ("bucket", "last", "report_at", "suppressed")

    def __init__(self, bucket: _Bucket) -> None:
        self.bucket = bucket
        self.suppressed = 0
        self.last = ""
        self.report_at = math.inf


class LogGate:
    """Debug lines are written or not by the logger's level alone: who wants them wants all.

    `deadline`: when `report` has something to tell."""

    def __init__(self, logger: Logger) -> None:
        self.logger = logger
        self.deadline = math.inf
        self._all: dict[str, _Bucket] = {}
        self._kinds: dict[str, _Kind] = {}

    def write(self, level: str, text: str, now: float) -> None:
        if level == "debug":
            self.logger.debug(printable(text))
            return
        if level not in self._all:
            self._all[level] = _Bucket(*_OF_ALL[level], now)
        kind, everything = self._kind(level, text, now), self._all[level]
        if kind.bucket.refill(now) and everything.refill(now):
            kind.bucket.take()
            everything.take()
            getattr(self.logger, level)(printable(text))
            return
        kind.suppressed += 1
        kind.last = text
        if kind.suppressed == 1:
            kind.report_at = now + REPORT_INTERVAL_S
            self.deadline = min(self.deadline, kind.report_at)

    def report(self, now: float) -> None:
        """Tell what was left out. To be called at `deadline` and at the end; math.inf tells all."""
        for kind in self._kinds.values():
            if kind.suppressed and now >= kind.report_at:
                last = printable(kind.last)
                shown = last if len(last) <= _SHOWN else f"{last[:_SHOWN]}..."
                area = last.partition(":")[0]
                lines = "line" if kind.suppressed == 1 else "lines"
                self.logger.warn(f"{area}: left out {kind.suppressed} more {lines} like this: {shown}")
                kind.suppressed, kind.report_at = 0, math.inf
        self.deadline = min((kind.report_at for kind in self._kinds.values()), default=math.inf)

    def _kind(self, level: str, text: str, now: float) -> _Kind:
        key = f"{level} {_beginning(text)}"
        kind = self._kinds.get(key)
        if kind is None:
            if len(self._kinds) >= _KINDS_MAX:
                self._forget_quiet(now)
            if len(self._kinds) >= _KINDS_MAX:
                key = level  # peers choose names: no more than so many kinds
                kind = self._kinds.get(key)
            if kind is None:
                kind = self._kinds[key] = _Kind(_Bucket(*_OF_A_KIND[level], now))
        return kind

    def _forget_quiet(self, now: float) -> None:
        for key, kind in list(self._kinds.items()):
            kind.bucket.refill(now)
            if kind.bucket.is_full and not kind.suppressed:
                del self._kinds[key]


def _beginning(text: str) -> str:
    """What lines of a kind have in common: the first words without numbers and quoted names; of an event of Serf
    ("serf: EventMemberJoin: ...") its name."""
    words = text[:_SHOWN].split(" ", _WORDS)[:_WORDS]
    if len(words) > 1 and words[1].endswith(":"):
        words = words[:2]
    return _VARIABLE.sub("#", " ".join(words))


def printable(text: str) -> str:
    """Peers choose their names: line breaks, control characters and broken UTF-8 are shown as escapes."""
    if text.isprintable():
        return text
    return text.encode("unicode_escape", "surrogatepass").decode("ascii")
