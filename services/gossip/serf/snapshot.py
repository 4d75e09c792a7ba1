"""The snapshot log: one line per change, from which a restarted agent finds its pool and its clocks again."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from services.gossip.serf.gone import forgotten_line, gone_line, take_in
from services.gossip.serf.member import Member
from services.gossip.swim.address import Address

# Our own lines look like comments to Serf, which skips them.
_INCARNATION = "# incarnation "
_COMPACT_MIN_BYTES = 128 * 1024
_COMPACT_BYTES_PER_NODE = 256
MAX_REPLAY_BYTES = 64 * 1024 * 1024


@dataclass(slots=True)
class Recovered:
    """What a snapshot file tells: members alive at the end (name -> "ip:port"), the last clock values, and the members
    that failed or left while this run of the agent went on."""

    alive: dict[str, str] = field(default_factory=dict)
    clock: int = 0
    event_clock: int = 0
    query_clock: int = 0
    incarnation: int = 0
    """The last one this node announced: a greater one is believed by everybody, whatever was said of it meanwhile."""
    gone: dict[str, Member] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def replay(lines: Iterable[str], *, rejoin_after_leave: bool, run: str = "") -> Recovered:
    """Read a snapshot. After a graceful leave nothing is left to rejoin, unless rejoin_after_leave is set.

    run: see gone_line.
    A line that is cut (the file is written without sync) or unknown is reported and skipped."""
    found = Recovered()
    for raw in lines:
        line = raw.rstrip("\n")
        keyword, _, value = line.partition(": ")
        if keyword == "alive":
            name, space, address = value.rpartition(" ")
            if space:
                found.alive[name] = address
                found.gone.pop(name, None)
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
            found.gone.clear()
            if rejoin_after_leave:
                found.problems.append("serf: Ignoring previous leave in snapshot")
            else:
                found.alive.clear()
                found.clock = found.event_clock = found.query_clock = 0
        elif line.startswith(_INCARNATION):
            number = line.removeprefix(_INCARNATION)
            if number.isascii() and number.isdigit() and len(number) <= 10:
                found.incarnation = max(found.incarnation, int(number))
        elif line.startswith("#"):
            take_in(line, run, found.gone)
        elif line and keyword != "coordinate":
            found.problems.append(f"serf: Unrecognized snapshot line: {line[:200]}")
    return found


class SnapshotLog:
    """Turns what happens in a pool into snapshot lines. `size`: bytes the file has now. run: see gone_line."""

    def __init__(self, recovered: Recovered, size: int, *, rejoin_after_leave: bool, run: str = "") -> None:
        self._alive = dict(recovered.alive)
        self._run = run
        self._gone = {name: gone_line(run, member) for name, member in recovered.gone.items()}
        self._gone_bytes = sum(map(len, self._gone.values()))
        self._clock = recovered.clock
        self._event_clock = recovered.event_clock
        self._query_clock = recovered.query_clock
        self._incarnation = recovered.incarnation
        self._size = size
        self._rejoin = rejoin_after_leave
        self._leaving = False
        self._pending: list[str] = []

    def joined(self, name: str, address: Address) -> None:
        if not self._leaving:
            self._alive[name] = str(address)
            self._drop_gone(name)
            self._add(f"alive: {name} {address}")

    def gone(self, member: Member) -> None:
        """It failed or left."""
        if self._leaving:
            return
        self._drop_gone(member.name)
        line = self._gone[member.name] = gone_line(self._run, member)
        self._gone_bytes += len(line)
        if self._alive.pop(member.name, None) is not None:
            self._add(f"not-alive: {member.name}")
        self._add(line)

    def forgotten(self, name: str) -> None:
        if not self._leaving and name in self._gone:
            self._drop_gone(name)
            self._add(forgotten_line(self._run, name))

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

    def incarnation_is(self, incarnation: int) -> None:
        if incarnation > self._incarnation:
            self._incarnation = incarnation
            self._add(f"{_INCARNATION}{incarnation}")

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
        # Twice what of it stays, so that it does not have to be written anew with every line.
        if self._size <= max(_COMPACT_MIN_BYTES, _COMPACT_BYTES_PER_NODE * len(self._alive) + 2 * self._gone_bytes):
            return None
        lines = [f"{_INCARNATION}{self._incarnation}\n"]
        lines += [f"{line}\n" for line in self._gone.values()]
        lines += [f"alive: {name} {address}\n" for name, address in self._alive.items()]
        lines.append(f"clock: {self._clock}\n")
        lines.append(f"event-clock: {self._event_clock}\n")
        lines.append(f"query-clock: {self._query_clock}\n")
        text = "".join(lines)
        self._size = len(text)
        self._pending.clear()
        return text

    def _drop_gone(self, name: str) -> None:
        self._gone_bytes -= len(self._gone.pop(name, ""))

    def _add(self, line: str) -> None:
        # A name with a line break would forge records; Consul's names cannot hold one, a hostile peer's can.
        line = line.replace("\n", "\\n")
        self._pending.append(line + "\n")
        self._size += len(line) + 1
