"""How much is tried: a little on every run, fifty times as much with --long. And damage to do to good bytes.

Decoders that have such tests beside their other tests are not repeated here: yamux and msgpack-rpc (unit/rpc), the
Raft transport, WAL files and the stable store (unit/raft), IPC frames (unit/test_ipc_frames.py), filters (unit/bexpr),
HCL and JSON files (unit/config)."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

_LONG_FACTOR = 50
_factor = 1


def use_long_form(long: bool) -> None:
    """Called before the tests are collected."""
    global _factor
    _factor = _LONG_FACTOR if long else 1


def fuzz(examples: int = 100) -> settings:
    """Settings of a fuzz test: `@fuzz()` below `@given(...)`."""
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    return settings(max_examples=examples * _factor, deadline=None, suppress_health_check=checks)


@st.composite
def damaged(draw: st.DrawFn, samples: Sequence[bytes]) -> bytes:
    """One of `samples` after a few hits: bytes changed, cut out, doubled, inserted; ends cut off; two mixed."""
    data = bytearray(draw(st.sampled_from(samples)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        to = min(len(data), at + draw(st.integers(0, 8)))
        kind = draw(st.integers(0, 5))
        if kind == 0:
            data[at:to] = draw(st.binary(max_size=8))
        elif kind == 1:
            del data[at:to]
        elif kind == 2:
            data[at:at] = data[at:to] * draw(st.integers(1, 40))
        elif kind == 3:
            del data[at:]
        elif kind == 4:
            data[at:at] = draw(st.sampled_from([b"\x00", b"\xff" * 4, b"\r\n", b"\n", b"\xc1", b"\x7f\xff\xff\xff"]))
        else:
            data[at:] = draw(st.sampled_from(samples))[at:]
    return bytes(data)


@st.composite
def cut_up(draw: st.DrawFn, data: bytes, pieces: int = 6) -> list[bytes]:
    """`data` in up to `pieces` pieces, some of which may be empty."""
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=pieces - 1)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
