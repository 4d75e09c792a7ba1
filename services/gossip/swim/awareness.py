"""Local health (Lifeguard): a node that misses answers doubts itself first and probes more slowly."""


class Awareness:
    """Score from 0 (healthy) to max_score - 1."""

    def __init__(self, max_score: int) -> None:
        self._max = max_score - 1
        self.score = 0

    def change(self, delta: int) -> None:
        self.score = min(max(self.score + delta, 0), self._max)

    def stretched_s(self, interval_s: float) -> float:
        return interval_s * (self.score + 1)
