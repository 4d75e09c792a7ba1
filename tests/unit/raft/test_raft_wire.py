"""Raft's RPCs against bytes captured from real servers, and against everything else that may arrive."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.raft_node import wire
from services.raft_node.core import codec
from services.raft_node.core.messages import (
    AppendEntries,
    AppendEntriesReply,
    InstallSnapshot,
    InstallSnapshotReply,
    PreVote,
    PreVoteReply,
    Reply,
    Request,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
    TimeoutNowReply,
)
from services.raft_node.core.types import Configuration, Entry, Server

VECTORS = Path(__file__).parents[2] / "vectors" / "raft"
EXCHANGES: dict[str, Any] = json.loads((VECTORS / "raft_rpc.json").read_text())["exchanges"]
HAND_MADE = {"append_rejected_old_term", "vote_denied_have_leader", "vote_unsupported_protocol"}
"""Requests that were not sent by a real server: their keys are not sorted."""


def decode_all(data: bytes) -> list[Request | wire.SnapshotPiece]:
    return list(wire.RequestDecoder().feed(data))


@pytest.mark.parametrize("name", EXCHANGES)
def test_captured_requests_decode_and_encode_to_the_same_bytes(name: str) -> None:
    exchange = EXCHANGES[name]
    data = bytes.fromhex(exchange["request_hex"])
    [request] = decode_all(data)[:1]
    assert isinstance(request, Request)
    assert wire.request_kind(request) == exchange["rpc_type"] == data[0]
    if name not in HAND_MADE:
        assert wire.encode_request(request) == data
    if "Entries" in exchange["request"] and isinstance(request, AppendEntries):
        assert [entry.index for entry in request.entries] == [
            entry["Index"] for entry in exchange["request"]["Entries"] or []
        ]


@pytest.mark.parametrize("name", EXCHANGES)
def test_captured_answers_decode_and_encode_to_the_same_bytes(name: str) -> None:
    exchange = EXCHANGES[name]
    data = bytes.fromhex(exchange["response_error_hex"] + exchange["response_hex"])
    answer = wire.AnswerDecoder().feed(data, exchange["rpc_type"])
    assert answer is not None
    reply, error = answer
    assert error == exchange["response_error"]
    assert wire.encode_answer(reply, error) == data


def test_captured_configurations_decode_and_encode_to_the_same_bytes() -> None:
    for vector in json.loads((VECTORS / "raft_configuration.json").read_text())["entries"]:
        data = bytes.fromhex(vector["data_hex"])
        configuration = codec.decode_configuration(data)
        assert codec.encode_configuration(configuration) == data
        assert [server.suffrage for server in configuration.servers] == [
            server["Suffrage"] for server in vector["configuration"]["Servers"]
        ]


def test_the_heartbeat_of_a_real_leader() -> None:
    [request] = decode_all(bytes.fromhex(EXCHANGES["append_heartbeat"]["request_hex"]))
    assert request == AppendEntries(term=2, leader="127.0.0.1:22310")


# ---- properties ------------------------------------------------------------------------------------------------------

u64 = st.integers(0, 2**64 - 1)
address = st.text(max_size=40)
servers = st.builds(Server, st.text(max_size=40), address, st.integers(0, 2))
configurations = st.builds(lambda found: Configuration(tuple(found)), st.lists(servers, max_size=4))
entries = st.builds(Entry, u64, u64, st.integers(0, 255), st.binary(max_size=100), st.binary(max_size=10))
names = st.lists(st.text(max_size=40), max_size=4).map(tuple)
versions = st.integers(0, 5)
appends = st.builds(
    AppendEntries, u64, address, u64, u64, st.lists(entries, max_size=4).map(tuple), u64, versions, names
)
votes = st.builds(RequestVote, u64, address, u64, u64, st.booleans(), versions, st.booleans())
pre_votes = st.builds(PreVote, u64, address, u64, u64, versions)
installs = st.builds(
    InstallSnapshot,
    u64,
    address,
    u64,
    u64,
    configurations,
    u64,
    st.integers(0, 300),
    st.just(1),
    st.integers(0, 5),
)
requests = st.one_of(appends, votes, pre_votes, installs, st.builds(TimeoutNow, versions, u64))
replies = st.one_of(
    st.builds(AppendEntriesReply, u64, u64, st.booleans(), st.booleans(), st.integers(0, 3), st.booleans()),
    st.builds(PreVoteReply, u64, st.booleans(), st.integers(0, 3)),
    st.builds(RequestVoteReply, u64, st.booleans(), st.integers(0, 3)),
    st.builds(InstallSnapshotReply, u64, st.booleans(), st.just(0)),
    st.just(TimeoutNowReply()),
)


def stream_of(sent: list[Request]) -> bytes:
    parts = []
    for request in sent:
        parts.append(wire.encode_request(request))
        if isinstance(request, InstallSnapshot):
            parts.append(bytes(request.size))
    return b"".join(parts)


def joined(items: list[Request | wire.SnapshotPiece]) -> list[Request | bytes]:
    """Bodies put together again."""
    found: list[Request | bytes] = []
    body = b""
    for item in items:
        if isinstance(item, wire.SnapshotPiece):
            body += item.data
            if item.last:
                found.append(body)
                body = b""
        else:
            found.append(item)
    return found


@settings(deadline=None)
@given(st.lists(requests, max_size=4), st.data())
def test_the_decoder_does_not_care_where_the_stream_is_cut(sent: list[Request], data: st.DataObject) -> None:
    stream, decoder = stream_of(sent), wire.RequestDecoder()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    found: list[Request | wire.SnapshotPiece] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += decoder.feed(stream[start:end])
    expected: list[Request | bytes] = []
    for request in sent:
        expected.append(request)
        if isinstance(request, InstallSnapshot):
            expected.append(bytes(request.size))
    assert joined(found) == expected
    assert not decoder.in_message


KINDS: dict[type[Reply], int] = {
    AppendEntriesReply: wire.APPEND_ENTRIES,
    RequestVoteReply: wire.REQUEST_VOTE,
    InstallSnapshotReply: wire.INSTALL_SNAPSHOT,
    TimeoutNowReply: wire.TIMEOUT_NOW,
    PreVoteReply: wire.PRE_VOTE,
}


@given(replies)
def test_answers_round_trip(reply: Reply) -> None:
    kind = KINDS[type(reply)]
    decoder = wire.AnswerDecoder()
    data = wire.encode_answer(reply)
    assert decoder.feed(data[:1], kind) is None
    assert decoder.feed(data[1:], kind) == (reply, "")


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 4))
def test_junk_gives_requests_or_a_wire_error(data: bytes, kind: int) -> None:
    for stream in (data, bytes((kind,)) + data):
        try:
            for item in wire.RequestDecoder().feed(stream):
                assert isinstance(item, (Request, wire.SnapshotPiece))
        except wire.WireError:
            continue


@settings(max_examples=300, deadline=None)
@given(requests, st.data())
def test_a_damaged_request_gives_requests_or_a_wire_error(request: Request, data: st.DataObject) -> None:
    stream = bytearray(stream_of([request]))
    stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    try:
        list(wire.RequestDecoder().feed(bytes(stream)))
    except wire.WireError:
        return


def test_a_request_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_MESSAGE_BYTES", 1 << 20)
    decoder = wire.RequestDecoder()
    endless = b"\x81\xa1x\xdd\x00\x00\x0f\xff" + b"\xda\xff\xff" + bytes(65535)
    list(decoder.feed(b"\x00" + endless))

    def flood() -> None:
        for _ in range(100):
            list(decoder.feed(b"\xda\xff\xff" + bytes(65535)))

    with pytest.raises(wire.WireError, match="larger than"):
        flood()


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(wire.WireError, match="unknown rpc type 5"):
        decode_all(b"\x05\x80")
