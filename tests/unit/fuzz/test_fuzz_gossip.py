"""Gossip: captured bytes of real agents after some damage give messages or an error, whatever layer was hit.

Layers that a checksum or a seal would protect are damaged below it, and closed again."""

from __future__ import annotations

import contextlib
import json
import random
import struct
import zlib
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gossip.codec import lzw
from services.gossip.codec.errors import PacketError, StreamError
from services.gossip.codec.keyring import Keyring
from services.gossip.codec.messages import COMPOUND, COMPRESS, COMPRESSED, HAS_CRC, USER, Ack, Alive, encode_message
from services.gossip.codec.packet import compress_message, decode_packet, split_compound
from services.gossip.codec.serf_messages import (
    QueryMessage,
    QueryResponseMessage,
    decode_conflict_response,
    decode_coordinate,
    decode_filter,
    decode_key_request,
    decode_key_response,
    decode_serf,
    decode_state,
    decode_tags,
    encode_coordinate,
    encode_key_request,
    encode_node_filter,
    encode_serf,
    encode_state,
    encode_tag_filter,
    encode_tags,
)
from services.gossip.codec.stream import PushPull, StreamDecoder, StreamMessage, encode_stream
from services.gossip.consul.merge_rules import LanRules
from services.gossip.serf import Serf, SerfSettings, Status
from services.gossip.serf.snapshot import replay
from services.gossip.swim import MergeError, SwimSettings
from services.gossip.swim.address import Address
from tests.unit.fuzz.fuzzing import cut_up, damaged, fuzz

VECTORS = Path(__file__).parents[2] / "vectors" / "gossip"
PACKETS = ("consul_plain_udp", "consul_encrypted_udp", "serf_udp")
STREAMS = ("consul_plain_tcp", "consul_encrypted_tcp", "serf_tcp", "consul_stream_errors")
KEY = Keyring([bytes(range(16)), bytes(range(32))])


def vectors(*names: str) -> list[dict[str, Any]]:
    found = []
    for name in names:
        found += json.loads((VECTORS / f"{name}.json").read_text())["vectors"]
    return found


def opened(vector: dict[str, Any], associated: int = 0) -> bytes:
    """The bytes of a vector without encryption. associated: size of the header of a sealed stream."""
    data = bytes.fromhex(vector["hex"])
    encryption = vector["decoded"].get("encryption")
    if not encryption:
        return data
    return Keyring([bytes.fromhex(encryption["key"])]).decrypt(data[associated:], data[:associated] or None)


class Layers:
    """What captured traffic consists of: kind of encoding -> samples of it."""

    def __init__(self) -> None:
        self.of: dict[str, list[bytes]] = defaultdict(list)
        for vector in vectors(*PACKETS):
            self._peel(opened(vector))
        for vector in vectors(*STREAMS):
            data = opened(vector, associated=5)
            self.of["stream"].append(data)
            message = StreamDecoder().feed(data)
            if isinstance(message, PushPull):
                self.of["stream"].append(encode_stream(message, compress_up_to=0))
                self.of["state"].append(message.user_state)
                self.of["tags"] += [record.meta for record in message.nodes]
        self.of["filter"] += [encode_node_filter(("a", "b")), encode_tag_filter("role", "^web$")]

    def _peel(self, data: bytes) -> None:
        """Take all layers of a datagram apart."""
        if data[0] == HAS_CRC:
            return self._peel(data[5:])
        self.of["packet"].append(data)
        if data[0] == COMPRESS:
            packed = COMPRESSED.decode(data[1:]).buf
            self.of["lzw"].append(packed)
            return self._peel(lzw.decompress(packed, 1 << 20))
        if data[0] == COMPOUND:
            for part in split_compound(memoryview(data)[1:])[0]:
                self._peel(bytes(part))
            return None
        if data[0] == USER:
            self._peel_serf(data[1:])
        for message in decode_packet(data).messages:
            if isinstance(message, Alive):
                self.of["tags"].append(message.meta)
            elif isinstance(message, Ack) and message.payload:
                self.of["coordinate"].append(message.payload)
        return None

    def _peel_serf(self, payload: bytes) -> None:
        self.of["serf"].append(payload)
        message = decode_serf(payload)
        if isinstance(message, QueryMessage):
            self.of["filter"] += message.filters or ()
        if isinstance(message, QueryMessage | QueryResponseMessage) and message.payload:
            self.of["answer"].append(message.payload)


LAYERS = Layers().of
DECODERS: dict[str, tuple[Callable[[bytes], Any], ...]] = {
    "serf": (decode_serf,),
    "state": (decode_state,),
    "tags": (decode_tags,),
    "filter": (decode_filter,),
    "coordinate": (decode_coordinate,),
    "answer": (decode_key_request, decode_key_response, decode_conflict_response),
}
AGAIN: dict[str, Callable[[Any], bytes]] = {
    "serf": encode_serf,
    "state": encode_state,
    "tags": encode_tags,
    "coordinate": encode_coordinate,
}


def test_every_layer_has_samples() -> None:
    assert {*DECODERS, "packet", "stream", "lzw"} <= set(LAYERS)
    assert min(map(len, LAYERS.values())) >= 2


