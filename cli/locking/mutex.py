"""A lock with one holder: a key with a flag of its own, locked by the holder's session."""

from __future__ import annotations

import time

from cli.base.errors import ApiError
from cli.locking.kv import KV, Pair, Wait, is_retryable
from cli.locking.session import Holder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cli.base.client import Client
    from cli.locking.stop import Stop

FLAG = 0x2DDCCBC058A50C18
"""Marks a key as a lock."""
SESSION_TTL = "15s"
WAIT_NS = 15_000_000_000
RETRY_S = 5.0
"""Pause before the next attempt while the lock-delay of the last holder lasts."""


class LockError(Exception):
    """The lock cannot be had, or not be given back. The text says why."""


class InUseError(LockError):
    """Others hold the lock, so what is stored of it stays."""


class Mutex:
    """connect: makes a client, one for each thread. try_ns: give up after that time (None: never).

    Not for several threads, except `watch`."""

    def __init__(
        self, connect: Callable[[], Client], key: str, name: str, *, try_ns: int | None, retries: int, retry_s: float
    ) -> None:
        self._connect, self._key, self._name, self._try_ns = connect, key, name, try_ns
        self._retries, self._retry_s = retries, retry_s
        self._kv = KV(connect())
        self._holder: Holder | None = None

    def acquire(self, stop: Stop) -> bool:
        """False if it was stopped, or time was up. Raises LockError."""
        try:
            self._holder = Holder(self._connect, {"Name": self._name, "TTL": SESSION_TTL})
        except ApiError as error:
            raise LockError(f"failed to create session: {error}") from None
        held = False
        try:
            held = self._wait_and_lock(self._holder.id, stop)
        finally:
            if not held:
                self._holder.end()
                self._holder = None
        return held

    def _wait_and_lock(self, session: str, stop: Stop) -> bool:
        wait = Wait(WAIT_NS if self._try_ns is None else self._try_ns)
        started_ns = time.monotonic_ns()
        attempted = False
        while not stop.requested:
            if self._try_ns is not None and attempted:
                wait.wait_ns = self._try_ns - (time.monotonic_ns() - started_ns)
                if wait.wait_ns < 0:
                    return False
            attempted = True
            pair, index = self._read(wait, stop, "failed to read lock: ")
            if stop.requested:
                return False
            if pair is not None and pair.flags != FLAG:
                raise LockError("Existing key does not match lock use")
            if pair is not None and pair.session == session:
                return True
            if pair is not None and pair.session:
                wait.index = index
            elif self._lock(session):
                return True
            else:
                wait.index = 0
                pair, index = self._read(wait, stop, "")
                if pair is not None and pair.session:
                    wait.index = index
                else:  # free and yet not to be had: the lock-delay of its last holder is not over
                    stop.sleep(RETRY_S)
        return False

    def _read(self, wait: Wait, stop: Stop, what: str) -> tuple[Pair | None, int]:
        try:
            with stop.interrupts():
                return self._kv.get(self._key, wait)
        except ApiError as error:
            raise LockError(f"{what}{error}") from None
        return None, 0

    def _lock(self, session: str) -> bool:
        try:
            return self._kv.acquire(Pair(self._key, flags=FLAG, session=session))
        except ApiError as error:
            raise LockError(f"failed to acquire lock: {error}") from None

    def watch(self) -> None:
        """Returns when the lock is lost, or nothing can be learned of it any more. For a thread of its own."""
        assert self._holder is not None
        session, kv, wait = self._holder.id, KV(self._connect()), Wait(consistent=True)
        retries = self._retries
        while True:
            try:
                pair, index = kv.get(self._key, wait)
            except ApiError as error:
                if not retries or not is_retryable(error):
                    return
                time.sleep(self._retry_s)
                retries, wait.index = retries - 1, 0
                continue
            if pair is None or pair.session != session:
                return
            retries, wait.index = self._retries, index

    def release(self) -> None:
        """Gives the lock back and ends the session. Raises LockError."""
        assert self._holder is not None
        holder, self._holder = self._holder, None
        try:
            self._kv.release(Pair(self._key, flags=FLAG, session=holder.id))
        except ApiError as error:
            raise LockError(f"failed to release lock: {error}") from None
        finally:
            holder.end()

    def destroy(self) -> None:
        """Deletes the key if nobody holds it. Raises LockError, InUseError."""
        try:
            pair, _ = self._kv.get(self._key)
        except ApiError as error:
            raise LockError(f"failed to read lock: {error}") from None
        if pair is None:
            return
        if pair.flags != FLAG:
            raise LockError("Existing key does not match lock use")
        if pair.session:
            raise InUseError("Lock in use")
        try:
            removed = self._kv.delete_cas(pair)
        except ApiError as error:
            raise LockError(f"failed to remove lock: {error}") from None
        if not removed:
            raise InUseError("Lock in use")
