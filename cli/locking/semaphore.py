"""A lock with several holders: each contender locks a key of its own below the prefix, and the key `.lock` there says
which of them hold a place. Whoever changes it does so by check-and-set, and drops holders whose key is gone."""

from __future__ import annotations

import json
import time

from cli.base import gojson
from cli.base.errors import ApiError
from cli.locking.kv import KV, Pair, Wait, is_retryable, join
from cli.locking.mutex import SESSION_TTL, WAIT_NS, InUseError, LockError
from cli.locking.session import Holder
from shared.gotext.json_syntax import JsonSyntaxError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cli.base.client import Client
    from cli.locking.stop import Stop

FLAG = 0xE0F69A2BAA414DE0
"""Marks keys as those of a semaphore."""
KEY = ".lock"
IN_USE = "Semaphore in use"


class Places:
    """What `.lock` says: how many may hold the semaphore, and whose sessions do."""

    def __init__(self, limit: int, holders: Iterable[str] = ()) -> None:
        self.limit, self.holders = limit, set(holders)

    def encode(self) -> bytes:
        return json.dumps(
            {"Limit": self.limit, "Holders": dict.fromkeys(sorted(self.holders), True)}, separators=(",", ":")
        ).encode()


def decode_places(value: bytes | None, limit: int) -> Places:
    """limit: of a semaphore that nobody has written yet. Raises LockError."""
    if value is None:
        return Places(limit)
    try:
        body = gojson.loads(value)
    except JsonSyntaxError as error:
        raise LockError(f"lock decoding failed: {error}") from None
    if body is None:
        return Places(0)
    if not isinstance(body, dict):
        raise _no_places(body, "value of type api.semaphoreLock")
    found = Places(0)
    for name, item in body.items():
        if name.lower() == "limit" and item is not None:
            if not isinstance(item, int) or isinstance(item, bool):
                raise _no_places(item, "struct field semaphoreLock.Limit of type int")
            found.limit = item
        elif name.lower() == "holders" and item is not None:
            if not isinstance(item, dict):
                raise _no_places(item, "struct field semaphoreLock.Holders of type map[string]bool")
            found.holders = set(item)
    return found


def _no_places(item: object, where: str) -> LockError:
    return LockError(f"lock decoding failed: json: cannot unmarshal {gojson.type_name(item)} into Go {where}")


