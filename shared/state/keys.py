"""Keys of the state store's tables: ordered as Consul orders its tables, and never longer than LMDB allows.

Names (nodes, services, checks) are matched in any case, so their keys are lower-case. A key of several parts
ends every part with a zero byte, which keeps the parts' own order. LMDB takes at most 511 bytes: a longer
part or KV key keeps its beginning and gets a hash for the rest; such names sort by their beginnings."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import Final

MAX_PART_BYTES = 120
_CACHED_PARTS: Final = 4096
"""The same names come again and again: one registration needs a dozen keys made of five names."""
MAX_KV_BYTES = 494
"""A KV key up to this size is its own table key; table keys beyond it are cut keys with a 16 byte hash."""


def text_bytes(text: str) -> bytes:
    """The bytes a text stands for; surrogateescape keeps those that are no UTF-8."""
    return text.encode("utf-8", "surrogateescape")


def bytes_text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


@lru_cache(_CACHED_PARTS)
def exact(part: str) -> bytes:
    """One key part, case kept. Ends with a zero byte."""
    raw = part.encode("utf-8", "surrogateescape")
    if len(raw) > MAX_PART_BYTES or b"\0" in raw or b"\1" in raw:
        raw = _escaped(raw)
    return raw + b"\0"


@lru_cache(_CACHED_PARTS)
def fold(part: str) -> bytes:
    """One key part that matches in any case. Ends with a zero byte."""
    return exact(part.lower())


def pair(first: str, second: str) -> bytes:
    """Key of a service or check: (node, id), both in any case."""
    return fold(first) + fold(second)


def _escaped(raw: bytes) -> bytes:
    """Zero and one bytes would break the order of parts: they become two bytes in the same order."""
    raw = raw.replace(b"\1", b"\1\2").replace(b"\0", b"\1\1")
    if len(raw) > MAX_PART_BYTES:
        raw = raw[: MAX_PART_BYTES - 34] + b"\1\3" + blake2b(raw, digest_size=16).hexdigest().encode()
    return raw


def kv_key(key: bytes) -> bytes:
    """Table key of a KV key."""
    if len(key) <= MAX_KV_BYTES:
        return key
    return key[:MAX_KV_BYTES] + blake2b(key, digest_size=16).digest()
