"""The snapshot file: whole ones are accepted, and no damage goes unnoticed."""

from __future__ import annotations

import gzip
import hashlib
import json
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.snapshot_archive import ArchiveError, verify
from tests.unit.cli.runner import run_cli

META = {"Version": 1, "ID": "2-7-1", "Index": 7, "Term": 2, "Size": 5}
STATE = b"state"


def archive(**changes: bytes | None) -> bytes:
    """A snapshot file; a member can be replaced, left out (None) or added by name."""
    members: dict[str, bytes | None] = {"meta.json": json.dumps(META).encode(), "state.bin": STATE}
    sums = "".join(f"{hashlib.sha256(data or b'').hexdigest()}  {name}\n" for name, data in members.items())
    members = {**members, "SHA256SUMS": sums.encode(), **{k.replace("__", "."): v for k, v in changes.items()}}
    packed = b""
    for name, data in members.items():
        if data is not None:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            packed += info.tobuf(tarfile.GNU_FORMAT) + data + bytes(-len(data) % tarfile.BLOCKSIZE)
    return gzip.compress(packed + bytes(2 * tarfile.BLOCKSIZE), mtime=0)


def test_a_whole_file_gives_its_metadata(tmp_path: Path) -> None:
    path = tmp_path / "a.snap"
    path.write_bytes(archive())
    assert verify(str(path)) == META
    outcome = run_cli("snapshot", "inspect", str(path))
    assert outcome.stdout == (b"ID           2-7-1\nSize         5\nIndex        7\nTerm         2\nVersion      1\n\n")


INTEGRITY = "failed to read snapshot file: failed checking integrity of snapshot:"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "failed to decompress snapshot: EOF"),
        (b"\x1f\x8b", "failed to decompress snapshot: unexpected EOF"),
        (b"not a snapshot", "failed to decompress snapshot: gzip: invalid header"),
        (archive(state__bin=b"other"), f'{INTEGRITY} hash check failed for "state.bin"'),
        (archive(SHA256SUMS=None), f'{INTEGRITY} file missing for "meta.json"'),
        (archive(SHA256SUMS=b"00  foo\n"), f'{INTEGRITY} list missing hash for "foo"'),
        (archive(extra=b""), 'failed to read snapshot file: unexpected file "extra" in snapshot'),
        (
            archive(meta__json=b"{"),
            "failed to read snapshot file: failed to decode snapshot metadata: unexpected end of JSON input",
        ),
    ],
)
def test_damage_is_named_as_consul_names_it(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "a.snap"
    path.write_bytes(data)
    with pytest.raises(ArchiveError) as caught:
        verify(str(path))
    assert str(caught.value) == message


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(cut=st.integers(0, len(archive()) - 1))
def test_a_file_that_is_cut_off_is_never_accepted(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "a.snap"
    path.write_bytes(archive()[:cut])
    with pytest.raises(ArchiveError):
        verify(str(path))
