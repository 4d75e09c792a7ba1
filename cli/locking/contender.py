"""What locks of both kinds have in common: a session that contends, waits in turns, watches what it holds."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod

from cli.base.errors import ApiError
from cli.locking.kv import KV, Pair, Wait, is_retryable
from cli.locking.session import Holder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cli.base.client import Client
    from cli.locking.stop import Stop

SESSION_TTL = "15s"
WAIT_NS = 15_000_000_000


class LockError(Exception):
    """The lock cannot be had, or not be given back. The text says why."""


class InUseError(LockError):
    """Others hold the lock, so what is stored of it stays."""


class Contender(ABC):
    """connect: makes a client, one for each thread. name: of the session. try_ns: give up after that time (None:
    never). retries, retry_s: how often, and how far apart, `watch` asks again when the agent does not answer.

    Not for several threads, except `watch`."""

    def __init__(
        self, connect: Callable[[], Client], name: str, *, try_ns: int | None, retries: int, retry_s: float
    ) -> None:
        self._connect, self._name, self._try_ns = connect, name, try_ns
        self._retries, self._retry_s = retries, retry_s
        self._kv = KV(connect())
        self._holder: Holder | None = None

    def acquire(self, stop: Stop) -> bool:
        """False if it was stopped, or time was up. Raises LockError."""
        try:
            self._holder = Holder(self._connect, {"Name": self._name, "TTL": SESSION_TTL, **self._session_fields()})
        except ApiError as error:
            raise LockError(f"failed to create session: {error}") from None
        held = False
        try:
            held = self._contend(self._holder.id, stop)
        finally:
            if not held:
                self._holder.end()
                self._holder = None
        return held

    def _session_fields(self) -> dict[str, str]:
        """Of the session, beside its name and TTL."""
        return {}

    @abstractmethod
    def _contend(self, session: str, stop: Stop) -> bool:
        """Whether `session` holds the lock in the end. Raises LockError."""

    def _turns(self, stop: Stop) -> Iterator[Wait]:
        """How to wait in each attempt, until time is up or it is stopped; there is always a first one."""
        wait = Wait(WAIT_NS if self._try_ns is None else self._try_ns)
        started_ns = time.monotonic_ns()
        while not stop.requested:
            yield wait
            if self._try_ns is not None:
                wait.wait_ns = self._try_ns - (time.monotonic_ns() - started_ns)
                if wait.wait_ns < 0:
                    return

    def watch(self) -> None:
        """Returns when the lock is lost, or nothing can be learned of it any more. For a thread of its own."""
        assert self._holder is not None
        session, kv, wait = self._holder.id, KV(self._connect()), Wait(consistent=True)
        retries = self._retries
        while True:
            try:
                holds, index = self._look(kv, session, wait)
            except LockError:
                return
            except ApiError as error:
                if not retries or not is_retryable(error):
                    return
                time.sleep(self._retry_s)
                retries, wait.index = retries - 1, 0
                continue
            if not holds:
                return
            retries, wait.index = self._retries, index

    @abstractmethod
    def _look(self, kv: KV, session: str, wait: Wait) -> tuple[bool, int]:
        """(whether `session` holds the lock, index). Raises ApiError, LockError."""

    def _remove(self, pair: Pair, what: str, in_use: str) -> None:
        """Raises LockError, InUseError if somebody else was faster."""
        try:
            removed = self._kv.delete_cas(pair)
        except ApiError as error:
            raise LockError(f"failed to remove {what}: {error}") from None
        if not removed:
            raise InUseError(in_use)
