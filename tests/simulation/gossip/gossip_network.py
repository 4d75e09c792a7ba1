"""The simulated network: loss, delay, duplicates, cut links, and how much went over it."""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass
class Network:
    """Loss and duplication are probabilities, delays seconds. Streams are reliable while a link is up.

    cut: links (source, target) that carry nothing. no_udp: links that carry streams only.
    no_streams: nobody can open a stream, so that only packets tell who is alive."""

    rng: random.Random
    loss: float = 0.0
    duplicate: float = 0.0
    delay_s: tuple[float, float] = (0.0005, 0.003)
    cut: set[tuple[str, str]] = field(default_factory=set)
    no_udp: set[tuple[str, str]] = field(default_factory=set)
    no_streams: bool = False
    _side: frozenset[str] = frozenset()

    def isolate(self, name: str, others: Iterable[str]) -> None:
        self.cut |= {pair for other in others for pair in ((name, other), (other, name))}

    def split(self, side: Iterable[str]) -> None:
        """Part these nodes from all others."""
        self._side = frozenset(side)

    def heal(self) -> None:
        self.cut.clear()
        self.no_udp.clear()
        self._side = frozenset()

    def reaches(self, source: str, target: str) -> bool:
        if self._side and (source in self._side) != (target in self._side):
            return False
        return (source, target) not in self.cut

    def carries_packets(self, source: str, target: str) -> bool:
        if not (self._side or self.cut or self.no_udp):
            return True
        return (source, target) not in self.no_udp and self.reaches(source, target)

    def carries_streams(self, source: str, target: str) -> bool:
        return not self.no_streams and self.reaches(source, target) and self.reaches(target, source)

    def delays(self) -> Iterable[float]:
        """When the copies of one packet arrive, seconds from now: usually one, none if it is lost."""
        rng = self.rng
        low, high = self.delay_s
        if self.duplicate and rng.random() < self.duplicate and rng.random() >= self.loss:
            yield low + (high - low) * rng.random()
        if not self.loss or rng.random() >= self.loss:
            yield low + (high - low) * rng.random()


@dataclass(slots=True)
class Traffic:
    """What one node sent. Packets are counted before compression, streams as their states, both ways of each."""

    packets: int = 0
    messages: int = 0
    packet_bytes: int = 0
    streams: int = 0
    stream_bytes: int = 0

    def add(self, parts: tuple[bytes, ...], crc: bool) -> None:
        count = len(parts)
        self.packets += 1
        self.messages += count
        self.packet_bytes += sum(map(len, parts)) + 5 * crc + (2 + 2 * count if count > 1 else 0)

    def add_stream(self, size: int) -> None:
        self.streams += 1
        self.stream_bytes += size
