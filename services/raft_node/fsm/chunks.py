"""Commands that arrive in several log entries (Consul cuts KV commands above 512 KiB).

Every piece carries, in the entry's extensions, a protobuf message: 1 op number, 2 sequence number, 3 number
of pieces. Pieces wait in the store, so that they survive a restart; the last one to arrive completes the
command, which is applied at that entry's index. A new term drops what was waiting: its sender is gone."""

from __future__ import annotations

from typing import Any, NamedTuple

from services.raft_node.fsm.families import CHUNK
from shared.state.snapshot import Snapshot
from shared.state.tables import pack_row, unpack_row
from shared.state.transaction import WriteTransaction
from shared.structs.errors import WireTypeError

MAX_PIECES = 1 << 16


class Piece(NamedTuple):
    """Position of a piece. `following` is what the joined command's own extensions are."""

    operation: int
    sequence: int
    of: int
    following: bytes


def parse(extensions: bytes) -> Piece:
    """Reads an entry's extensions. Raises WireTypeError."""
    numbers = {1: 0, 2: 0, 3: 0}
    following = b""
    at = 0
    while at < len(extensions):
        tag, at = _varint(extensions, at)
        field, kind = tag >> 3, tag & 7
        if kind == 0:
            value, at = _varint(extensions, at)
            if field in numbers:
                numbers[field] = value
        elif kind == 2:
            length, at = _varint(extensions, at)
            if at + length > len(extensions):
                raise WireTypeError("chunk information is cut off")
            if field == 4:
                following = extensions[at : at + length]
            at += length
        else:
            raise WireTypeError(f"chunk information has an unknown field kind {kind}")
    if not 0 <= numbers[2] < numbers[3] <= MAX_PIECES:
        raise WireTypeError(f"chunk {numbers[2]} of {numbers[3]} cannot be")
    return Piece(numbers[1], numbers[2], numbers[3], following)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise WireTypeError("chunk information is cut off")


def _prefix(operation: int) -> bytes:
    return bytes((CHUNK,)) + operation.to_bytes(8, "big")


def collect(tx: WriteTransaction, term: int, piece: Piece, data: bytes) -> bytes | None:
    """Stores a piece. Returns the whole command if it was the last one missing."""
    table = tx.tables.opaque
    for key, row in list(tx.scan(table, bytes((CHUNK,)))):
        if unpack_row(row)[1] != term:
            tx.delete(key, db=table)
    prefix = _prefix(piece.operation)
    insert(tx, piece.operation, piece.sequence, piece.of, term, data)
    waiting = list(tx.scan(table, prefix))
    if len(waiting) < piece.of:
        return None
    for key, _row in waiting:
        tx.delete(key, db=table)
    return b"".join(unpack_row(row)[2] for _key, row in waiting)


def insert(tx: WriteTransaction, operation: int, sequence: int, count: int, term: int, data: bytes) -> None:
    key = _prefix(operation) + sequence.to_bytes(4, "big")
    tx.put(key, pack_row((count, term, data)), db=tx.tables.opaque)


def dump(snap: Snapshot) -> dict[int, list[dict[str, Any] | None]]:
    """All waiting pieces as a snapshot records them: op number -> pieces in order, None where one is missing."""
    found: dict[int, list[dict[str, Any] | None]] = {}
    for key, row in snap.scan(snap.tables.opaque, bytes((CHUNK,))):
        operation, sequence = int.from_bytes(key[1:9], "big"), int.from_bytes(key[9:], "big")
        count, term, data = unpack_row(row)
        pieces = found.setdefault(operation, [None] * count)
        pieces[sequence] = {
            "Data": data,
            "NumChunks": count,
            "OpNum": operation,
            "SequenceNum": sequence,
            "Term": term,
        }
    return found
