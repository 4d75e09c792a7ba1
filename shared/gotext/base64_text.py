"""Padded standard base64 as Go's encoding/base64 reads it: what it refuses, and at which byte."""

from __future__ import annotations

import base64
import binascii

_ALPHABET = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
_LINE_BREAKS = b"\r\n"
_PADDING = ord("=")


def decode(text: bytes) -> bytes:
    """The bytes; line breaks are ignored. Raises ValueError saying at which byte the text is wrong."""
    clean = text.replace(b"\n", b"").replace(b"\r", b"")
    try:
        if len(clean) % 4 or clean.endswith(b"==="):  # Python lets surplus padding pass
            raise binascii.Error
        return base64.b64decode(clean, validate=True)
    except binascii.Error:
        raise ValueError(f"illegal base64 data at input byte {_corrupt_at(text)}") from None


def _corrupt_at(text: bytes) -> int:
    """Offset that Go reports: the first byte which cannot continue a valid encoding."""
    in_quantum = 0
    for offset, byte in enumerate(text):
        if byte in _LINE_BREAKS:
            continue
        if byte in _ALPHABET:
            in_quantum = (in_quantum + 1) % 4
        elif byte == _PADDING and in_quantum >= 2:
            return _corrupt_padding(text, offset, in_quantum)
        else:
            return offset
    # Ran out inside a quantum: the fault is said to lie where that quantum began.
    return len(text) - in_quantum


def _corrupt_padding(text: bytes, offset: int, in_quantum: int) -> int:
    rest = [at for at in range(offset + 1, len(text)) if text[at] not in _LINE_BREAKS]
    if in_quantum == 2:
        if not rest:
            return len(text)
        if text[rest[0]] != _PADDING:
            return rest[0] - 1
        rest = rest[1:]
    return rest[0] if rest else len(text)
