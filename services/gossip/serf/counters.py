"""Counters by name: peers choose names, so only so many short and printable ones become measurements."""

from collections.abc import Callable

from services.gossip.codec import limits
from services.gossip.serf.effects import Effect
from services.gossip.swim.effects import Metric


class CountersByName:
    """`prefix` with a dot and the name is the measurement's name."""

    def __init__(self, prefix: str, emit: Callable[[Effect], None]) -> None:
        self._prefix = prefix
        self._emit = emit
        self._names: set[str] = set()

    def incr(self, name: str) -> None:
        if name not in self._names:
            too_many = len(self._names) >= limits.COUNTED_NAMES
            if too_many or len(name) > limits.COUNTED_NAME or not name.isprintable():
                return
            self._names.add(name)
        self._emit(Metric("incr", f"{self._prefix}.{name}"))
