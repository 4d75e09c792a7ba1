"""CRC-64/XZ (ECMA-182 polynomial, reflected): the checksum of Consul's snapshots.

The interpreter has none, and a loop in Python reaches 20 MB/s: too slow for a snapshot of some hundred megabytes."""

from __future__ import annotations

from fastcrc.crc64 import xz


def crc64(data: bytes, value: int = 0) -> int:
    """Checksum of `data` after data whose checksum is `value`; crc64(b"123456789") is 0x995dc9bbdf1939fa."""
    return xz(data, value) if value else xz(data)
