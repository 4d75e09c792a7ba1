"""Codec properties: round trip, any junk gives messages or PacketError, bombs stay bounded."""

import contextlib
import tracemalloc
from typing import Any

import msgpack
import pytest
from gossip_bombs import lzw_zeros
from hypothesis import given
from hypothesis import strategies as st

from services.gossip.codec import limits, lzw
from services.gossip.codec.errors import PacketError, StreamError
from services.gossip.codec.keyring import Keyring
from services.gossip.codec.messages import (
    COMPRESSED,
    Ack,
    Alive,
    Compressed,
    Dead,
    Err,
    IndirectPing,
    Message,
    Nack,
    NodeRecord,
    Ping,
    Suspect,
    User,
    decode_message,
    encode_message,
)
from services.gossip.codec.packet import compress_message, decode_packet, encode_packet, make_compound
from services.gossip.codec.serf_messages import (
    CoordinateMessage,
    JoinIntent,
    LeaveIntent,
    PastEvent,
    PastEvents,
    QueryMessage,
    QueryResponseMessage,
    Relay,
    RelayAddress,
    SerfMessage,
    SerfState,
    UserEventMessage,
    decode_conflict_response,
    decode_coordinate,
    decode_filter,
    decode_key_request,
    decode_key_response,
    decode_serf,
    decode_state,
    decode_tags,
    encode_coordinate,
    encode_serf,
    encode_state,
    encode_tags,
)
from services.gossip.codec.stream import PushPull, StreamDecoder, StreamMessage, encode_stream

u32 = st.integers(0, 2**32 - 1)
u16 = st.integers(0, 2**16 - 1)
u64 = st.integers(0, 2**64 - 1)
# Names may hold bytes that are no UTF-8; inside they are lone surrogates, as os.fsdecode has them.
text = st.binary(max_size=40).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
raw = st.binary(max_size=60)
nil_or_raw = st.none() | raw
ips = st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16)


def messages() -> st.SearchStrategy[Message]:
    return st.one_of(
        st.builds(Ping, u32, text, raw, u16, text),
        st.builds(IndirectPing, u32, raw, u16, text, st.booleans(), raw, u16, text),
        st.builds(Ack, u32, nil_or_raw),
        st.builds(Nack, u32),
        st.builds(Suspect, u32, text, text),
        st.builds(Dead, u32, text, text),
        st.builds(Alive, u32, text, raw, u16, raw, raw),
        st.builds(User, raw),
    )


past = st.builds(PastEvents, u64, st.none() | st.lists(st.builds(PastEvent, text, nil_or_raw)).map(tuple))
states = st.builds(
    SerfState,
    u64,
    st.dictionaries(text, u64, max_size=4),
    st.none() | st.lists(text, max_size=4).map(tuple),
    u64,
    st.none() | st.lists(st.none() | past, max_size=6).map(tuple),
    u64,
)


def serf_messages() -> st.SearchStrategy[SerfMessage]:
    return st.one_of(
        st.builds(LeaveIntent, u64, text, st.booleans()),
        st.builds(JoinIntent, u64, text),
        st.builds(UserEventMessage, u64, text, nil_or_raw, st.booleans()),
        st.builds(
            QueryMessage,
            u64,
            u32,
            raw,
            u16,
            text,
            st.none() | st.lists(raw, max_size=4).map(tuple),
            u32,
            st.integers(0, 255),
            st.integers(-(2**63), 2**63 - 1),
            text,
            nil_or_raw,
        ),
        st.builds(QueryResponseMessage, u64, u32, text, u32, nil_or_raw),
        st.builds(Relay, st.builds(RelayAddress, ips, st.integers(1, 65535), text), text, raw),
    )


def streams() -> st.SearchStrategy[StreamMessage]:
    record = st.builds(NodeRecord, text, raw, u16, raw, u32, st.integers(0, 3), raw)
    return st.one_of(
        st.builds(PushPull, st.booleans(), st.lists(record, max_size=4).map(tuple), st.binary(max_size=300)),
        st.builds(Ping, u32, text, raw, u16, text),
        st.builds(Ack, u32, nil_or_raw),
        st.builds(Err, text),
        st.builds(User, st.binary(max_size=300)),
    )


keyrings = st.none() | st.sampled_from([Keyring([bytes(range(n))]) for n in (16, 24, 32)])


