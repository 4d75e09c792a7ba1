"""A lock with one holder: a key with a flag of its own, locked by the holder's session."""

from __future__ import annotations

from cli.base.errors import ApiError
from cli.locking.contender import Contender, InUseError, LockError
from cli.locking.kv import KV, Pair, Wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cli.base.client import Client
    from cli.locking.stop import Stop

FLAG = 0x2DDCCBC058A50C18
"""Marks a key as a lock."""
IN_USE = "Lock in use"
RETRY_S = 5.0
"""Pause before the next attempt while the lock-delay of the last holder lasts."""


class Mutex(Contender):
    """key: what is locked. The rest is as for every contender."""

    def __init__(
        self, connect: Callable[[], Client], key: str, name: str, *, try_ns: int | None, retries: int, retry_s: float
    ) -> None:
        super().__init__(connect, name, try_ns=try_ns, retries=retries, retry_s=retry_s)
        self._key = key

    def _contend(self, session: str, stop: Stop) -> bool:
        for wait in self._turns(stop):
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

    def _look(self, kv: KV, session: str, wait: Wait) -> tuple[bool, int]:
        pair, index = kv.get(self._key, wait)
        return pair is not None and pair.session == session, index

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
            raise InUseError(IN_USE)
        self._remove(pair, "lock", IN_USE)
