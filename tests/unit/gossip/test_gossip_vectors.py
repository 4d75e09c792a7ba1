"""Every captured packet and stream of real agents decodes, and encodes again to the same bytes."""

import hashlib
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest

from services.gossip.codec import limits, lzw
from services.gossip.codec.errors import StreamError
from services.gossip.codec.keyring import OVERHEAD, Keyring
from services.gossip.codec.messages import (
    COMPOUND,
    COMPRESS,
    COMPRESSED,
    HAS_CRC,
    USER,
    Compressed,
    User,
    decode_message,
    encode_message,
)
from services.gossip.codec.packet import decode_packet, make_compound, split_compound
from services.gossip.codec.serf_messages import (
    KeyResponse,
    QueryMessage,
    QueryResponseMessage,
    decode_conflict_response,
    decode_filter,
    decode_key_request,
    decode_key_response,
    decode_serf,
    decode_state,
    decode_tags,
    encode_conflict_response,
    encode_key_request,
    encode_key_response,
    encode_node_filter,
    encode_serf,
    encode_state,
    encode_tag_filter,
    encode_tags,
)
from services.gossip.codec.stream import Err, PushPull, StreamDecoder, encode_stream

VECTORS = Path(__file__).parents[2] / "vectors" / "gossip"


def load(*names: str) -> list[Any]:
    found = []
    for name in names:
        document = json.loads((VECTORS / f"{name}.json").read_text())
        for vector in document["vectors"]:
            vector["leading_clear"] = document["lzw_leading_clear_code"]
            found.append(pytest.param(vector, id=f"{name}-{vector['id']}"))
    return found


def key_of(vector: dict[str, Any]) -> Keyring | None:
    encryption = vector["decoded"].get("encryption")
    return Keyring([bytes.fromhex(encryption["key"])]) if encryption else None


