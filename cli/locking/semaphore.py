"""A lock with several holders: each contender locks a key of its own below the prefix, and the key `.lock` there says
which of them hold a place. Whoever changes it does so by check-and-set, and drops holders whose key is gone."""

from __future__ import annotations

import json

from cli.base import gojson
from cli.base.errors import ApiError
from cli.locking.contender import Contender, InUseError, LockError
from cli.locking.kv import KV, Pair, Wait, join
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


class Semaphore(Contender):
    """prefix: below which the keys are. limit: how many may hold it. The rest is as for every contender."""

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
        super().__init__(connect, name, try_ns=try_ns, retries=retries, retry_s=retry_s)
        self._prefix, self._limit = prefix, limit
        self._key = join(prefix, KEY)

    def _session_fields(self) -> dict[str, str]:
        return {"Behavior": "delete"}

    def _contend(self, session: str, stop: Stop) -> bool:
        self._enter(session)
        return self._wait_and_take_place(session, stop)

    def _enter(self, session: str) -> None:
        try:
            made = self._kv.acquire(Pair(join(self._prefix, session), flags=FLAG, session=session))
        except ApiError as error:
            raise LockError(f"failed to make contender entry: {error}") from None
        if not made:
            raise LockError("failed to make contender entry: <nil>")

    def _wait_and_take_place(self, session: str, stop: Stop) -> bool:
        for wait in self._turns(stop):
            pairs: list[Pair] = []
            index = 0
            with stop.interrupts():
                pairs, index = self._list(wait)
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

    def _list(self, wait: Wait | None = None) -> tuple[list[Pair], int]:
        try:
            return self._kv.tree(self._prefix, wait)
        except ApiError as error:
            raise LockError(f"failed to read prefix: {error}") from None

    def _find(self, pairs: list[Pair]) -> Pair:
        """The pair of `.lock`; one with index 0 if there is none."""
        return next((pair for pair in pairs if pair.key == self._key), Pair(self._key, flags=FLAG))

    def _write(self, places: Places, over: Pair) -> bool:
        """False if somebody else was faster."""
        try:
            return self._kv.cas(Pair(self._key, places.encode(), flags=FLAG, modify_index=over.modify_index))
        except ApiError as error:
            raise LockError(f"failed to update lock: {error}") from None

    def _look(self, kv: KV, session: str, wait: Wait) -> tuple[bool, int]:
        pairs, index = kv.tree(self._prefix, wait)
        places = decode_places(self._find(pairs).value, self._limit)
        _drop_dead(places, pairs)
        return session in places.holders, index

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
        pairs, _ = self._list()
        lock = self._find(pairs)
        if not lock.modify_index:
            return
        if lock.flags != FLAG:
            raise LockError("Existing key does not match semaphore use")
        places = decode_places(lock.value, self._limit)
        _drop_dead(places, pairs)
        if places.holders:
            raise InUseError(IN_USE)
        self._remove(lock, "semaphore", IN_USE)


def _drop_dead(places: Places, pairs: list[Pair]) -> None:
    """Holders whose session has ended have no locked key any more."""
    places.holders &= {pair.session for pair in pairs if pair.session}
