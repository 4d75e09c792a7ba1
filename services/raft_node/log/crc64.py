"""CRC-64/XZ (ECMA-182 polynomial, reflected): the checksum of Consul's snapshots.

The interpreter has no C version, so eight bytes are taken at a time from eight tables."""

from __future__ import annotations

import struct
from typing import Final

_POLYNOMIAL: Final = 0xC96C5795D7870F42
_MASK: Final = 0xFFFFFFFFFFFFFFFF
_CHUNK_BYTES: Final = 32 << 10
_tables: list[list[int]] = []


def _build() -> list[list[int]]:
    first = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ _POLYNOMIAL if value & 1 else value >> 1
        first.append(value)
    tables = [first]
    for _ in range(7):
        tables.append([first[value & 255] ^ value >> 8 for value in tables[-1]])
    return tables


def crc64(data: bytes | memoryview, value: int = 0) -> int:
    """Checksum of `data` after data whose checksum is `value`; crc64(b"123456789") is 0x995dc9bbdf1939fa."""
    if not _tables:
        _tables.extend(_build())  # 2048 numbers: made when the first snapshot needs them
    t0, t1, t2, t3, t4, t5, t6, t7 = _tables
    crc = value ^ _MASK
    whole = len(data) - len(data) % 8
    for start in range(0, whole, _CHUNK_BYTES):
        words = min(whole - start, _CHUNK_BYTES) // 8
        for word in struct.unpack_from(f"<{words}Q", data, start):
            crc ^= word
            crc = (
                t7[crc & 255]
                ^ t6[crc >> 8 & 255]
                ^ t5[crc >> 16 & 255]
                ^ t4[crc >> 24 & 255]
                ^ t3[crc >> 32 & 255]
                ^ t2[crc >> 40 & 255]
                ^ t1[crc >> 48 & 255]
                ^ t0[crc >> 56]
            )
    for byte in data[whole:]:
        crc = t0[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ _MASK
