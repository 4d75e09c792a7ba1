"""Archives and gzip: what was written is read, in pieces of any size, and damage is named where it is."""

from __future__ import annotations

import gzip
import io
import random
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.gunzip import Gunzip, GzipError
from shared.snapshot_archive import ArchiveError, read, write

STATE = random.Random(1).randbytes(700_000)
META = {"Version": 1, "ID": "2-7-1", "Index": 7, "Term": 2, "Size": len(STATE)}


def archive(state: bytes = STATE, **meta: object) -> bytes:
    out = io.BytesIO()
    write(out, {**META, **meta}, io.BytesIO(state), 1_600_000_000)
    return out.getvalue()


def test_what_was_written_is_read() -> None:
    pieces: list[bytes] = []
    assert read(io.BytesIO(archive()), pieces.append) == META
    assert b"".join(pieces) == STATE
    assert max(map(len, pieces)) <= 256 * 1024


@pytest.mark.parametrize("size", [len(STATE) - 1, len(STATE) + 1])
def test_a_state_of_another_length_is_no_archive(size: int) -> None:
    with pytest.raises(ValueError, match="state is"):
        archive(Size=size)


WHOLE = archive(b"x" * 3000, Size=3000)


@given(st.integers(0, len(WHOLE) - 1))
def test_an_archive_that_was_cut_anywhere_is_refused(at: int) -> None:
    with pytest.raises(ArchiveError, match="EOF"):
        read(io.BytesIO(WHOLE[:at]))


@given(st.integers(10, len(WHOLE) - 1), st.integers(1, 255))
def test_a_damaged_byte_is_noticed_or_changes_nothing(at: int, change: int) -> None:
    damaged = bytearray(WHOLE)
    damaged[at] ^= change
    pieces: list[bytes] = []
    try:
        found = read(io.BytesIO(bytes(damaged)), pieces.append)
    except ArchiveError:
        return
    # Packed data can say the same in several ways: a run of x goes on two before as it does one before.
    assert found == {**META, "Size": 3000}
    assert b"".join(pieces) == b"x" * 3000


@given(st.lists(st.binary(max_size=3000), min_size=1, max_size=3), st.integers(1, 1000))
def test_gzip_is_undone_whatever_the_size_of_the_reads(parts: list[bytes], size: int) -> None:
    plain = Gunzip(io.BytesIO(b"".join(map(gzip.compress, parts))))
    found = b""
    while data := plain.read(size):
        assert len(data) <= size
        found += data
    assert found == b"".join(parts)


def test_all_there_is_can_be_read_before_a_bad_end_is_noticed() -> None:
    packed = bytearray(gzip.compress(b"hello"))
    packed[-5] ^= 1
    plain = Gunzip(io.BytesIO(bytes(packed)))
    assert plain.read(5) == b"hello"
    with pytest.raises(GzipError, match="gzip: invalid checksum"):
        plain.read(1)


def test_names_and_comments_in_the_header_are_skipped() -> None:
    body = gzip.compress(b"hello")[10:]
    header = b"\x1f\x8b\x08" + bytes([4 | 8 | 16 | 2]) + bytes(6)
    plain = Gunzip(io.BytesIO(header + b"\x02\x00ab" + b"name\0" + b"comment\0" + b"cc" + body))
    assert plain.read(100) == b"hello"


@pytest.mark.parametrize(
    ("data", "text"), [(b"", "EOF"), (b"\x1f\x8b", "unexpected EOF"), (b"0123456789", "gzip: invalid header")]
)
def test_what_is_no_gzip_is_told_at_once(data: bytes, text: str) -> None:
    with pytest.raises(GzipError) as caught:
        Gunzip(io.BytesIO(data))
    assert str(caught.value) == text


def test_sums_without_end_are_refused() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", format=tarfile.GNU_FORMAT) as tar:
        for _ in range(3):
            member = tarfile.TarInfo("SHA256SUMS")
            member.size = 1 << 19
            tar.addfile(member, io.BytesIO(bytes(member.size)))
    with pytest.raises(ArchiveError, match="SHA256SUMS is too large"):
        read(io.BytesIO(out.getvalue()))


@pytest.mark.parametrize("size", [65_535, 65_536])
def test_a_name_in_the_header_is_not_without_end(size: int) -> None:
    packed = gzip.compress(b"data")
    named = packed[:3] + b"\x08" + packed[4:10] + b"n" * size + b"\0" + packed[10:]
    if size < 65_536:
        assert Gunzip(io.BytesIO(named)).read(10) == b"data"
    else:
        with pytest.raises(GzipError, match="invalid header"):
            Gunzip(io.BytesIO(named))
