"""Lamport clock: orders events without trusting anybody's wall clock."""

LTIME_MAX = 1 << 63
"""Times from here on are not believed: honest clocks, which count events, never come near, and a clock that a peer
has pushed to the end of its 64 bits could not go on."""


class LamportClock:
    """`time` is the next value to use; it starts at 1, so that 0 can mean "never"."""

    def __init__(self) -> None:
        self.time = 1

    def take(self) -> int:
        """The time of a new event."""
        time = self.time
        self.time += 1
        return time

    def witness(self, ltime: int) -> None:
        """Somebody used this time: stay ahead of it."""
        if self.time <= ltime < LTIME_MAX:
            self.time = ltime + 1
