"""The frame codec: any cut of the stream gives the same frames, junk gives ProtocolError and nothing else."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.ipc import FrameDecoder, ProtocolError, frames

payloads = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
calls = st.tuples(st.just(frames.CALL), st.integers(1, 2**32), st.text(), st.integers(0, 10**6), payloads)
results = st.tuples(st.just(frames.RESULT), st.integers(1, 2**32), payloads)
events = st.tuples(st.just(frames.EVENT), st.text(), payloads)


def listed(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [listed(item) for item in value]
    if isinstance(value, dict):
        return {key: listed(item) for key, item in value.items()}
    return value


@given(sent=st.lists(calls | results | events, max_size=5), data=st.data())
def test_the_decoder_does_not_care_where_the_stream_is_cut(sent: list[Any], data: st.DataObject) -> None:
    wire, decoder = b"".join(map(frames.encode, sent)), FrameDecoder()
    cut = data.draw(st.integers(0, len(wire)))
    assert [*decoder.feed(wire[:cut]), *decoder.feed(wire[cut:])] == listed(sent)


@given(st.binary(max_size=300))
def test_junk_gives_frames_or_a_protocol_error(junk: bytes) -> None:
    try:
        for frame in FrameDecoder().feed(junk):
            assert isinstance(frame, list)
    except ProtocolError:
        pass


def test_a_frame_above_the_limit_is_refused_while_it_arrives() -> None:
    decoder = FrameDecoder(max_frame_bytes=1000)
    wire = frames.encode((frames.RESULT, 1, b"x" * 2_000_000))
    pieces = (wire[start : start + frames.READ_BYTES] for start in range(0, len(wire), frames.READ_BYTES))
    with pytest.raises(ProtocolError, match="larger than 1000 bytes"):
        list(itertools.chain.from_iterable(map(decoder.feed, pieces)))


def test_another_protocol_version_is_refused_with_advice() -> None:
    with pytest.raises(ProtocolError, match="restart all components"):
        frames.check_hello([frames.HELLO, 99, "raft_node"])


def test_a_frame_is_bounded_as_a_whole_however_it_is_cut() -> None:
    """Of lists in lists the unpacker forgets the bytes as they come, and keeps what it has made of them."""
    leaf = b"\x98" + b"\xc0" * 8
    many = b"\x98" + (b"\x98" + leaf * 8) * 8
    data = b"\x95\x01\x01\xa1m\x00" + b"\x98" * 200 + many * 20_000
    decoder = frames.FrameDecoder(1 << 16, 8)
    pieces = [data[start : start + 4096] for start in range(0, len(data), 4096)]
    with pytest.raises(ProtocolError, match="larger than 65536 bytes"):
        list(itertools.chain.from_iterable(map(decoder.feed, pieces)))
