"""Vivaldi network coordinates with height, adjustment and gravity, to the last bit as Serf computes them.

Sources: Dabek et al. "Vivaldi" (2004); Ledlie et al. "Network Coordinates in the Wild" (2007) for the latency filter
and gravity; Lee et al. "On Suitability of Euclidean Embedding" (2006) for the adjustment term."""

import math
import random
from dataclasses import dataclass
from typing import Final

DIMENSIONS: Final = 8
_ERROR_MAX = 1.5
_CE = 0.25
_CC = 0.25
_ADJUSTMENT_WINDOW = 20
_HEIGHT_MIN = 1.0e-5
_LATENCY_FILTER = 3
_GRAVITY_RHO = 150.0
_ZERO = 1.0e-6
_RTT_MAX_S = 10.0


class CoordinateError(ValueError):
    """A coordinate or round trip that must not be learnt from."""


@dataclass(frozen=True, slots=True)
class Coordinate:
    """A point in network space; all values are seconds except `error`, which is relative."""

    vec: tuple[float, ...] = (0.0,) * DIMENSIONS
    error: float = _ERROR_MAX
    adjustment: float = 0.0
    height: float = _HEIGHT_MIN

    def is_valid(self) -> bool:
        return all(map(math.isfinite, self.vec)) and all(map(math.isfinite, (self.error, self.adjustment, self.height)))

    def distance_to(self, other: "Coordinate") -> float:
        """Estimated round-trip time in seconds, cut to whole nanoseconds (Go's Duration)."""
        distance = self.raw_distance_to(other)
        adjusted = distance + self.adjustment + other.adjustment
        if adjusted > 0.0:
            distance = adjusted
        return _seconds(distance)

    def raw_distance_to(self, other: "Coordinate") -> float:
        """Seconds without the adjustment terms."""
        return _magnitude(_difference(self.vec, other.vec)) + self.height + other.height

    def apply_force(self, force: float, other: "Coordinate", rng: random.Random) -> "Coordinate":
        """This point moved by `force` seconds away from `other` (towards it, if negative)."""
        unit, magnitude = _unit_vector(self.vec, other.vec, rng)
        vec = tuple(mine + direction * force for mine, direction in zip(self.vec, unit, strict=True))
        height = self.height
        if magnitude > _ZERO:
            height = max((height + other.height) * force / magnitude + height, _HEIGHT_MIN)
        return Coordinate(vec, self.error, self.adjustment, height)


class CoordinateClient:
    """Keeps one node's own coordinate and moves it with every measured round trip."""

    def __init__(self, rng: random.Random) -> None:
        self.coordinate = Coordinate()
        self.resets = 0
        self._rng = rng
        self._origin = Coordinate()
        self._adjustments = [0.0] * _ADJUSTMENT_WINDOW
        self._adjustment_index = 0
        self._latencies: dict[str, list[float]] = {}

    def update(self, node: str, other: Coordinate, rtt_s: float) -> Coordinate:
        """Learn that a round trip to `node`, which stands at `other`, took rtt_s seconds.

        Raises CoordinateError for another dimensionality, values that are no numbers, rtt_s outside 0..10."""
        if len(other.vec) != DIMENSIONS:
            raise CoordinateError("dimensions aren't compatible")
        if not other.is_valid():
            raise CoordinateError("coordinate is invalid")
        if not 0 <= rtt_s <= _RTT_MAX_S:
            raise CoordinateError(f"round trip time not in valid range: {rtt_s} s is not between 0 and {_RTT_MAX_S} s")
        rtt = self._filtered(node, rtt_s)
        self._move(other, rtt)
        self._adjust(other, rtt)
        self._gravitate()
        if not self.coordinate.is_valid():
            self.resets += 1
            self.coordinate = Coordinate()
        return self.coordinate

    def forget(self, node: str) -> None:
        self._latencies.pop(node, None)

    def _filtered(self, node: str, rtt: float) -> float:
        samples = self._latencies.setdefault(node, [])
        samples.append(rtt)
        del samples[:-_LATENCY_FILTER]
        return sorted(samples)[len(samples) // 2]

    def _move(self, other: Coordinate, rtt: float) -> None:
        me = self.coordinate
        distance = me.distance_to(other)
        rtt = max(rtt, _ZERO)
        wrongness = abs(distance - rtt) / rtt
        weight = me.error / max(me.error + other.error, _ZERO)
        error = min(_CE * weight * wrongness + me.error * (1.0 - _CE * weight), _ERROR_MAX)
        force = _CC * weight * (rtt - distance)
        self.coordinate = Coordinate(me.vec, error, me.adjustment, me.height).apply_force(force, other, self._rng)

    def _adjust(self, other: Coordinate, rtt: float) -> None:
        me = self.coordinate
        self._adjustments[self._adjustment_index] = rtt - me.raw_distance_to(other)
        self._adjustment_index = (self._adjustment_index + 1) % _ADJUSTMENT_WINDOW
        total = 0.0
        for sample in self._adjustments:  # in this order: sum() may add more exactly than Go does
            total += sample
        self.coordinate = Coordinate(me.vec, me.error, total / (2.0 * _ADJUSTMENT_WINDOW), me.height)

    def _gravitate(self) -> None:
        distance = self._origin.distance_to(self.coordinate)
        force = -1.0 * math.pow(distance / _GRAVITY_RHO, 2.0)
        self.coordinate = self.coordinate.apply_force(force, self._origin, self._rng)


def _difference(a: tuple[float, ...], b: tuple[float, ...]) -> list[float]:
    return [x - y for x, y in zip(a, b, strict=True)]


def _magnitude(vec: list[float]) -> float:
    total = 0.0
    for component in vec:
        total += component * component
    return math.sqrt(total)


def _unit_vector(to: tuple[float, ...], start: tuple[float, ...], rng: random.Random) -> tuple[list[float], float]:
    """Direction from `start` to `to` and the distance; a random direction and 0 if they are at the same place."""
    difference = _difference(to, start)
    magnitude = _magnitude(difference)
    if magnitude > _ZERO:
        return [component * (1.0 / magnitude) for component in difference], magnitude
    difference = [rng.random() - 0.5 for _ in difference]
    magnitude = _magnitude(difference)
    if magnitude > _ZERO:
        return [component * (1.0 / magnitude) for component in difference], 0.0
    return [1.0] + [0.0] * (len(difference) - 1), 0.0


def _seconds(seconds: float) -> float:
    """`seconds` cut to whole nanoseconds the way Go's Duration goes there and back.

    Whole seconds and the rest are converted apart, which rounds differently from one division; what does not fit
    64 bits becomes the smallest number, as on amd64."""
    scaled = seconds * 1.0e9
    nanoseconds = int(scaled) if -9.2e18 < scaled < 9.2e18 else -(1 << 63)
    whole, rest = divmod(abs(nanoseconds), 1_000_000_000)
    size = float(whole) + rest / 1.0e9
    return size if nanoseconds >= 0 else -size
