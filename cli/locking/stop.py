"""The wish to end while a lock is waited for: a signal ends a wait at once, but never a write halfway."""

from __future__ import annotations

import contextlib
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class _Interrupted(BaseException):
    """Raised out of a signal handler, into the wait it came upon."""


class Stop:
    """`request` is for signal handlers of the main thread, which is also the one that waits."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._waiting = False

    @property
    def requested(self) -> bool:
        return self._event.is_set()

    def request(self) -> None:
        self._event.set()
        if self._waiting:
            self._waiting = False
            raise _Interrupted

    @contextlib.contextmanager
    def interrupts(self) -> Iterator[None]:
        """A wait that a request ends in the middle; nothing that changes anything belongs in here."""
        try:
            self._waiting = not self.requested
            yield
        except _Interrupted:
            pass
        finally:
            self._waiting = False

    def sleep(self, seconds: float) -> None:
        """Returns after that time, or when stopping is requested."""
        self._event.wait(seconds)
