"""Datagrams: messages in compounds, compressed, checksummed, encrypted, in that order from inside to outside."""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from services.gossip.codec import limits, lzw
from services.gossip.codec.errors import PacketError
from services.gossip.codec.keyring import Keyring
from services.gossip.codec.messages import (
    COMPOUND,
    COMPRESS,
    COMPRESSED,
    HAS_CRC,
    Compressed,
    Message,
    decode_message,
)


@dataclass(slots=True)
class Packet:
    """What a datagram held. `problems` names the parts that were dropped, one text each."""

    messages: list[Message] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def make_compound(parts: Sequence[bytes]) -> bytes:
    """Several messages as one. At most COMPOUND_PARTS_SENT parts, or Consul 1.8 loses them all."""
    if len(parts) > limits.COMPOUND_PARTS_SENT:
        raise ValueError(f"{len(parts)} parts do not fit into one compound")
    lengths = struct.pack(f">{len(parts)}H", *map(len, parts))
    return b"".join((bytes((COMPOUND, len(parts))), lengths, *parts))


def split_compound(data: memoryview) -> tuple[list[memoryview], int]:
    """The complete parts of a compound (its type byte removed) and how many were cut off. Raises PacketError."""
    if not data:
        raise PacketError("missing compound length byte")
    count, body = data[0], data[1:]
    if len(body) < 2 * count:
        raise PacketError("truncated len slice")
    lengths = struct.unpack_from(f">{count}H", body)
    parts, position = [], 2 * count
    for length in lengths:
        if position + length > len(body):
            break
        parts.append(body[position : position + length])
        position += length
    return parts, count - len(parts)


def compress_message(message: bytes) -> bytes:
    return bytes((COMPRESS,)) + COMPRESSED.encode(Compressed(0, lzw.compress(message)))


def inflate(compressed: Compressed, limit: int) -> bytes:
    """The message inside a compress message, at most `limit` bytes. Raises PacketError."""
    if compressed.algo != 0:
        raise PacketError(f"Cannot decompress unknown algorithm {compressed.algo}")
    plain = lzw.decompress(compressed.buf, limit)
    if not plain:
        raise PacketError("empty message inside a compressed one")
    return plain


def encode_packet(
    parts: Sequence[bytes], *, crc: bool = False, keyring: Keyring | None = None, compress: bool = True
) -> bytes:
    """One datagram with the encoded messages `parts`.

    crc: prefix a checksum; only for receivers whose memberlist protocol goes up to 5 or more.
    keyring: encrypt with its primary key; None sends plain.
    Compression is used only if it makes the packet shorter."""
    data = parts[0] if len(parts) == 1 else make_compound(parts)
    if compress:
        shorter = compress_message(data)
        if len(shorter) < len(data):
            data = shorter
    if crc:
        data = struct.pack(">BI", HAS_CRC, zlib.crc32(data)) + data
    return data if keyring is None else keyring.encrypt(data)


def decode_packet(data: bytes, keyring: Keyring | None = None, *, verify_incoming: bool = True) -> Packet:
    """All messages of one datagram; raises PacketError if an outer layer is bad, so that nothing can be read.

    verify_incoming: with a keyring, drop what cannot be decrypted; if False it is read as plain text."""
    if keyring is not None:
        try:
            data = keyring.decrypt(data)
        except PacketError as error:
            if verify_incoming:
                raise PacketError(f"Decrypt packet failed: {error}") from None
    if not data:
        raise PacketError("empty packet")
    body = memoryview(data)
    if body[0] == HAS_CRC and len(body) >= 5:
        (expected,) = struct.unpack_from(">I", body, 1)
        body = body[5:]
        actual = zlib.crc32(body)
        if actual != expected:
            raise PacketError(f"Got invalid checksum for UDP packet: {actual:x}, {expected:x}")
        if not body:
            raise PacketError("empty packet")
    unwrapper = _Unwrapper()
    unwrapper.unwrap(body, 0)
    if not unwrapper.packet.messages and unwrapper.packet.problems:
        raise PacketError(unwrapper.packet.problems[0])
    return unwrapper.packet


class _Unwrapper:
    """Follows compounds and compression down; one budget of bytes and parts for the whole datagram."""

    def __init__(self) -> None:
        self.packet = Packet()
        self._bytes_left = limits.PACKET_INFLATED
        self._parts_left = limits.PACKET_PARTS

    def unwrap(self, data: memoryview, depth: int) -> None:
        try:
            self._unwrap(data, depth)
        except PacketError as error:
            if len(self.packet.problems) < 4:  # enough to see what is going on
                self.packet.problems.append(str(error))

    def _unwrap(self, data: memoryview, depth: int) -> None:
        if not data:
            raise PacketError("empty message")
        if depth > limits.PACKET_DEPTH:
            raise PacketError(f"more than {limits.PACKET_DEPTH} layers of compound and compression")
        if data[0] == COMPOUND:
            try:
                parts, cut = split_compound(data[1:])
            except PacketError as error:
                raise PacketError(f"Failed to decode compound request: {error}") from None
            for part in parts:
                self._parts_left -= 1
                if self._parts_left < 0:
                    raise PacketError(f"more than {limits.PACKET_PARTS} messages in one packet")
                self.unwrap(part, depth + 1)
            if cut:
                raise PacketError(f"Compound request had {cut} truncated messages")
        elif data[0] == COMPRESS:
            try:
                plain = inflate(COMPRESSED.decode(data[1:]), self._bytes_left)
            except PacketError as error:
                raise PacketError(f"Failed to decompress payload: {error}") from None
            self._bytes_left -= len(plain)
            self.unwrap(memoryview(plain), depth + 1)
        else:
            self.packet.messages.append(decode_message(data))
