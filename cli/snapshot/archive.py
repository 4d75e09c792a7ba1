"""Consul's snapshot file: a gzipped tar of meta.json, state.bin and SHA256SUMS. Read in one pass, any size."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import tarfile
import zlib

from cli.base import gojson
from shared.gotext.json_syntax import JsonSyntaxError
from shared.gotext.quoting import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO, Any

CHUNK = 256 * 1024
MEMBERS = ("meta.json", "state.bin")
SUMS = "SHA256SUMS"


class ArchiveError(Exception):
    """The file is damaged or no snapshot; the message is Consul's."""


def verify(path: str) -> dict[str, Any]:
    """The metadata of the snapshot at `path`, everything in it being checked against its hashes.

    Raises ArchiveError, and OSError if the file cannot be opened."""
    if os.path.isdir(path):
        raise ArchiveError(f"failed to decompress snapshot: read {path}: is a directory")
    with open(path, "rb") as file:
        _check_gzip_header(file)
        with gzip.GzipFile(fileobj=file) as plain:
            contents, sums = _read_members(plain)
            _check_sums(contents, sums)
            with _explained(""):
                _drain(plain)
    return contents["meta.json"].document


@contextlib.contextmanager
def _explained(prefix: str) -> Iterator[None]:
    """Errors of gzip and tar as ArchiveError, in the words of Go's packages."""
    try:
        yield
    except gzip.BadGzipFile as error:
        reason = "gzip: invalid checksum" if "CRC" in str(error) else "gzip: invalid header"
    except EOFError:
        reason = "unexpected EOF"
    except zlib.error:
        reason = "flate: corrupt input"
    except tarfile.TarError:
        reason = "archive/tar: invalid tar header"
    else:
        return
    raise ArchiveError(prefix + reason)


class _Member:
    """One file of the archive as it went by: its hash, and the document if it is the metadata."""

    def __init__(self) -> None:
        self.hash = hashlib.sha256()
        self.document: dict[str, Any] = {}


def _check_gzip_header(file: IO[bytes]) -> None:
    head = file.read(10)
    file.seek(0)
    if not head:
        raise ArchiveError("failed to decompress snapshot: EOF")
    if len(head) < 10:
        raise ArchiveError("failed to decompress snapshot: unexpected EOF")
    if head[:3] != b"\x1f\x8b\x08":
        raise ArchiveError("failed to decompress snapshot: gzip: invalid header")


def _read_members(plain: gzip.GzipFile) -> tuple[dict[str, _Member], bytes]:
    contents = {name: _Member() for name in MEMBERS}
    sums = b""
    prefix = "failed to read snapshot file:"
    with _explained(f"{prefix} failed reading snapshot: "), tarfile.open(fileobj=plain, mode="r|") as tar:
        for info in tar:
            stream = tar.extractfile(info)
            if info.name not in (*MEMBERS, SUMS) or stream is None:
                raise ArchiveError(f"{prefix} unexpected file {quote(info.name)} in snapshot")
            if info.name == "state.bin":
                with _explained(f"{prefix} failed to read or write snapshot data: "):
                    while chunk := stream.read(CHUNK):
                        contents[info.name].hash.update(chunk)
                continue
            data = stream.read()
            if info.name == SUMS:
                sums += data
                continue
            contents[info.name].hash.update(data)
            try:
                contents[info.name].document = gojson.loads(data)
            except JsonSyntaxError as error:
                raise ArchiveError(f"{prefix} failed to decode snapshot metadata: {error}") from None
    return contents, sums


def _drain(plain: gzip.GzipFile) -> None:
    """Reads to the end, which is where gzip's own checksum is compared. Padding of zeros is no content."""
    extra = 0
    while chunk := plain.read(CHUNK):
        extra += len(chunk.strip(b"\0"))
    if extra:
        raise ArchiveError(f"{extra} unread uncompressed bytes remain")


def _check_sums(contents: dict[str, _Member], sums: bytes) -> None:
    prefix = "failed to read snapshot file: failed checking integrity of snapshot:"
    seen = set()
    for line in sums.decode("utf-8", "replace").splitlines():
        digest, _, name = line.partition("  ")
        if not name:
            raise ArchiveError(f"{prefix} input does not match format")
        if name not in contents:
            raise ArchiveError(f"{prefix} list missing hash for {quote(name)}")
        if contents[name].hash.hexdigest() != digest.lower():
            raise ArchiveError(f"{prefix} hash check failed for {quote(name)}")
        seen.add(name)
    for name in MEMBERS:
        if name not in seen:
            raise ArchiveError(f"{prefix} file missing for {quote(name)}")
