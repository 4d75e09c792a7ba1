"""yamux sessions: captured traces, the rules of flow control and closing, and junk."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.wire import rpc
from shared.wire.yamux import (
    FLAG_ACK,
    FLAG_FIN,
    FLAG_RST,
    FLAG_SYN,
    HEADER,
    INITIAL_WINDOW,
    TYPE_DATA,
    TYPE_GO_AWAY,
    TYPE_PING,
    TYPE_WINDOW_UPDATE,
    GoAwayCode,
    GoingAway,
    Limits,
    Session,
    SessionClosedError,
    SessionEnded,
    StreamData,
    StreamEnded,
    StreamOpened,
    StreamReset,
    TooManyStreamsError,
)

VECTORS = Path(__file__).parents[2] / "vectors" / "rpc"
TRACES: dict[str, Any] = json.loads((VECTORS / "yamux_sessions.json").read_text())["scenarios"]


def frame(kind: int, flags: int, stream_id: int, length: int, payload: bytes = b"") -> bytes:
    return HEADER.pack(0, kind, flags, stream_id, length) + payload


def frames(data: bytes) -> list[tuple[int, int, int, int]]:
    """(type, flags, stream id, length) of every frame in `data`."""
    found, position = [], 0
    while position < len(data):
        _, kind, flags, stream_id, length = HEADER.unpack_from(data, position)
        found.append((kind, flags, stream_id, length))
        position += HEADER.size + (length if kind == TYPE_DATA else 0)
    return found


def server(**limits: Any) -> Session:
    return Session(client=False, now=0.0, limits=Limits(**limits))


def test_an_opened_stream_is_acknowledged_at_once() -> None:
    session = server()
    assert session.receive(frame(TYPE_WINDOW_UPDATE, FLAG_SYN, 1, 0), 0.0) == [StreamOpened(1)]
    assert session.take_outgoing() == frame(TYPE_WINDOW_UPDATE, FLAG_ACK, 1, 0)


def test_a_silent_stream_does_not_hold_up_a_later_one() -> None:
    session = server()
    session.receive(frame(TYPE_WINDOW_UPDATE, FLAG_SYN, 1, 0), 0.0)
    events = session.receive(frame(TYPE_DATA, FLAG_SYN, 3, 2, b"hi"), 0.0)
    assert events == [StreamOpened(3), StreamData(3, b"hi")]


def test_fin_on_a_data_frame_comes_after_its_data_even_if_it_arrives_in_pieces() -> None:
    session = server()
    wire = frame(TYPE_DATA, FLAG_SYN | FLAG_FIN, 1, 4, b"abcd")
    events = [event for byte in wire for event in session.receive(bytes([byte]), 0.0)]
    assert events == [StreamOpened(1), *(StreamData(1, bytes([c])) for c in b"abcd"), StreamEnded(1)]
    assert session.take_outgoing() == b""  # a stream the peer has ended already gets no ACK


def test_a_second_syn_for_a_live_stream_ends_the_session() -> None:
    session = server()
    syn = frame(TYPE_WINDOW_UPDATE, FLAG_SYN, 1, 0)
    session.receive(syn, 0.0)
    session.take_outgoing()
    assert session.receive(syn, 0.0) == [SessionEnded("stream 1 is already open")]
    assert session.take_outgoing() == frame(TYPE_GO_AWAY, 0, 0, GoAwayCode.PROTOCOL_ERROR)
    assert session.receive(syn, 0.0) == []


def test_a_second_fin_ends_the_session() -> None:
    session = server()
    session.receive(frame(TYPE_WINDOW_UPDATE, FLAG_SYN | FLAG_FIN, 1, 0), 0.0)
    events = session.receive(frame(TYPE_WINDOW_UPDATE, FLAG_FIN, 1, 0), 0.0)
    assert events == [SessionEnded("second FIN on stream 1")]


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (HEADER.pack(1, 0, 0, 0, 0), "invalid protocol version 1"),
        (HEADER.pack(0, 4, 0, 0, 0), "invalid message type 4"),
        (HEADER.pack(0, TYPE_GO_AWAY, 0, 0, 1), "yamux protocol error"),
        (HEADER.pack(0, TYPE_GO_AWAY, 0, 0, 2), "remote yamux internal error"),
        (HEADER.pack(0, TYPE_GO_AWAY, 0, 0, 9), "unexpected go away received"),
    ],
)
def test_what_ends_a_session_without_a_go_away(header: bytes, reason: str) -> None:
    session = server()
    assert session.receive(header, 0.0) == [SessionEnded(reason)]
    assert session.take_outgoing() == b""


def test_credit_goes_back_in_half_window_steps() -> None:
    session = server()
    session.receive(frame(TYPE_DATA, FLAG_SYN, 1, INITIAL_WINDOW, bytes(INITIAL_WINDOW)), 0.0)
    session.take_outgoing()
    session.consumed(1, INITIAL_WINDOW // 2 - 1)
    assert session.take_outgoing() == b""
    session.consumed(1, 1)
    assert frames(session.take_outgoing()) == [(TYPE_WINDOW_UPDATE, 0, 1, INITIAL_WINDOW // 2)]


def test_more_than_the_window_ends_the_session() -> None:
    session = server()
    session.receive(frame(TYPE_DATA, FLAG_SYN, 1, INITIAL_WINDOW, bytes(INITIAL_WINDOW)), 0.0)
    session.take_outgoing()
    assert session.receive(frame(TYPE_DATA, 0, 1, 1), 0.0) == [SessionEnded("receive window exceeded on stream 1")]
    assert frames(session.take_outgoing()) == [(TYPE_GO_AWAY, 0, 0, 1)]


def test_writes_wait_for_the_window_and_close_comes_last() -> None:
    session = server()
    session.receive(frame(TYPE_WINDOW_UPDATE, FLAG_SYN, 1, 0), 0.0)
    session.take_outgoing()
    session.send(1, bytes(INITIAL_WINDOW + 10))
    session.close_stream(1, 0.0)
    assert frames(session.take_outgoing()) == [(TYPE_DATA, 0, 1, INITIAL_WINDOW)]
    assert session.pending_bytes == 10
    session.receive(frame(TYPE_WINDOW_UPDATE, 0, 1, 4), 0.0)
    session.receive(frame(TYPE_WINDOW_UPDATE, 0, 1, 100), 0.0)
    assert frames(session.take_outgoing()) == [
        (TYPE_DATA, 0, 1, 4),
        (TYPE_DATA, 0, 1, 6),
        (TYPE_WINDOW_UPDATE, FLAG_FIN, 1, 0),
    ]
    assert session.pending_bytes == 0
    with pytest.raises(SessionClosedError):
        session.send(1, b"late")


def test_both_halves_closed_forget_the_stream_and_late_data_is_dropped() -> None:
    session = server()
    session.receive(frame(TYPE_WINDOW_UPDATE, FLAG_SYN, 1, 0), 0.0)
    session.close_stream(1, 0.0)
    assert session.receive(frame(TYPE_WINDOW_UPDATE, FLAG_FIN, 1, 0), 0.0) == [StreamEnded(1)]
    assert session.stream_count == 0
    assert session.receive(frame(TYPE_DATA, 0, 1, 3, b"abc"), 0.0) == []
    assert session.receive(frame(TYPE_DATA, FLAG_SYN, 3, 1, b"x"), 0.0) == [
        StreamOpened(3),
        StreamData(3, b"x"),
    ]


def test_a_reset_stream_is_gone() -> None:
    session = server()
    session.receive(frame(TYPE_WINDOW_UPDATE, FLAG_SYN, 1, 0), 0.0)
    assert session.receive(frame(TYPE_WINDOW_UPDATE, FLAG_RST, 1, 0), 0.0) == [StreamReset(1)]
    assert session.stream_count == 0


def test_a_stream_only_we_have_closed_is_reset_in_the_end() -> None:
    session = server(close_linger_s=5.0)
    session.receive(frame(TYPE_WINDOW_UPDATE, FLAG_SYN, 1, 0), 0.0)
    session.close_stream(1, 1.0)
    assert session.deadline == 6.0
    session.take_outgoing()
    assert session.tick(6.0) == [StreamReset(1)]
    assert frames(session.take_outgoing()) == [(TYPE_WINDOW_UPDATE, FLAG_RST, 1, 0)]
    assert session.stream_count == 0


def test_a_stream_that_both_have_closed_is_not_waited_for() -> None:
    session = server(close_linger_s=5.0)
    for stream_id in (1, 3):
        session.receive(frame(TYPE_WINDOW_UPDATE, FLAG_SYN, stream_id, 0), 0.0)
        session.close_stream(stream_id, 1.0 if stream_id == 1 else 2.0)
    assert session.deadline == 6.0
    session.receive(frame(TYPE_WINDOW_UPDATE, FLAG_FIN, 1, 0), 2.0)
    assert session.deadline == 7.0
    session.receive(frame(TYPE_WINDOW_UPDATE, FLAG_RST, 3, 0), 2.0)
    assert session.deadline == 30.0


def test_streams_beyond_the_limit_and_after_a_go_away_are_reset() -> None:
    session = server(streams_max=1)
    session.receive(frame(TYPE_WINDOW_UPDATE, FLAG_SYN, 1, 0), 0.0)
    session.take_outgoing()
    assert session.receive(frame(TYPE_WINDOW_UPDATE, FLAG_SYN, 3, 0), 0.0) == []
    assert frames(session.take_outgoing()) == [(TYPE_WINDOW_UPDATE, FLAG_RST, 3, 0)]

    leaving = server()
    leaving.go_away()
    leaving.receive(frame(TYPE_WINDOW_UPDATE, FLAG_SYN, 1, 0), 0.0)
    assert frames(leaving.take_outgoing()) == [
        (TYPE_GO_AWAY, 0, 0, 0),
        (TYPE_WINDOW_UPDATE, FLAG_RST, 1, 0),
    ]


def test_unread_data_is_bounded_over_all_streams() -> None:
    session = server(unconsumed_bytes_max=10)
    session.receive(frame(TYPE_DATA, FLAG_SYN, 1, 6, bytes(6)), 0.0)
    events = session.receive(frame(TYPE_DATA, FLAG_SYN, 3, 6, bytes(6)), 0.0)
    assert events[-1] == SessionEnded("too much unread data in the session")


def test_keepalive_pings_and_gives_up_without_an_answer() -> None:
    session = server()
    assert session.deadline == 30.0
    assert session.tick(30.0) == []
    assert frames(session.take_outgoing()) == [(TYPE_PING, FLAG_SYN, 0, 1)]
    session.receive(frame(TYPE_PING, FLAG_ACK, 0, 1), 30.25)
    assert session.round_trip_s == 0.25
    assert session.deadline == 60.25
    session.tick(60.25)
    assert session.deadline == 70.25
    assert session.tick(70.25) == [SessionEnded("keepalive timeout")]


def test_a_ping_that_waits_behind_a_long_answer_ends_nothing() -> None:
    """On a slow link what was sent before it arrives first. A peer that sends is there."""
    session = server()
    assert session.tick(30.0) == []
    for now in (35.0, 44.0, 53.0):
        session.receive(frame(TYPE_WINDOW_UPDATE, FLAG_SYN, int(now) | 1, 0), now)
        assert session.tick(now + 1.0) == []
    assert session.deadline == 63.0
    assert session.tick(62.9) == []
    assert session.tick(63.0) == [SessionEnded("keepalive timeout")]


def test_a_client_opens_odd_streams_until_the_backlog_is_full() -> None:
    session = Session(client=True, now=0.0, limits=Limits(accept_backlog=2))
    assert [session.open_stream(), session.open_stream()] == [1, 3]
    with pytest.raises(TooManyStreamsError):
        session.open_stream()
    session.receive(frame(TYPE_WINDOW_UPDATE, FLAG_ACK, 1, 0), 0.0)
    assert session.open_stream() == 5
    assert session.receive(frame(TYPE_GO_AWAY, 0, 0, 0), 0.0) == [GoingAway()]
    with pytest.raises(SessionClosedError):
        session.open_stream()
    session.send(1, b"still works")


@pytest.mark.parametrize("name", TRACES)
def test_captured_sessions_are_answered_in_the_same_frames(name: str) -> None:
    """Our server end, given the application's answers, frames them as the captured server did."""
    session = server()
    decoders: dict[int, rpc.RequestDecoder] = {}
    calls: dict[int, str] = {}
    ended: set[int] = set()
    for captured in TRACES[name]["frames"][1:]:
        flags = sum({"SYN": 1, "ACK": 2, "FIN": 4, "RST": 8}[flag] for flag in captured["flags"])
        kind = {"data": 0, "window_update": 1, "ping": 2, "go_away": 3}[captured["type"]]
        header = bytes.fromhex(captured["header_hex"])
        stream_id = captured["stream"]
        assert header == HEADER.pack(0, kind, flags, stream_id, captured["length"])
        if "payload_hex" not in captured and captured["length"] and kind == TYPE_DATA:
            return  # the bytes of the large transfers were not kept
        if captured["dir"] == "c2s":
            for event in session.receive(header + bytes.fromhex(captured.get("payload_hex", "")), 0.0):
                if isinstance(event, StreamOpened):
                    decoders[event.stream_id] = rpc.RequestDecoder()
                elif isinstance(event, StreamData):
                    for call in decoders[event.stream_id].feed(event.data):
                        calls[call.seq] = call.method
                elif isinstance(event, StreamEnded):
                    ended.add(event.stream_id)
        elif kind == TYPE_DATA:
            answer, _ = captured["payload_msgpack_values"]
            assert calls.pop(answer["Seq"]) == answer["ServiceMethod"]
            payload = bytes.fromhex(captured["payload_hex"])
            if answer["Error"]:
                assert rpc.encode_error(answer["Seq"], answer["ServiceMethod"], answer["Error"]) == payload
            session.send(stream_id, payload)
            assert header + payload in session.take_outgoing()
        elif flags & FLAG_FIN:
            session.close_stream(stream_id, 0.0)
            assert header in session.take_outgoing()
        else:
            pass  # ACKs and ping answers are already in the outgoing bytes, found with the next frame
    assert session.ended is None


