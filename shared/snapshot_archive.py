"""Consul's snapshot archive: a gzipped tar of meta.json, state.bin and SHA256SUMS. Written and read in one pass,
whatever its size, and checked against its own sums."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import tarfile

from shared.gotext import json_syntax
from shared.gotext.quoting import quote
from shared.gunzip import Gunzip, GzipError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import IO, Any, Protocol

    class Source(Protocol):
        """A binary file, as far as it is read."""

        def read(self, size: int = -1, /) -> bytes: ...


CHUNK = 256 * 1024
META, STATE, SUMS = "meta.json", "state.bin", "SHA256SUMS"
SMALL_BYTES_MAX = 1 << 20
"""Files of an archive that are kept in memory are not larger than this."""


class ArchiveError(Exception):
    """The file is damaged or no snapshot; the message is Consul's."""


def write(out: IO[bytes], metadata: dict[str, Any], state: Source, now_s: int) -> None:
    """Writes an archive of `state`, which is metadata["Size"] bytes long. Raises OSError; ValueError for a state of
    another length."""
    with gzip.GzipFile(filename="", mode="wb", fileobj=out, compresslevel=6, mtime=0) as packed:
        meta = json.dumps(metadata, separators=(",", ":")).encode() + b"\n"
        _add(packed, META, meta, now_s)
        packed.write(_header(STATE, metadata["Size"], now_s))
        hashed, left = hashlib.sha256(), metadata["Size"]
        while data := state.read(CHUNK):
            hashed.update(data)
            packed.write(data)
            left -= len(data)
        if left:
            raise ValueError(f"the state is {-left} bytes longer than {metadata['Size']}")
        packed.write(_padding(metadata["Size"]))
        sums = f"{hashlib.sha256(meta).hexdigest()}  {META}\n{hashed.hexdigest()}  {STATE}\n"
        _add(packed, SUMS, sums.encode(), now_s)
        # The end of a tar, and nothing more: Consul takes the usual filling up to a whole record for garbage.
        packed.write(bytes(2 * tarfile.BLOCKSIZE))


def _add(packed: gzip.GzipFile, name: str, data: bytes, now_s: int) -> None:
    packed.write(_header(name, len(data), now_s) + data + _padding(len(data)))