@given(message=messages())
def test_a_message_survives_the_wire(message: Message) -> None:
    assert decode_message(encode_message(message)) == message


@given(message=serf_messages())
def test_a_serf_message_survives_the_wire(message: SerfMessage) -> None:
    assert decode_serf(encode_serf(message)) == message


@given(state=states)
def test_a_push_pull_state_survives_the_wire(state: SerfState) -> None:
    assert decode_state(encode_state(state)) == state


@given(sent=st.lists(messages(), min_size=1, max_size=8), keyring=keyrings, crc=st.booleans(), compress=st.booleans())
def test_a_packet_survives_its_layers(sent: list[Message], keyring: Keyring | None, crc: bool, compress: bool) -> None:
    data = encode_packet(list(map(encode_message, sent)), crc=crc, keyring=keyring, compress=compress)
    packet = decode_packet(data, keyring)
    assert packet.messages == sent
    assert packet.problems == []


@given(message=streams(), keyring=keyrings, compress=st.booleans(), data=st.data())
def test_a_stream_survives_any_cut(message: StreamMessage, keyring: Keyring | None, compress: bool, data: Any) -> None:
    wire = encode_stream(message, keyring, compress_up_to=1 << 30 if compress else 0)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=4)))
    decoder = StreamDecoder(keyring)
    answers = [decoder.feed(wire[start:end]) for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    assert [answer for answer in answers if answer is not None][:1] == [message]


@given(junk=st.binary(max_size=300), keyring=keyrings, verify=st.booleans())
def test_junk_datagrams_give_messages_or_packet_error(junk: bytes, keyring: Keyring | None, verify: bool) -> None:
    with contextlib.suppress(PacketError):
        decode_packet(junk, keyring, verify_incoming=verify)


# Junk that begins like a message gets deeper than pure noise.
almost = st.one_of(
    st.tuples(st.integers(0, 14), st.binary(max_size=60)).map(lambda pair: bytes([pair[0]]) + pair[1]),
    st.tuples(
        st.integers(0, 14),
        st.recursive(
            st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | text | raw,
            lambda inner: (
                st.lists(inner, max_size=4)
                | st.dictionaries(
                    st.sampled_from(["Node", "SeqNo", "LTime", "Events", "Nodes", "UserStateLen", "Buf", "Algo"]),
                    inner,
                    max_size=6,
                )
            ),
            max_leaves=12,
        ),
    ).map(lambda pair: bytes([pair[0]]) + msgpack.packb(pair[1], unicode_errors="surrogateescape")),
)


@given(junk=almost)
def test_almost_messages_give_messages_or_packet_error(junk: bytes) -> None:
    for decode in (
        decode_packet,
        decode_message,
        decode_serf,
        decode_state,
        decode_tags,
        decode_filter,
        decode_coordinate,
        decode_key_request,
        decode_key_response,
        decode_conflict_response,
    ):
        with contextlib.suppress(PacketError):
            decode(junk)
    with contextlib.suppress(StreamError):
        StreamDecoder().feed(junk)


@given(junk=st.binary(max_size=200), message=streams(), data=st.data())
def test_damaged_streams_give_a_message_or_stream_error(junk: bytes, message: StreamMessage, data: Any) -> None:
    wire = encode_stream(message)
    cut = data.draw(st.integers(0, len(wire)))
    with contextlib.suppress(StreamError):
        StreamDecoder().feed(wire[:cut] + junk)


@given(plain=st.binary(max_size=5000) | st.builds(lambda piece, n: piece * n, st.binary(max_size=9), u16))
def test_lzw_round_trip(plain: bytes) -> None:
    assert lzw.decompress(lzw.compress(plain), len(plain)) == plain


@given(junk=st.binary(max_size=400), limit=st.integers(0, 5000))
def test_lzw_junk_stays_under_the_limit(junk: bytes, limit: int) -> None:
    with contextlib.suppress(PacketError):
        assert len(lzw.decompress(junk, limit)) <= limit


@given(tags=st.dictionaries(text, text, max_size=12))
def test_tags_survive(tags: dict[str, str]) -> None:
    assert decode_tags(encode_tags(tags)) == tags


@given(
    coordinate=st.builds(
        CoordinateMessage,
        st.lists(st.floats(allow_nan=False), max_size=9).map(tuple),
        st.floats(allow_nan=False),
        st.floats(allow_nan=False),
        st.floats(allow_nan=False),
    )
)
def test_coordinates_survive(coordinate: CoordinateMessage) -> None:
    assert decode_coordinate(encode_coordinate(coordinate)) == coordinate


def peak_of(act: Any) -> int:
    tracemalloc.start()
    try:
        act()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_full_lzw_table_learns_nothing_until_it_is_cleared() -> None:
    """Encoders clear it before, but Go's decoder takes more codes of the last width."""
    plain = bytes(number * 7 & 255 for number in range(5000))
    codes, bits, count, width = [*plain, 258, 4095, 256], 0, 0, 9
    for number, code in enumerate(codes):
        bits |= code << count
        count += width
        width = min(12, (258 + number).bit_length())
    for code in (65, 66, 258, 257):
        bits |= code << count
        count += 9
    data = bits.to_bytes((count + 7) // 8, "little")
    assert lzw.decompress(data, 1 << 16) == plain + plain[:2] + plain[3837:3839] + b"ABAB"
    with pytest.raises(PacketError, match="more than"):
        lzw.decompress(data, len(plain) + 7)


def test_an_lzw_bomb_is_cut_off() -> None:
    bomb = b"\x09" + COMPRESSED.encode(Compressed(0, lzw_zeros(70_000_000, 8)))
    assert len(bomb) < limits.UDP_RECEIVE

    def receive() -> None:
        with pytest.raises(PacketError, match="after decompression"):
            decode_packet(bomb)

    assert peak_of(receive) < 3_000_000


def test_many_bombs_in_one_compound_share_one_budget() -> None:
    bomb = compress_message(encode_message(User(bytes(100_000))))
    packet = decode_packet(make_compound([bomb] * 20))
    assert sum(len(message.payload) for message in packet.messages if isinstance(message, User)) <= (
        limits.PACKET_INFLATED
    )
    assert packet.problems


def test_nested_compounds_are_cut_off() -> None:
    data = encode_message(Nack(1))
    for _ in range(limits.PACKET_DEPTH + 2):
        data = make_compound([data])
    with pytest.raises(PacketError, match="layers"):
        decode_packet(data)


def test_compounds_that_multiply_are_cut_off() -> None:
    data = encode_message(Nack(1))
    for _ in range(3):
        data = make_compound([data] * 16)
    packet = decode_packet(data)
    assert len(packet.messages) <= limits.PACKET_PARTS
    assert packet.problems


def test_a_stream_bomb_is_cut_off() -> None:
    wire = bytes([9]) + COMPRESSED.encode(Compressed(0, lzw_zeros(limits.STREAM_INFLATED + 1, 8)))
    with pytest.raises(StreamError, match="after decompression"):
        StreamDecoder().feed(wire)


@pytest.mark.parametrize("nodes", [-1, limits.STREAM_NODES + 1, 2**62])
def test_a_push_pull_that_announces_too_much_is_refused_at_once(nodes: int) -> None:
    header = msgpack.packb({"Join": False, "Nodes": nodes, "UserStateLen": 0})
    with pytest.raises(StreamError, match="announced"):
        StreamDecoder().feed(b"\x06" + header)


def test_msgpack_headers_that_lie_allocate_nothing() -> None:
    for nested in (b"\xdd\x00\x00\xff\xff" * 400, b"\xdc\x04\x00" * 400, b"\xdf\x7f\xff\xff\xff" * 400):
        assert peak_of(lambda nested=nested: _swallow(b"\x04" + nested)) < 6_000_000


def _swallow(data: bytes) -> None:
    with pytest.raises(PacketError):
        decode_packet(data)


def test_bin_for_a_text_field_fails_as_in_go() -> None:
    with pytest.raises(PacketError, match="want text"):
        decode_message(b"\x03" + msgpack.packb({"Node": b"x", "From": "y", "Incarnation": 1}))
    message = decode_message(b"\x04" + msgpack.packb({"Node": "x", "Addr": b"\x7f\0\0\1"}, use_bin_type=True))
    assert message == Alive(0, "x", b"\x7f\0\0\1", 0, b"", b"")


def test_a_struct_may_come_as_an_array_and_with_bytes_behind_it() -> None:
    assert decode_message(b"\x03" + msgpack.packb([7, "n", "f"]) + b"more") == Suspect(7, "n", "f")
