"""msgpack-rpc: captured calls, any cut of the stream, bounds, and junk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.wire import rpc
from shared.wire.demux import ConnectionKind, classify

VECTORS = Path(__file__).parents[2] / "vectors" / "rpc"


def captured_calls() -> list[Any]:
    names = ["rpc_kv_session_txn", "rpc_status_operator", "rpc_catalog_health"]
    return [call for name in names for call in json.loads((VECTORS / f"{name}.json").read_text())["calls"]]


@pytest.mark.parametrize("call", captured_calls(), ids=lambda call: call["method"])
def test_captured_calls_decode_and_encode_to_the_same_bytes(call: Any) -> None:
    request = call["request"]
    wire = bytes.fromhex(request["header_hex"] + request["body_hex"])
    [decoded] = rpc.RequestDecoder().feed(wire)
    assert decoded.method == call["method"]
    assert rpc.encode_request(decoded.seq, decoded.method, decoded.body) == wire

    response = call["response"]
    wire = bytes.fromhex(response["header_hex"] + response["body_hex"])
    [answer] = rpc.ResponseDecoder().feed(wire)
    assert answer.error == response["header"]["Error"]
    if answer.error:
        assert rpc.encode_error(answer.seq, answer.method, answer.error) == wire
    else:
        assert rpc.encode_response(answer.seq, answer.method, answer.body) == wire


def test_a_plain_connection() -> None:
    captured = json.loads((VECTORS / "rpc_plain_connection.json").read_text())
    sent = bytes.fromhex(captured["client_hex"])
    assert classify(sent[0]) is ConnectionKind.RPC
    assert list(rpc.RequestDecoder().feed(sent[1:])) == [rpc.Request(1, "Status.Leader", {})]
    answer = rpc.encode_response(1, "Status.Leader", "127.0.0.1:22800")
    assert answer == bytes.fromhex(captured["server_hex"])


bodies = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
requests = st.builds(rpc.Request, st.integers(0, 2**64 - 1), st.text(max_size=20), st.dictionaries(st.text(), bodies))


@given(sent=st.lists(requests, max_size=4), data=st.data())
def test_the_decoder_does_not_care_where_the_stream_is_cut(sent: list[rpc.Request], data: st.DataObject) -> None:
    wire = b"".join(rpc.encode_request(call.seq, call.method, call.body) for call in sent)
    decoder, cut = rpc.RequestDecoder(), data.draw(st.integers(0, len(wire)))
    assert [*decoder.feed(wire[:cut]), *decoder.feed(wire[cut:])] == sent
    assert decoder.held_bytes == 0


@given(st.binary(max_size=40))
def test_bytes_that_are_no_text_survive(value: bytes) -> None:
    [call] = rpc.RequestDecoder().feed(rpc.encode_request(1, "KVS.Apply", {"Value": value}))
    assert rpc.to_bytes(call.body["Value"]) == value
    assert rpc.pack(call.body["Value"]) == rpc.pack(value)


@given(st.lists(st.binary(max_size=30), max_size=5))
def test_junk_gives_calls_or_a_wire_error(pieces: list[bytes]) -> None:
    decoder = rpc.RequestDecoder()
    try:
        for piece in pieces:
            list(decoder.feed(piece))
    except rpc.WireError:
        return


def test_an_undecodable_body_names_the_call_it_belongs_to() -> None:
    header = rpc.pack({"Seq": 3, "ServiceMethod": "KVS.Get"})
    with pytest.raises(rpc.WireError) as caught:
        list(rpc.RequestDecoder().feed(header + b"\xc1"))
    assert (caught.value.method, caught.value.seq) == ("KVS.Get", 3)


def test_headers_may_be_arrays_and_text_may_be_bin() -> None:
    wire = rpc.pack(["Status.Ping", 9]) + b"\x81\xc4\x01a\xd9\x01b"
    [call] = rpc.RequestDecoder().feed(wire)
    assert (call.seq, call.method) == (9, "Status.Ping")
    assert list(call.body.values()) == ["b"]


def test_a_believed_length_is_bounded() -> None:
    with pytest.raises(rpc.WireError):
        list(rpc.RequestDecoder().feed(b"\xdd\xff\xff\xff\xff"))


def test_an_incomplete_message_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc, "MESSAGE_BYTES_MAX", 10_000)
    decoder = rpc.RequestDecoder()
    with pytest.raises(rpc.WireError):
        list(decoder.feed(b"\xdb\x00\xff\xff\xff" + bytes(20_000)))


def test_a_large_message_does_not_keep_its_buffer() -> None:
    decoder = rpc.RequestDecoder()
    big = rpc.encode_request(1, "KVS.Apply", {"Value": bytes(200_000)})
    assert [call.seq for call in decoder.feed(big)] == [1]
    small = rpc.encode_request(2, "KVS.Apply", {"Value": b"x"})
    assert [call.seq for call in decoder.feed(small + small)] == [2, 2]
    assert decoder.held_bytes == 0


def test_first_bytes() -> None:
    known = {byte: classify(byte) for byte in range(256) if classify(byte) is not None}
    assert sorted(known) == [0, 1, 3, 4, 5, 7, 0x70]