def test_a_ping_is_answered_with_its_id() -> None:
    session = server()
    session.receive(frame(TYPE_PING, FLAG_SYN, 0, 7), 0.0)
    assert session.take_outgoing() == frame(TYPE_PING, FLAG_ACK, 0, 7)


@given(
    st.lists(st.tuples(st.integers(0, 4), st.binary(max_size=300_000 // 100)), min_size=1, max_size=30),
    st.data(),
)
@settings(max_examples=60, deadline=None)
def test_two_ends_carry_any_interleaving_of_streams(writes: list[tuple[int, bytes]], data: st.DataObject) -> None:
    """Whatever is written on one end arrives in order on the other, however the connection cuts it."""
    client, peer = Session(client=True, now=0.0), Session(client=False, now=0.0)
    ids = [client.open_stream() for _ in range(5)]
    expected = dict.fromkeys(ids, b"")
    received = dict.fromkeys(ids, b"")
    ended = []
    for which, payload in writes:
        client.send(ids[which], payload * 100)
        expected[ids[which]] += payload * 100
    for stream_id in ids:
        client.close_stream(stream_id, 0.0)
    for _ in range(200):
        wire = client.take_outgoing()
        back = peer.take_outgoing()
        if not wire and not back:
            break
        cut = data.draw(st.integers(0, len(wire)))
        for piece in (wire[:cut], wire[cut:]):
            for event in peer.receive(piece, 0.0):
                if isinstance(event, StreamData):
                    received[event.stream_id] += event.data
                    peer.consumed(event.stream_id, len(event.data))
                elif isinstance(event, StreamEnded):
                    ended.append(event.stream_id)
        client.receive(back + peer.take_outgoing(), 0.0)
    assert received == expected
    assert sorted(ended) == ids
    assert client.pending_bytes == 0


@given(st.lists(st.binary(max_size=64), max_size=8))
def test_junk_ends_the_session_or_is_events_but_never_raises(pieces: list[bytes]) -> None:
    session = server()
    for piece in pieces:
        session.receive(piece, 0.0)
    session.take_outgoing()


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3), st.integers(0, 15), st.integers(0, 4), st.binary(max_size=20), st.sampled_from(" ocrs")
        ),
        max_size=30,
    )
)
@example([(TYPE_WINDOW_UPDATE, FLAG_SYN, 1, b"", "c"), (TYPE_WINDOW_UPDATE, FLAG_FIN | FLAG_RST, 1, b"", " ")])
def test_any_sequence_of_well_formed_frames_is_survived(
    sequence: list[tuple[int, int, int, bytes, str]],
) -> None:
    """Whatever this end does with its streams meanwhile: opens, closes, resets or sends."""
    session = server(streams_max=3)
    for kind, flags, stream_id, payload, own in sequence:
        body = payload if kind == TYPE_DATA else b""
        session.receive(frame(kind, flags, stream_id, len(payload), body), 0.0)
        with contextlib.suppress(SessionClosedError, TooManyStreamsError):
            match own:
                case "o":
                    session.open_stream()
                case "c":
                    session.close_stream(stream_id, 0.0)
                case "r":
                    session.reset_stream(stream_id)
                case "s":
                    session.send(stream_id, payload)
        session.take_outgoing()