@given(data=damaged(LAYERS["packet"]), layers=st.lists(st.sampled_from(["compress", "crc", "seal"]), unique=True))
@fuzz(300)
def test_datagrams(data: bytes, layers: list[str]) -> None:
    keyring = None
    for layer in layers:
        if layer == "compress" and data:
            data = compress_message(data)
        elif layer == "crc":
            data = struct.pack(">BI", HAS_CRC, zlib.crc32(data)) + data
        elif layer == "seal":
            keyring, data = KEY, KEY.encrypt(data)
    try:
        packet = decode_packet(data, keyring)
    except PacketError:
        return
    for message in packet.messages:
        assert decode_packet(encode_message(message)).messages == [message]


@given(data=damaged([KEY.encrypt(sample) for sample in LAYERS["packet"]]), verify=st.booleans())
@fuzz(100)
def test_sealed_datagrams(data: bytes, verify: bool) -> None:
    """A hit on the seal is refused; without verification what is left may still be read as plain text."""
    with contextlib.suppress(PacketError):
        plain = KEY.decrypt(data)
        assert plain in LAYERS["packet"]
        return
    with contextlib.suppress(PacketError):
        decode_packet(data, KEY, verify_incoming=verify)
        assert not verify


def read(pieces: list[bytes], keyring: Keyring | None) -> StreamMessage | str | None:
    """The message, "error", or None if more is needed."""
    decoder = StreamDecoder(keyring)
    try:
        for piece in pieces:
            message = decoder.feed(piece)
            if message is not None:
                return message
    except StreamError:
        return "error"
    return None


@given(data=damaged(LAYERS["stream"]), cut=st.data(), sealed=st.booleans())
@fuzz(200)
def test_streams(data: bytes, cut: st.DataObject, sealed: bool) -> None:
    """However it is cut, the outcome is the same."""
    if sealed:
        header = b"\x0a" + struct.pack(">I", len(data) + 29)
        data = header + KEY.encrypt(data, header)
    keyring = KEY if sealed else None
    whole = read([data], keyring)
    assert read(cut.draw(cut_up(data)), keyring) == whole
    if isinstance(whole, PushPull):
        assert read([encode_stream(whole)], None) == whole


@given(data=damaged([encode_stream(StreamDecoder().feed(one) or PushPull(False, (), b""), KEY) for one in
                     LAYERS["stream"]]))  # fmt: skip
@fuzz(60)
def test_sealed_streams(data: bytes) -> None:
    """Whoever has no key can change nothing but how much there seems to be."""
    found = read([data], KEY)
    if found is not None and found != "error":
        assert found in [StreamDecoder().feed(one) for one in LAYERS["stream"]]


@pytest.mark.parametrize("kind", DECODERS)
def test_what_is_inside(kind: str) -> None:
    @given(data=damaged(LAYERS[kind]))
    @fuzz(150)
    def attempt(data: bytes) -> None:
        for decode in DECODERS[kind]:
            try:
                found = decode(data)
            except PacketError:
                continue
            if kind in AGAIN and not (kind == "tags" and data[:1] != b"\xff"):
                assert decode(AGAIN[kind](found)) == found or "nan" in repr(found)

    attempt()


@given(data=damaged(LAYERS["lzw"]), limit=st.sampled_from([0, 1, 100, 100_000]))
@fuzz(150)
def test_compressed_data(data: bytes, limit: int) -> None:
    try:
        plain = lzw.decompress(data, limit)
    except PacketError:
        return
    assert len(plain) <= limit
    assert lzw.decompress(lzw.compress(plain), limit) == plain


FILES = json.loads((VECTORS / "files.json").read_text())


@given(data=damaged([text.encode() for name, text in FILES.items() if "snapshot" in name]), rejoin=st.booleans())
@fuzz(100)
def test_snapshot_files(data: bytes, rejoin: bool) -> None:
    found = replay(data.decode("utf-8", "surrogateescape").splitlines(keepends=True), rejoin_after_leave=rejoin)
    assert 0 <= found.clock < 10**20
    assert all("\n" not in name for name in found.alive)


ME = Address(bytes((127, 0, 0, 1)), 8301)
PEER = Address(bytes((127, 0, 0, 9)), 8301)


@given(
    heard=st.lists(damaged(LAYERS["packet"]), max_size=12),
    pulled=st.lists(damaged(LAYERS["stream"]), max_size=3),
    seed=st.integers(0, 9),
)
@fuzz(100)
def test_a_pool_lives_on_whatever_it_hears(heard: list[bytes], pulled: list[bytes], seed: int) -> None:
    rng = random.Random(seed)
    ring = Keyring([encode_key_request(b"k" * 16)[:16]])
    settings = SerfSettings(SwimSettings("me", ME, max_nodes=30), {"role": "node", "dc": "dc1", "id": "mine"})
    serf = Serf(settings, rng, LanRules("dc1", "mine", "me", ""), keyring=ring)
    now = 10.0
    serf.start(now)
    for data in rng.sample(heard, len(heard)):
        with contextlib.suppress(PacketError):
            serf.receive(decode_packet(data).messages, PEER, now)
        now += rng.choice((0.01, 0.5, 3.0))
        if serf.deadline <= now:
            serf.tick(now)
    for data in pulled:
        message = read([data], None)
        if isinstance(message, PushPull):
            with contextlib.suppress(MergeError):
                serf.merge(message, now)
    me = serf.members.get("me")
    assert me is not None
    assert (me.status, me.address) == (Status.ALIVE, ME)
    assert len(serf.swim.nodes) <= 30
    state = serf.push_pull(True)
    assert StreamDecoder().feed(encode_stream(state)) == state
    assert decode_state(state.user_state).status_ltimes.keys() == {member.name for member in serf.members}
