"""The write-ahead log: segments of frames in one directory, appended to with one write and one fdatasync.

A frame whose first index is not above the last one replaces what is stored from that index on: cutting off a
conflicting suffix needs no operation of its own, and is atomic. Reading back what was written checks it again."""

from __future__ import annotations

import os
import secrets
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final, NamedTuple

from services.raft_node.core.types import ADD_PEER, CONFIGURATION, REMOVE_PEER, Entry
from services.raft_node.log import segment as fmt
from services.raft_node.log.disk import Disk
from services.raft_node.log.errors import AppendError, CorruptionError, StorageError

SEGMENT_BYTES: Final = 16 << 20
_READ_CACHE_BYTES: Final = 4 << 20
_CONFIGURATION_TYPES: Final = (CONFIGURATION, ADD_PEER, REMOVE_PEER)


class Pending(NamedTuple):
    """A frame that was written and is not yet known to be durable."""

    first_index: int
    last_index: int
    terms: list[tuple[int, int]]
    offset: int
    size: int


class _Segment:
    """One file. frame_first and frame_offset: first index and offset of its frames that still count."""

    __slots__ = ("frame_first", "frame_offset", "header", "path", "seed")

    def __init__(self, path: str, header: fmt.SegmentHeader) -> None:
        self.path = path
        self.header = header
        self.seed = header.seed
        self.frame_first = array("Q")
        self.frame_offset = array("Q")

    def cut(self, first_index: int) -> None:
        """Forgets frames that begin at `first_index` or after it."""
        while self.frame_first and self.frame_first[-1] >= first_index:
            self.frame_first.pop()
            self.frame_offset.pop()


