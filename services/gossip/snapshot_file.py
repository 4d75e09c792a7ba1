"""The snapshot file of one pool on disk: appended to as things happen, replaced when it has grown too large.

Lines reach the kernel at once, so killing the process loses nothing; only a leave is also synced to the disk, as
the rest can be learnt again from any peer."""

import contextlib
import os

from services.gossip.serf.snapshot import MAX_REPLAY_BYTES, Recovered, replay
from shared.log import Logger
from shared.service import StartError

_COMPLAIN_EVERY_S = 30.0
_UNWRITTEN_MAX = 1024 * 1024


class SnapshotFile:
    """An open snapshot file. What cannot be written (full disk) is kept, within bounds, and written later."""

    def __init__(self, path: str, run: str, logger: Logger) -> None:
        """run: what the file has to be marked with to count at all, "" if any will do.

        Raises StartError if the file cannot be opened."""
        self._path = path
        self._mark = f"# run {run}\n" if run else ""
        self._logger = logger
        self._complain_at = 0.0
        self._unwritten = b""
        try:
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
            self._fd = self._open(os.O_RDWR | os.O_APPEND)
        except OSError as error:
            raise StartError(
                f"Failed to setup snapshot: failed to open snapshot: open {path}: {(error.strerror or '').lower()}"
            ) from None

    def recover(self, *, rejoin_after_leave: bool, run: str = "") -> tuple[Recovered, int]:
        """What the file tells, and its size in bytes. run: see gone_line. Raises StartError if it cannot be read."""
        try:
            # Only "\n" ends a line: any other break that Python knows could be part of a peer's name.
            with open(self._path, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
                text = file.read(MAX_REPLAY_BYTES)
        except OSError as error:
            raise StartError(f"Failed to setup snapshot: {self._path}: {error.strerror}") from None
        if self._mark and not text.startswith(self._mark):
            os.ftruncate(self._fd, 0)  # left by another run of the agent
            self._unwritten = self._mark.encode()
            text = ""
        if text and not text.endswith("\n"):
            self._unwritten = b"\n"  # a torn last line must not swallow the next one
        with contextlib.suppress(OSError):  # a disk that is full now gets it with the next append
            self._flush()
        found = replay(text.split("\n"), rejoin_after_leave=rejoin_after_leave, run=run)
        for problem in found.problems:
            self._logger.warn(problem)
        return found, os.fstat(self._fd).st_size

    def append(self, text: str, now: float, *, sync: bool) -> None:
        self._unwritten += _encoded(text)
        try:
            self._flush()
            if sync:
                os.fsync(self._fd)
        except OSError as error:
            if now >= self._complain_at:
                self._complain_at = now + _COMPLAIN_EVERY_S
                self._logger.error(f"serf: Failed to update snapshot: {error}")

    def replace(self, text: str, now: float) -> None:
        """Write the whole file anew."""
        temporary = f"{self._path}.compact"
        try:
            fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o644)
            try:
                _write_all(fd, _encoded(self._mark + text))
                os.fsync(fd)
                os.replace(temporary, self._path)
            except OSError:
                os.close(fd)
                raise
            os.close(self._fd)
            self._fd = fd
            self._unwritten = b""
        except OSError as error:
            self._logger.error(f"serf: failed to compact snapshot: {error}")

    def close(self) -> None:
        os.close(self._fd)

    def _flush(self) -> None:
        """Write what is pending. After a partial write only the rest stays pending."""
        try:
            while self._unwritten:
                self._unwritten = self._unwritten[os.write(self._fd, self._unwritten) :]
        finally:
            if len(self._unwritten) > _UNWRITTEN_MAX:
                newest = self._unwritten[-_UNWRITTEN_MAX:]
                self._unwritten = newest[newest.find(b"\n") + 1 :]

    def _open(self, flags: int) -> int:
        return os.open(self._path, flags | os.O_CREAT | os.O_CLOEXEC, 0o644)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
