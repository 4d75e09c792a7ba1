"""The snapshot log: one line per change, from which a restarted agent finds its pool and its clocks again."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from services.gossip.swim.address import Address

_COMPACT_MIN_BYTES = 128 * 1024
_COMPACT_BYTES_PER_NODE = 256
MAX_REPLAY_BYTES = 64 * 1024 * 1024


@dataclass(slots=True)
class Recovered:
    """What a snapshot file tells: members alive at the end (name -> "ip:port") and the last clock values."""

    alive: dict[str, str] = field(default_factory=dict)
    clock: int = 0
    event_clock: int = 0
    query_clock: int = 0
    problems: list[str] = field(default_factory=list)


def replay(lines: Iterable[str], *, rejoin_after_leave: bool) -> Recovered:
    """Read a snapshot. After a graceful leave nothing is left to rejoin, unless rejoin_after_leave is set.

    A line that is cut (the file is written without sync) or unknown is reported and skipped."""
    found = Recovered()
    for raw in lines:
        line = raw.rstrip("\n")
        keyword, _, value = line.partition(": ")
        if keyword == "alive":
            name, space, address = value.rpartition(" ")
            if space:
                found.alive[name] = address
            else:
                found.problems.append(f"serf: Failed to parse address: {line}")
        elif keyword == "not-alive":
            found.alive.pop(value, None)
        elif keyword in ("clock", "event-clock", "query-clock"):
            if value.isascii() and value.isdigit() and len(value) <= 20:
                setattr(found, keyword.replace("-", "_"), int(value))
            else:
                found.problems.append(f"serf: Failed to convert {keyword.replace('-', ' ')} time: {value}")
        elif line == "leave":
            if rejoin_after_leave:
                found.problems.append("serf: Ignoring previous leave in snapshot")
            else:
                found.alive.clear()
                found.clock = found.event_clock = found.query_clock = 0
        elif line and keyword != "coordinate" and not line.startswith("#"):
            found.problems.append(f"serf: Unrecognized snapshot line: {line[:200]}")
    return found


class SnapshotLog:
    """Turns what happens in a pool into snapshot lines. `size`: bytes the file has now."""

    def __init__(self, recovered: Recovered, size: int, *, rejoin_after_leave: bool) -> None:
        self._alive = dict(recovered.alive)
        self._clock = recovered.clock
        self._event_clock = recovered.event_clock
        self._query_clock = recovered.query_clock
        self._size = size
        self._rejoin = rejoin_after_leave
        self._leaving = False
        self._pending: list[str] = []

    def joined(self, name: str, address: Address) -> None:
        if not self._leaving:
            self._alive[name] = str(address)
            self._add(f"alive: {name} {address}")

    def gone(self, name: str) -> None:
        if not self._leaving:
            self._alive.pop(name, None)
            self._add(f"not-alive: {name}")

    def left(self) -> None:
        """This node leaves: nothing more is recorded but the clock."""
        self._leaving = True
        if not self._rejoin:
            self._alive.clear()
        self._add("leave")

    def clock_is(self, last_seen: int) -> None:
        if last_seen > self._clock:
            self._clock = last_seen
            self._add(f"clock: {last_seen}")

    def is_behind(self, last_seen: int) -> bool:
        return last_seen > self._clock

    def event(self, ltime: int) -> None:
        if ltime > self._event_clock and not self._leaving:
            self._event_clock = ltime
            self._add(f"event-clock: {ltime}")

    def query(self, ltime: int) -> None:
        if ltime > self._query_clock and not self._leaving:
            self._query_clock = ltime
            self._add(f"query-clock: {ltime}")

    def take(self) -> str:
        """Lines to append since the last call."""
        text = "".join(self._pending)
        self._pending.clear()
        return text

    def compacted(self) -> str | None:
        """The whole content in short, once the file has grown too large; None before."""
        if self._size <= max(_COMPACT_MIN_BYTES, _COMPACT_BYTES_PER_NODE * len(self._alive)):
            return None
        lines = [f"alive: {name} {address}\n" for name, address in self._alive.items()]
        lines.append(f"clock: {self._clock}\n")
        lines.append(f"event-clock: {self._event_clock}\n")
        lines.append(f"query-clock: {self._query_clock}\n")
        text = "".join(lines)
        self._size = len(text)
        self._pending.clear()
        return text

    def _add(self, line: str) -> None:
        # A name with a line break would forge records; Consul's names cannot hold one, a hostile peer's can.
        line = line.replace("\n", "\\n")
        self._pending.append(line + "\n")
        self._size += len(line) + 1
