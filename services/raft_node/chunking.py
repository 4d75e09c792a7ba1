"""Chunking: a KV command above 512 KiB goes into the log as several entries (hashicorp/go-raftchunking).

Each carries in its extensions a protobuf message: 1 random number of the operation, 2 position, 3 count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from services.raft_node.core.types import COMMAND

KVS: Final = 2
CHUNK_BYTES: Final = 524288


def entries_of(command: bytes, random_u64: Callable[[], int]) -> list[tuple[int, bytes, bytes]]:
    """The (type, data, extensions) that `command` becomes in the log: one, or several for a large KV command."""
    if len(command) <= CHUNK_BYTES or command[0] != KVS:
        return [(COMMAND, command, b"")]
    pieces = [command[start : start + CHUNK_BYTES] for start in range(0, len(command), CHUNK_BYTES)]
    operation = random_u64()
    return [(COMMAND, piece, _chunk_info(operation, position, len(pieces))) for position, piece in enumerate(pieces)]


def _chunk_info(operation: int, position: int, count: int) -> bytes:
    fields = ((1, operation), (2, position), (3, count))
    return b"".join(bytes((number << 3,)) + _varint(value) for number, value in fields if value)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