def _header(name: str, size: int, now_s: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o600, now_s
    return info.tobuf(tarfile.GNU_FORMAT)


def _padding(size: int) -> bytes:
    return bytes(-size % tarfile.BLOCKSIZE)


# -- reading -------------------------------------------------------------------------------------------------


def read(file: IO[bytes], take: Callable[[bytes], object] = len) -> dict[str, Any]:
    """The metadata of the archive in `file`, everything in it being checked; `take` gets the state piece by piece,
    before it is known to be whole. Raises ArchiveError; OSError if `file` cannot be read or `take` raises it."""
    with _explained("failed to decompress snapshot: "):
        plain = Gunzip(file)
    prefix = "failed to read snapshot file: "
    contents, sums = _read_members(plain, take, prefix)
    _check_sums(contents, sums)
    extra = 0
    with _explained(""):
        while chunk := plain.read(CHUNK):
            extra += len(chunk)
    if extra:
        raise ArchiveError(f"{extra} unread uncompressed bytes remain")
    return contents[META].document


def verify(path: str) -> dict[str, Any]:
    """The metadata of the snapshot at `path`. Raises ArchiveError, and OSError if the file cannot be opened."""
    if os.path.isdir(path):
        raise ArchiveError(f"failed to decompress snapshot: read {path}: is a directory")
    with open(path, "rb") as file:
        return read(file)


@contextlib.contextmanager
def _explained(prefix: str) -> Iterator[None]:
    """Damage as ArchiveError, in the words of Go's packages."""
    try:
        yield
    except GzipError as error:
        reason = str(error)
    except tarfile.HeaderError:
        reason = "archive/tar: invalid tar header"
    else:
        return
    raise ArchiveError(prefix + reason)


class _Member:
    """One file of the archive as it went by: its hash, and the document if it is the metadata."""

    def __init__(self) -> None:
        self.hash = hashlib.sha256()
        self.document: dict[str, Any] = {}


def _read_members(plain: Gunzip, take: Callable[[bytes], object], prefix: str) -> tuple[dict[str, _Member], bytes]:
    contents = {name: _Member() for name in (META, STATE)}
    sums = b""
    while True:
        with _explained(f"{prefix}failed reading snapshot: "):
            header = _next_header(plain)
        if header is None:
            return contents, sums
        if header.name not in (META, STATE, SUMS) or not header.isreg():
            raise ArchiveError(f"{prefix}unexpected file {quote(header.name)} in snapshot")
        if header.name == STATE:
            with _explained(f"{prefix}failed to read or write snapshot data: "):
                for chunk in _content(plain, header.size):
                    contents[STATE].hash.update(chunk)
                    take(chunk)
        else:
            if header.size > SMALL_BYTES_MAX:
                raise ArchiveError(f"{prefix}{header.name} is too large to be that of a snapshot")
            what = "hashes" if header.name == SUMS else "metadata"
            with _explained(f"{prefix}failed to read snapshot {what}: "):
                data = b"".join(_content(plain, header.size))
            if header.name == SUMS:
                sums += data
                if len(sums) > SMALL_BYTES_MAX:
                    raise ArchiveError(f"{prefix}{SUMS} is too large to be that of a snapshot")
            else:
                contents[META].hash.update(data)
                contents[META].document = _document(prefix, data)
        with _explained(f"{prefix}failed reading snapshot: "):
            _exactly(plain, -header.size % tarfile.BLOCKSIZE)


def _next_header(plain: Gunzip) -> tarfile.TarInfo | None:
    """None at the end. Raises GzipError, tarfile.HeaderError."""
    block = plain.read(tarfile.BLOCKSIZE)
    if not block:
        return None
    if len(block) < tarfile.BLOCKSIZE:
        raise GzipError("unexpected EOF")
    if not any(block):
        if any(plain.read(tarfile.BLOCKSIZE)):
            raise tarfile.HeaderError
        return None
    return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")


def _content(plain: Gunzip, size: int) -> Iterator[bytes]:
    while size:
        data = _exactly(plain, min(size, CHUNK))
        size -= len(data)
        yield data


def _exactly(plain: Gunzip, size: int) -> bytes:
    data = plain.read(size)
    if len(data) < size:
        raise GzipError("unexpected EOF")
    return data


def _document(prefix: str, data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        try:
            json_syntax.check(data)
            reason = "cannot be understood"
        except json_syntax.JsonSyntaxError as error:
            reason = str(error)
    else:
        if isinstance(document, dict):
            return document
        reason = f"json: cannot unmarshal {_json_kind(document)} into Go value of type raft.SnapshotMeta"
    raise ArchiveError(f"{prefix}failed to decode snapshot metadata: {reason}")


def _json_kind(value: Any) -> str:
    kinds = {bool: "bool", int: "number", float: "number", str: "string", list: "array"}
    return kinds.get(type(value), "null")


def _check_sums(contents: dict[str, _Member], sums: bytes) -> None:
    prefix = "failed to read snapshot file: failed checking integrity of snapshot:"
    seen = set()
    for line in sums.decode("utf-8", "replace").splitlines():
        digest, _, name = line.partition("  ")
        if not name:
            hexadecimal = len(digest) > 1 and not set(digest[:2].lower()) - set("0123456789abcdef")
            reason = "unexpected EOF" if hexadecimal else "no hex data for %x string"
            raise ArchiveError(f"{prefix} {reason}")
        if name not in contents:
            raise ArchiveError(f"{prefix} list missing hash for {quote(name)}")
        if contents[name].hash.hexdigest() != digest.lower():
            raise ArchiveError(f"{prefix} hash check failed for {quote(name)}")
        seen.add(name)
    for name in contents:
        if name not in seen:
            raise ArchiveError(f"{prefix} file missing for {quote(name)}")
