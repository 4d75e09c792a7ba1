"""One suspicion: how long a suspect may still refute, shorter with every independent accuser (Lifeguard)."""

from services.gossip.swim.formulas import confirmed_timeout_s
from services.gossip.swim.timers import Timer


class Suspicion:
    """Starts at max_s, or at min_s if no confirmations are expected."""

    def __init__(self, accuser: str, wanted: int, min_s: float, max_s: float, now: float) -> None:
        self.confirmations = 0
        self.timer: Timer | None = None
        self._wanted = wanted
        self._min_s, self._max_s = min_s, max_s
        self._start = now
        # The first accuser does not count: our own suspicion may come back to us as gossip.
        self._accusers = {accuser}

    @property
    def deadline(self) -> float:
        if self._wanted < 1:
            return self._start + self._min_s
        return self._start + confirmed_timeout_s(self.confirmations, self._wanted, self._min_s, self._max_s)

    @property
    def is_short_of_confirmations(self) -> bool:
        return self.confirmations < self._wanted

    def confirm(self, accuser: str) -> bool:
        """Count an accuser; False if this is nothing new or enough have spoken."""
        if self.confirmations >= self._wanted or accuser in self._accusers:
            return False
        self._accusers.add(accuser)
        self.confirmations += 1
        return True
