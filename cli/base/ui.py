"""Lines on standard output and standard error. Text that came in as bytes leaves as the same bytes."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO


def output(line: str | bytes, flush: bool = False) -> None:
    _write(sys.stdout.buffer, line)
    if flush:
        sys.stdout.buffer.flush()


def error(line: str | bytes) -> None:
    # What was printed before must not appear after the error when both go to one terminal or file.
    sys.stdout.buffer.flush()
    _write(sys.stderr.buffer, line)
    sys.stderr.buffer.flush()


def _write(stream: BinaryIO, line: str | bytes) -> None:
    stream.write(to_bytes(line) + b"\n")


def to_bytes(text: str | bytes) -> bytes:
    """UTF-8; argument bytes that were not UTF-8 (kept as surrogates by Python) come out unchanged."""
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