def with_leading_clear(stream: bytes) -> bytes:
    """Newer Go starts with a clear code of 9 bits: the same codes, moved by these."""
    codes = int.from_bytes(stream, "little")
    # The padding after the end code is zero bits, so the moved stream may be one byte shorter than the sum.
    moved = codes << 9 | 256
    return moved.to_bytes((moved.bit_length() + 7) // 8, "little")


def rebuild(data: bytes, *, leading_clear: bool) -> bytes:
    """Decode one layer after the other and build it again from the decoded form."""
    kind = data[0]
    if kind == HAS_CRC:
        inner = rebuild(data[5:], leading_clear=leading_clear)
        return struct.pack(">BI", HAS_CRC, zlib.crc32(inner)) + inner
    if kind == COMPRESS:
        buf = COMPRESSED.decode(data[1:]).buf
        inner = rebuild(lzw.decompress(buf, limits.PACKET_INFLATED), leading_clear=leading_clear)
        packed = lzw.compress(inner)
        return bytes([COMPRESS]) + COMPRESSED.encode(
            Compressed(0, with_leading_clear(packed) if leading_clear else packed)
        )
    if kind == COMPOUND:
        parts, cut = split_compound(memoryview(data)[1:])
        assert cut == 0
        return make_compound([rebuild(bytes(part), leading_clear=leading_clear) for part in parts])
    message = decode_message(data)
    if kind == USER:
        assert isinstance(message, User)
        message = User(encode_serf(decode_serf(message.payload)))
    return encode_message(message)


@pytest.mark.parametrize("vector", load("consul_plain_udp", "consul_encrypted_udp", "serf_udp"))
def test_a_captured_packet_rebuilds_to_the_same_bytes(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["hex"])
    keyring = key_of(vector)
    plain = keyring.decrypt(data) if keyring else data
    again = rebuild(plain, leading_clear=vector["leading_clear"])
    assert again == plain
    if keyring:
        assert keyring.encrypt(again, nonce=data[1:13]) == data
    packet = decode_packet(data, keyring)
    assert packet.messages
    assert packet.problems == []


@pytest.mark.parametrize("vector", load("consul_plain_tcp", "consul_encrypted_tcp", "serf_tcp", "consul_stream_errors"))
def test_a_captured_stream_rebuilds_to_the_same_bytes(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["hex"])
    keyring = key_of(vector)
    message = StreamDecoder(keyring).feed(data)
    assert message is not None
    if isinstance(message, PushPull):
        state = decode_state(message.user_state)
        assert len(state.events or ()) in (0, 512)
        message = PushPull(message.join, message.nodes, encode_state(state))
    if "error" in vector["shows"][0]:
        assert isinstance(message, Err)
    again = encode_stream(message)
    if vector["leading_clear"]:
        buf = COMPRESSED.decode(again[1:]).buf
        again = again[:1] + COMPRESSED.encode(Compressed(0, with_leading_clear(buf)))
    if keyring:
        header = data[:5]
        assert struct.unpack(">I", header[1:])[0] == len(again) + OVERHEAD
        again = header + keyring.encrypt(again, header, nonce=data[6:18])
    assert again == data


@pytest.mark.parametrize("vector", load("consul_encrypted_tcp", "consul_plain_tcp"))
def test_a_stream_does_not_care_where_it_is_cut(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["hex"])
    keyring = key_of(vector)
    decoder = StreamDecoder(keyring)
    answers = [decoder.feed(bytes([byte])) for byte in data[:-1]]
    assert not any(answers)
    assert decoder.feed(data[-1:]) == StreamDecoder(keyring).feed(data)


def user_messages() -> list[tuple[Any, dict[str, Any]]]:
    """All Serf messages in the vectors with what the capture tells about their payload."""
    found = []

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if "serf_type" in node and isinstance(node.get("body"), dict):
                found.append(node)
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    for name in ("consul_encrypted_udp", "serf_udp"):
        for vector in json.loads((VECTORS / f"{name}.json").read_text())["vectors"]:
            walk(vector["decoded"])
    return [(node["serf_type"], node) for node in found]


def test_key_and_conflict_payloads_and_filters_rebuild_to_the_same_bytes() -> None:
    seen = set()
    for _, node in user_messages():
        inner = node.get("payload_decoded")
        payload = node["body"].get("Payload")
        if inner and isinstance(payload, dict) and "serf_type" in inner:
            raw = bytes.fromhex(payload["raw"])
            seen.add(inner["serf_type"])
            if inner["serf_type"] == 6:
                assert encode_conflict_response(decode_conflict_response(raw)) == raw
            elif inner["serf_type"] == 7:
                assert encode_key_request(decode_key_request(raw)) == raw
            elif inner["serf_type"] == 8:
                response = decode_key_response(raw)
                assert isinstance(response, KeyResponse)
                assert encode_key_response(response) == raw
        for item in node["body"].get("Filters") or []:
            raw = bytes.fromhex(item["raw"])
            decoded = decode_filter(raw)
            if isinstance(decoded, tuple):
                assert encode_node_filter(decoded) == raw
                seen.add("nodes")
            else:
                assert encode_tag_filter(decoded.tag, decoded.expr) == raw
                seen.add("tag")
    assert seen == {6, 7, 8, "nodes", "tag"}


def test_tags_of_real_agents_keep_their_bytes() -> None:
    document = json.loads((VECTORS / "tags.json").read_text())
    for entry in document["with_meta"].values():
        meta = bytes.fromhex(entry["meta_hex"])
        tags = decode_tags(meta)
        assert tags == entry["tags"]
        assert encode_tags(tags) == meta


def test_small_lzw_vectors() -> None:
    for entry in json.loads((VECTORS / "lzw.json").read_text())["small"]:
        plain = bytes.fromhex(entry["plain_hex"]) if "plain_hex" in entry else entry["plain_ascii"].encode()
        assert lzw.compress(plain).hex() == entry["no_leading_clear"]
        newer = int.from_bytes(bytes.fromhex(entry["leading_clear"]), "little")
        assert int.from_bytes(with_leading_clear(lzw.compress(plain)), "little") == newer
        for name in ("no_leading_clear", "leading_clear"):
            assert lzw.decompress(bytes.fromhex(entry[name]), 1 << 16) == plain


def test_a_big_lzw_stream_with_all_widths_and_a_clear_code() -> None:
    big = json.loads((VECTORS / "lzw.json").read_text())["big"]
    packed = bytes.fromhex(big["buf_hex"])
    plain = lzw.decompress(packed, 1 << 20)
    assert len(plain) == big["plain_len"]
    assert hashlib.sha256(plain).hexdigest() == big["plain_sha256"]
    assert lzw.compress(plain) == packed


def test_queries_and_answers_are_told_apart() -> None:
    kinds = {
        type(decode_serf(encode_serf(message)))
        for message in (
            QueryMessage(1, 2, b"\x7f\0\0\1", 8301, "a", None, 1, 0, 5, "_serf_ping", None),
            QueryResponseMessage(1, 2, "a", 1, None),
        )
    }
    assert kinds == {QueryMessage, QueryResponseMessage}


def test_an_encrypted_stream_needs_its_key() -> None:
    data = encode_stream(Err("x"), Keyring([b"k" * 16]))
    with pytest.raises(StreamError, match="Remote state is encrypted and encryption is not configured"):
        StreamDecoder().feed(data)
    with pytest.raises(StreamError, match="No installed keys could decrypt the message"):
        StreamDecoder(Keyring([b"j" * 16])).feed(data)
    with pytest.raises(StreamError, match="Encryption is configured but remote state is not encrypted"):
        StreamDecoder(Keyring([b"j" * 16])).feed(encode_stream(Err("x")))
    assert StreamDecoder(Keyring([b"j" * 16]), verify_incoming=False).feed(encode_stream(Err("x"))) == Err("x")