def test_a_stream_that_is_ended_and_reset_by_one_frame_is_gone() -> None:
    session = server()
    session.receive(frame(TYPE_WINDOW_UPDATE, FLAG_SYN, 1, 0), 0.0)
    session.close_stream(1, 0.0)
    assert session.receive(frame(TYPE_WINDOW_UPDATE, FLAG_FIN | FLAG_RST, 1, 0), 0.0) == [StreamEnded(1)]
    assert session.stream_count == 0


def test_streams_that_only_we_have_closed_make_room_for_new_ones() -> None:
    """A peer that works on for long at what nobody waits for any more must not keep us from calling it."""
    session = Session(client=True, now=0.0, limits=Limits(streams_max=2))
    first, second = session.open_stream(), session.open_stream()
    with pytest.raises(TooManyStreamsError):
        session.open_stream()
    session.close_stream(second, 1.0)
    session.take_outgoing()
    third = session.open_stream()
    assert frames(session.take_outgoing()) == [
        (TYPE_WINDOW_UPDATE, FLAG_RST, second, 0),
        (TYPE_WINDOW_UPDATE, FLAG_SYN, third, 0),
    ]
    assert session.stream_count == 2
    session.receive(frame(TYPE_WINDOW_UPDATE, FLAG_ACK | FLAG_FIN, first, 0), 1.0)
    session.close_stream(first, 1.0)
    assert session.open_stream() > third