class Semaphore:
    """As Mutex, for `limit` holders."""

    def __init__(
        self,
        connect: Callable[[], Client],
        prefix: str,
        limit: int,
        name: str,
        *,
        try_ns: int | None,
        retries: int,
        retry_s: float,
    ) -> None:
        """Raises LockError without a prefix."""
        if not prefix:
            raise LockError("missing prefix")
        self._connect, self._prefix, self._limit, self._name = connect, prefix, limit, name
        self._try_ns, self._retries, self._retry_s = try_ns, retries, retry_s
        self._key = join(prefix, KEY)
        self._kv = KV(connect())
        self._holder: Holder | None = None

    def acquire(self, stop: Stop) -> bool:
        """False if it was stopped, or time was up. Raises LockError."""
        fields = {"Name": self._name, "TTL": SESSION_TTL, "Behavior": "delete"}
        try:
            self._holder = Holder(self._connect, fields)
        except ApiError as error:
            raise LockError(f"failed to create session: {error}") from None
        held = False
        try:
            self._enter(self._holder.id)
            held = self._wait_and_take_place(self._holder.id, stop)
        finally:
            if not held:
                self._holder.end()
                self._holder = None
        return held

    def _enter(self, session: str) -> None:
        try:
            made = self._kv.acquire(Pair(join(self._prefix, session), flags=FLAG, session=session))
        except ApiError as error:
            raise LockError(f"failed to make contender entry: {error}") from None
        if not made:
            raise LockError("failed to make contender entry: <nil>")

    def _wait_and_take_place(self, session: str, stop: Stop) -> bool:
        wait = Wait(WAIT_NS if self._try_ns is None else self._try_ns)
        started_ns = time.monotonic_ns()
        attempted = False
        while not stop.requested:
            if self._try_ns is not None and attempted:
                wait.wait_ns = self._try_ns - (time.monotonic_ns() - started_ns)
                if wait.wait_ns < 0:
                    return False
            attempted = True
            pairs: list[Pair] = []
            index = 0
            with stop.interrupts():
                pairs, index = self._list(self._kv, wait)
            if stop.requested:
                return False
            lock = self._find(pairs)
            if lock.flags != FLAG:
                raise LockError("Existing key does not match semaphore use")
            places = decode_places(lock.value, self._limit)
            if places.limit != self._limit:
                raise LockError(f"semaphore limit conflict (lock: {places.limit}, local: {self._limit})")
            _drop_dead(places, pairs)
            if len(places.holders) >= places.limit:
                wait.index = index
                continue
            places.holders.add(session)
            if self._write(places, lock):
                return True
        return False

    def _list(self, kv: KV, wait: Wait | None = None) -> tuple[list[Pair], int]:
        try:
            return kv.tree(self._prefix, wait)
        except ApiError as error:
            raise LockError(f"failed to read prefix: {error}") from error

    def _find(self, pairs: list[Pair]) -> Pair:
        """The pair of `.lock`; one with index 0 if there is none."""
        return next((pair for pair in pairs if pair.key == self._key), Pair(self._key, flags=FLAG))

    def _write(self, places: Places, over: Pair) -> bool:
        """False if somebody else was faster."""
        try:
            return self._kv.cas(Pair(self._key, places.encode(), flags=FLAG, modify_index=over.modify_index))
        except ApiError as error:
            raise LockError(f"failed to update lock: {error}") from None

    def watch(self) -> None:
        """Returns when our place is lost, or nothing can be learned of it any more. For a thread of its own."""
        assert self._holder is not None
        session, kv, wait = self._holder.id, KV(self._connect()), Wait(consistent=True)
        retries = self._retries
        while True:
            try:
                pairs, index = self._list(kv, wait)
                places = decode_places(self._find(pairs).value, self._limit)
            except LockError as error:
                cause = error.__cause__
                if not retries or not isinstance(cause, ApiError) or not is_retryable(cause):
                    return
                time.sleep(self._retry_s)
                retries, wait.index = retries - 1, 0
                continue
            _drop_dead(places, pairs)
            if session not in places.holders:
                return
            retries, wait.index = self._retries, index

    def release(self) -> None:
        """Gives our place back, removes our key and ends the session. Raises LockError."""
        assert self._holder is not None
        holder, self._holder = self._holder, None
        try:
            self._leave(holder.id)
            self._kv.delete(join(self._prefix, holder.id))
        except ApiError as error:
            raise LockError(str(error)) from None
        finally:
            holder.end()

    def _leave(self, session: str) -> None:
        while True:
            pair, _ = self._kv.get(self._key)
            lock = pair or Pair(self._key)
            places = decode_places(lock.value, self._limit)
            if session not in places.holders:
                return
            places.holders.remove(session)
            if self._write(places, lock):
                return

    def destroy(self) -> None:
        """Deletes `.lock` if nobody holds a place. Raises LockError, InUseError."""
        pairs, _ = self._list(self._kv)
        lock = self._find(pairs)
        if not lock.modify_index:
            return
        if lock.flags != FLAG:
            raise LockError("Existing key does not match semaphore use")
        places = decode_places(lock.value, self._limit)
        _drop_dead(places, pairs)
        if places.holders:
            raise InUseError(IN_USE)
        try:
            removed = self._kv.delete_cas(lock)
        except ApiError as error:
            raise LockError(f"failed to remove semaphore: {error}") from None
        if not removed:
            raise InUseError(IN_USE)


def _drop_dead(places: Places, pairs: list[Pair]) -> None:
    """Holders whose session has ended have no locked key any more."""
    places.holders &= {pair.session for pair in pairs if pair.session}
