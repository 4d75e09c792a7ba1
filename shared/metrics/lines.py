"""The lines that statsd, statsite and dogstatsd are sent for a batch. Sans-IO."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from shared.metrics.batch import Batch
from shared.metrics.totals import Key

PACKET_BYTES_MAX = 1400
"""Below what an Ethernet frame holds, as go-metrics keeps it."""

_UNSAFE = str.maketrans({":": "_", " ": "_", "\n": "_", "|": "_", "@": "_", "#": "_", ",": "_"})


def statsd_lines(batch: Batch) -> Iterator[str]:
    """One line, with its end, per series or value; the values of labels become parts of the name. statsite's too."""
    for key, total in batch.counters.items():
        yield f"{_flat(key)}:{total:f}|c\n"
    for key, value in batch.gauges.items():
        yield f"{_flat(key)}:{value:f}|g\n"
    for key, values in batch.samples.items():
        name, rate = _flat(key), _rate(values.count, len(values.kept))
        for value in values.kept:
            yield f"{name}:{value:f}|ms{rate}\n"


def dogstatsd_lines(batch: Batch, tags: Sequence[str], host: str) -> Iterator[str]:
    """The same with labels as tags, below those that every line has; `host` is taken out of names."""
    for key, total in batch.counters.items():
        name, shown = _tagged(key, tags, host)
        yield f"{name}:{int(total)}|c{shown}\n"
    for key, value in batch.gauges.items():
        name, shown = _tagged(key, tags, host)
        yield f"{name}:{value:f}|g{shown}\n"
    for key, values in batch.samples.items():
        name, shown = _tagged(key, tags, host)
        rate = _rate(values.count, len(values.kept))
        for value in values.kept:
            yield f"{name}:{value:f}|ms{rate}{shown}\n"


def packets(lines: Iterable[str]) -> Iterator[bytes]:
    """Lines together in packets of at most PACKET_BYTES_MAX, a longer line alone."""
    packet = b""
    for line in lines:
        data = line.encode("utf-8", "replace")
        if packet and len(packet) + len(data) > PACKET_BYTES_MAX:
            yield packet
            packet = b""
        packet += data
    if packet:
        yield packet


def _rate(count: int, kept: int) -> str:
    """What share of the values the lines stand for, "" for all of them."""
    return "" if count <= kept else f"|@{kept / count:.6f}"


def _flat(key: Key) -> str:
    name, labels = key
    return ".".join([name, *(value for _, value in labels)]).translate(_UNSAFE)


def _tagged(key: Key, tags: Sequence[str], host: str) -> tuple[str, str]:
    name, labels = key
    if host:
        name = name.replace(f".{host}.", ".", 1)
    own = [f"{label}:{value.translate(_UNSAFE)}" if value else label for label, value in labels]
    every = [tag.replace("\n", "") for tag in (*tags, *own)]
    return name.translate(_UNSAFE), f"|#{','.join(every)}" if every else ""