class Wal:
    """The stored log; also what the core reads it through (`LogStorage`). Methods belong to one thread, except
    `sync`. Construct with `Wal.open`."""

    def __init__(self, disk: Disk, directory: str, segment_bytes: int) -> None:
        self._disk = disk
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._segments: list[_Segment] = []
        self._handle = -1
        self._allocated = 0
        self._end = 0
        self._number = 0
        self.broken = False
        """What an append left behind could not be wiped out: it may come back if the process ends now."""
        self._left_behind_from = 0
        """First index of what was left behind: if it comes back, it cuts off what was stored from there on."""
        self._terms: list[tuple[int, int]] = []
        self._cached: tuple[str, int, list[Entry]] | None = None
        self.first_index = 1
        self.last_index = 0
        self.recovered_configurations: list[Entry] = []
        """Configuration entries that the log held when it was opened, or that `append` added, in order."""
        self.torn_bytes = 0
        """Bytes of an unfinished write that were cut off when the log was opened."""

    # ---- opening -----------------------------------------------------------------------------------------------

    @classmethod
    def open(cls, disk: Disk, directory: str, segment_bytes: int = SEGMENT_BYTES) -> Wal:
        """Opens the log in `directory`, made if it is missing, and cuts a torn tail.

        Raises CorruptionError if something before the tail is damaged, StorageError if the disk fails."""
        wal = cls(disk, directory, segment_bytes)
        try:
            wal._recover()
        except OSError as error:
            wal._close_handle()
            raise StorageError(f"cannot open the raft log in {directory}: {error.strerror}") from error
        except CorruptionError:
            wal._close_handle()
            raise
        return wal

    def _recover(self) -> None:
        disk = self._disk
        disk.make_directory(self._directory)
        names = []
        for name in disk.names(self._directory):
            if name.endswith(".tmp"):
                disk.remove(self._path(name))
            elif name.endswith(".wal"):
                names.append(name)
        position = len(names) - 1
        while position > 0 and not self._begins_log(names[position]):
            position -= 1
        for name in names[: max(position, 0)]:
            disk.remove(self._path(name))
        names = names[max(position, 0) :]
        for at, name in enumerate(names):
            self._recover_segment(name, is_first=at == 0, is_last=at == len(names) - 1)
        if not self._segments:
            self._begin_segment(sequence=1)
        elif self.last_index >= self.first_index:
            # All up to here is whole and now durable, whoever wrote it: damage found later is no torn tail.
            self._seal()

    def _begins_log(self, name: str) -> bool:
        handle = self._disk.open(self._path(name))
        try:
            return bool(fmt.decode_header(self._disk.read(handle, fmt.HEADER_BYTES, 0)).flags & fmt.RESET)
        except ValueError:
            return False  # looked at again, and complained about, when its turn comes
        finally:
            self._disk.close(handle)

    def _recover_segment(self, name: str, *, is_first: bool, is_last: bool) -> None:
        path = self._path(name)
        handle = self._disk.open(path)
        try:
            size = self._disk.size(handle)
            if is_last and size < fmt.HEADER_BYTES:
                self._replace_headless(name)
                return
            data = self._disk.read(handle, size, 0)
            try:
                header = fmt.decode_header(data)
            except ValueError as error:
                raise CorruptionError(path, 0, str(error)) from None
            if name != _segment_name(header):
                raise CorruptionError(path, 0, f"the segment belongs into a file named {_segment_name(header)}")
            if is_first:
                self.first_index, self.last_index = header.first_index, header.first_index - 1
            elif header.first_index > self.last_index + 1:
                raise CorruptionError(
                    self._segments[-1].path,
                    self._end,
                    f"entries from {self.last_index + 1} to {header.first_index - 1} are missing",
                )
            self._cut_index(header.first_index)
            self._segments.append(_Segment(path, header))
            end, number = self._recover_frames(path, data)
            self._end, self._number = end, number
            if is_last:
                self._adopt(handle, size)
                self.torn_bytes = len(data[end:].rstrip(b"\0"))
                if self.torn_bytes:
                    self._disk.write(handle, bytes(self.torn_bytes), end)
                self._disk.sync(handle)
                handle = -1
        finally:
            if handle >= 0 and handle != self._handle:
                self._disk.close(handle)

    def _recover_frames(self, path: str, data: bytes) -> tuple[int, int]:
        """Takes in the frames of the newest segment: (end of the last one, its number)."""
        segment = self._segments[-1]
        end, number = fmt.HEADER_BYTES, 0
        for frame in fmt.frames(memoryview(data), segment.seed):
            if frame.count:
                if frame.first_index < self.first_index:
                    # It replaced entries of a segment that was compacted away since, and all after them.
                    self._cut_index(self.first_index)
                    self.first_index, self.last_index = frame.first_index, frame.first_index - 1
                if frame.first_index > self.last_index + 1:
                    raise CorruptionError(
                        path, frame.offset, f"entry {frame.first_index} follows entry {self.last_index}"
                    )
                self._recover_entries(path, data, frame)
            end, number = frame.offset + frame.size, frame.number
        if (later := fmt.later_frame(data, end, number, segment.seed)) is not None:
            raise CorruptionError(
                path,
                end,
                f"frame {number + 1} is not what was written, but frame {later.number} at offset "
                f"{later.offset} is intact, so this is no unfinished write",
            )
        return end, number

    def _recover_entries(self, path: str, data: bytes, frame: fmt.Frame) -> None:
        terms: list[tuple[int, int]] = []
        found: list[Entry] = []
        try:
            for index, term, kind, extensions, length, offset in fmt.entry_heads(data, frame):
                if not terms or terms[-1][1] != term:
                    terms.append((index, term))
                if kind in _CONFIGURATION_TYPES:
                    start = offset + extensions
                    found.append(Entry(index, term, kind, data[start : start + length]))
        except ValueError as error:
            raise CorruptionError(path, frame.offset, str(error)) from None
        self._take(frame.first_index, frame.first_index + frame.count - 1, terms, frame.offset)
        self.recovered_configurations += found

    def _replace_headless(self, name: str) -> None:
        """The newest file is shorter than its header: nothing was ever stored in it."""
        self._disk.remove(self._path(name))
        if not self._segments:
            self._begin_segment(sequence=1)
            return
        newest = self._segments[-1]
        handle = self._disk.open(newest.path)
        self._adopt(handle, self._disk.size(handle))

    # ---- appending ---------------------------------------------------------------------------------------------

    def append(self, entries: Sequence[Entry]) -> None:
        """Makes `entries` durable, replacing what is stored from entries[0].index on. Raises AppendError."""
        pending = self.write(entries)
        try:
            self.sync()
        except AppendError:
            self.undo(pending)
            raise
        self.finish(pending)
        self.recovered_configurations += [entry for entry in entries if entry.type in _CONFIGURATION_TYPES]

    def write(self, entries: Sequence[Entry]) -> Pending:
        """First third of an append: into the page cache. Follow it with `sync`, then `finish` or `undo`, before
        the next. Raises AppendError, ValueError if the entries would leave a gap."""
        first, last = entries[0].index, entries[-1].index
        if not self.first_index <= first <= self.last_index + 1:
            raise ValueError(f"entry {first} does not fit into a log of {self.first_index}..{self.last_index}")
        try:
            frame = fmt.encode_frame(entries, first, self._number + 1, self._segments[-1].seed)
            if self.broken or self._end + len(frame) > self._allocated:
                begin = self.last_index + 1
                if self.broken:
                    begin = min(begin, self._left_behind_from)
                self._begin_segment(self._segments[-1].header.sequence + 1, room=len(frame), first_index=begin)
                frame = fmt.encode_frame(entries, first, 1, self._segments[-1].seed)
            pending = Pending(first, last, _terms_of(entries), self._end, len(frame))
            try:
                self._disk.write(self._handle, frame, self._end)
            except OSError:
                self.undo(pending)
                raise
        except OSError as error:
            raise self._append_error(error) from error
        except ValueError as error:
            raise AppendError(str(error)) from None
        return pending

    def sync(self) -> None:
        """Second third: waits for the disk. May run in a thread. Raises AppendError."""
        try:
            self._disk.sync(self._handle)
        except OSError as error:
            raise self._append_error(error) from error

    def finish(self, pending: Pending) -> None:
        """Last third: the entries are durable and can be read."""
        self._end = pending.offset + pending.size
        self._number += 1
        self._take(pending.first_index, pending.last_index, pending.terms, pending.offset)

    def undo(self, pending: Pending) -> None:
        """Instead of `finish`: what was written is wiped out, or, if the disk refuses that too, left behind in a
        segment that the next append abandons."""
        try:
            self._disk.write(self._handle, bytes(pending.size), pending.offset)
            self._disk.sync(self._handle)
        except OSError:
            left = self._left_behind_from if self.broken else pending.first_index
            self._left_behind_from = min(left, pending.first_index)
            self.broken = True

    def _append_error(self, error: OSError) -> AppendError:
        return AppendError(
            f"cannot write the raft log in {self._directory}: {error.strerror or error}; writes resume by "
            "themselves once the disk takes them"
        )

    def _take(self, first: int, last: int, terms: list[tuple[int, int]], offset: int) -> None:
        """The index knows a new frame of the newest segment."""
        if first <= self.last_index:
            self._cut_index(first)
        segment = self._segments[-1]
        segment.frame_first.append(first)
        segment.frame_offset.append(offset)
        for start, term in terms:
            if not self._terms or self._terms[-1][1] != term:
                self._terms.append((start, term))
        self.last_index = last

    def _cut_index(self, first: int) -> None:
        if first > self.last_index:
            return
        for segment in reversed(self._segments):
            segment.cut(first)
            if segment.frame_first:
                break
        while self._terms and self._terms[-1][0] >= first:
            self._terms.pop()
        while self.recovered_configurations and self.recovered_configurations[-1].index >= first:
            self.recovered_configurations.pop()
        self.last_index = first - 1
        self._cached = None

    # ---- segments ----------------------------------------------------------------------------------------------

    def _path(self, name: str) -> str:
        return os.path.join(self._directory, name)

    def _begin_segment(self, sequence: int, *, room: int = 0, first_index: int | None = None, flags: int = 0) -> None:
        """Starts a new file to append to; `first_index` voids what older ones hold from there on."""
        disk = self._disk
        first_index = self.first_index if first_index is None else first_index
        header = fmt.SegmentHeader(sequence, first_index, secrets.randbits(64), flags)
        path = self._path(_segment_name(header))
        temporary = f"{path}.tmp"
        size = max(self._segment_bytes, fmt.HEADER_BYTES + room)
        handle = disk.open(temporary, create=True)
        try:
            disk.allocate(handle, size)
            disk.write(handle, fmt.encode_header(header), 0)
            disk.sync(handle)
            disk.rename(temporary, path)
            disk.sync_directory(self._directory)
        except OSError:
            disk.close(handle)
            for leftover in (temporary, path):
                try:
                    disk.remove(leftover)
                except OSError:
                    continue
            raise
        self._adopt(handle, size)
        self._segments.append(_Segment(path, header))
        self._end, self._number, self.broken = fmt.HEADER_BYTES, 0, False

    def _adopt(self, handle: int, size: int) -> None:
        self._close_handle()
        self._handle, self._allocated = handle, size
        if size < self._segment_bytes and self._segments:
            # A file that lost its tail: give it its room back, so that appends cannot meet a full disk.
            self._disk.allocate(handle, self._segment_bytes)
            self._allocated = self._segment_bytes

    def _seal(self) -> None:
        frame = fmt.encode_frame((), self.last_index + 1, self._number + 1, self._segments[-1].seed)
        if self._end + len(frame) <= self._allocated and not self.broken:
            self._disk.write(self._handle, frame, self._end)
            self._disk.sync(self._handle)
            self._end += len(frame)
            self._number += 1

    def reset(self, next_index: int) -> None:
        """Drops everything: the next entry will be `next_index`. Raises AppendError."""
        old = list(self._segments)
        try:
            self._begin_segment(old[-1].header.sequence + 1 if old else 1, first_index=next_index, flags=fmt.RESET)
        except OSError as error:
            raise self._append_error(error) from error
        self._segments = self._segments[-1:]
        self._terms.clear()
        self.recovered_configurations.clear()
        self._cached = None
        self.first_index, self.last_index = next_index, next_index - 1
        self._remove([segment.path for segment in old])

    def compact(self, last: int) -> None:
        """Entries up to `last` are not needed any more: whole segments of them are removed from disk."""
        self.first_index = max(self.first_index, min(last, self.last_index) + 1)
        gone = 0
        while gone < len(self._segments) - 1 and self._first_after(gone) <= self.first_index:
            gone += 1
        paths = [segment.path for segment in self._segments[:gone]]
        del self._segments[:gone]
        keep = bisect_right(self._terms, self.first_index, key=lambda run: run[0]) - 1
        del self._terms[: max(keep, 0)]
        self._remove(paths)

    def _first_after(self, position: int) -> int:
        """First index that is held by a segment after `position`; the next one of all if there is none."""
        for segment in self._segments[position + 1 :]:
            if segment.frame_first:
                return segment.frame_first[0]
        return self.last_index + 1

    def _remove(self, paths: list[str]) -> None:
        # Oldest first: a crash in between leaves a log without a gap. A file that stays does no harm.
        for path in paths:
            try:
                self._disk.remove(path)
            except OSError:
                return

    def close(self) -> None:
        """Marks the end and lets go of the file. The log stays as it is if the disk refuses the mark."""
        if self._handle < 0:
            return
        try:
            if self.last_index >= self.first_index:
                self._seal()
        except OSError:
            pass
        self._close_handle()

    def _close_handle(self) -> None:
        if self._handle >= 0:
            self._disk.close(self._handle)
            self._handle = -1

    # ---- reading -----------------------------------------------------------------------------------------------

    def term_at(self, index: int) -> int:
        """Term of a stored entry. Raises IndexError for another index."""
        if not self.first_index <= index <= self.last_index:
            raise IndexError(f"entry {index} is not in the log ({self.first_index}..{self.last_index})")
        return self._terms[bisect_right(self._terms, index, key=lambda run: run[0]) - 1][1]

    def read(self, first: int, last: int, max_bytes: int) -> list[Entry]:
        """Entries first..last, at least one, fewer once their data exceeds max_bytes.

        Raises IndexError if they are not stored, CorruptionError if what was stored has changed."""
        if not self.first_index <= first <= last <= self.last_index:
            raise IndexError(f"entries {first}..{last} are not in the log ({self.first_index}..{self.last_index})")
        found: list[Entry] = []
        total = 0
        while first <= last:
            for entry in self._frame_with(first):
                if entry.index < first:
                    continue
                total += len(entry.data)
                if entry.index > last or (found and total > max_bytes):
                    return found
                found.append(entry)
            first = found[-1].index + 1
        return found

    def _frame_with(self, index: int) -> list[Entry]:
        """Entries of the frame that holds `index`; those that a later frame replaced are left out."""
        end = self.last_index + 1
        for segment in reversed(self._segments):
            if not segment.frame_first:
                continue
            at = bisect_right(segment.frame_first, index) - 1
            if at >= 0:
                if at + 1 < len(segment.frame_first):
                    end = segment.frame_first[at + 1]
                entries = self._load(segment, segment.frame_offset[at])
                return entries[: end - entries[0].index]
            end = segment.frame_first[0]
        raise IndexError(f"entry {index} is not in the log")

    def _load(self, segment: _Segment, offset: int) -> list[Entry]:
        if self._cached is not None and self._cached[:2] == (segment.path, offset):
            return self._cached[2]
        active = segment is self._segments[-1]
        handle = self._handle if active else self._disk.open(segment.path)
        try:
            head = self._disk.read(handle, fmt.FRAME_HEADER_BYTES, offset)
            length = int.from_bytes(head[4:8], "little")
            data = head + self._disk.read(handle, min(length, fmt.MAX_PAYLOAD_BYTES), offset + len(head))
        except OSError as error:
            raise StorageError(f"cannot read {segment.path}: {error.strerror}") from error
        finally:
            if not active:
                self._disk.close(handle)
        frame = fmt.frame_at(data, 0, segment.seed)
        if frame is None:
            raise CorruptionError(segment.path, offset, "a frame is not what was written")
        entries = fmt.decode_entries(data, frame)
        if len(data) <= _READ_CACHE_BYTES:
            self._cached = (segment.path, offset, entries)
        return entries


def _segment_name(header: fmt.SegmentHeader) -> str:
    return f"{header.sequence:08d}-{header.first_index:020d}.wal"


def _terms_of(entries: Sequence[Entry]) -> list[tuple[int, int]]:
    """(first index, term) of each run of equal terms."""
    if entries[0].term == entries[-1].term:
        return [(entries[0].index, entries[0].term)]
    runs: list[tuple[int, int]] = []
    for entry in entries:
        if not runs or runs[-1][1] != entry.term:
            runs.append((entry.index, entry.term))
    return runs
