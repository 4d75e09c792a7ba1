"""Keys that Go takes for the same when it fills a struct, whatever their case."""

from __future__ import annotations


def fold(key: str) -> str:
    """Small letters. The long s is an s, too (and the Kelvin sign a k, which `lower` knows)."""
    return key.lower() if key.isascii() else key.lower().replace("\u017f", "s")
