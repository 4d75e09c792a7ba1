"""Clients that work on a few keys at a time, and remember what they did and were told.

The keys change every few seconds: operations of unknown outcome stay possible for ever, and a history with many of
them has too many explanations to try."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from tests.linearizability.history import UNKNOWN, Call, Operation
from tests.linearizability.register import ABSENT, State

KEYS = 4
EPOCH_S = 2.5
REQUEST_TIMEOUT_S = 8.0
"""For each thing that is waited for: a connection, the head of an answer, its body."""
REQUEST_ENDS_WITHIN_S = 5 * REQUEST_TIMEOUT_S
"""Nothing is added to a history later than this: it would be judged without what came in the meantime."""
_PAUSE_S = 0.02
_READS = ("?consistent", "")
"""Both are linearizable here: a leader answers default reads from its own state while it holds its lease."""


class LostError(Exception):
    """Nobody knows what became of the request."""


@dataclass(slots=True)
class Record:
    """All histories of a run, by key."""

    histories: dict[str, list[Operation]] = field(default_factory=lambda: defaultdict(list))
    lost: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, key: str, operation: Operation) -> None:
        with self.lock:
            self.lost += operation.outcome is UNKNOWN
            if operation.outcome is not UNKNOWN or operation.call.kind != "get":
                self.histories[key].append(operation)

    def take_before(self, epoch: int) -> dict[str, list[Operation]]:
        """The histories of keys of earlier epochs, which nobody works on any more."""
        with self.lock:
            old = [key for key in self.histories if int(key.split("-")[1]) < epoch]
            return {key: self.histories.pop(key) for key in old}

    @property
    def size(self) -> int:
        with self.lock:
            return sum(map(len, self.histories.values()))


class Client(threading.Thread):
    """Asks one agent, one request at a time, until `stopping` is set."""

    def __init__(
        self,
        number: int,
        address: str,
        session: str,
        record: Record,
        stopping: threading.Event,
        seed: int,
        place: Callable[[], AbstractContextManager[None]],
    ) -> None:
        super().__init__(name=f"client {number}", daemon=True)
        self._number, self._address, self._session = number, address, session
        self._record, self._stopping, self._place = record, stopping, place
        self._rng = random.Random(f"{seed} {number}")
        self._connection: http.client.HTTPConnection | None = None
        self._versions: dict[str, tuple[State, int]] = {}
        self._written = 0

    def run(self) -> None:
        with self._place():
            while not self._stopping.is_set():
                key = f"epoch-{epoch_of(time.monotonic())}-{self._rng.randrange(KEYS)}"
                call = self._next_call(key)
                before = time.monotonic()
                try:
                    outcome, after = self._perform(key, call), time.monotonic()
                except LostError:
                    self._record.add(key, Operation(self._number, call, UNKNOWN, before))
                    self._stopping.wait(self._rng.uniform(0.1, 0.4))
                    continue
                self._record.add(key, Operation(self._number, call, outcome, before, after))
                self._stopping.wait(self._rng.uniform(0, _PAUSE_S))

    def _next_call(self, key: str) -> Call:
        kind = self._rng.choices(["get", "set", "cas", "delete", "lock", "unlock"], weights=[45, 15, 20, 3, 8, 9])[0]
        self._written += 1
        value = f"{self._number}.{self._written}"
        arguments: dict[str, tuple[Any, ...]] = {
            "get": (),
            "set": (value,),
            "cas": (self._versions.get(key, (ABSENT, 0))[0].value, value),
            "delete": (),
            "lock": (self._session, value),
            "unlock": (self._session, value),
        }
        return Call(kind, arguments[kind])

    def _perform(self, key: str, call: Call) -> Any:
        """The outcome. Raises LostError."""
        path = f"/v1/kv/{key}"
        value = call.arguments[-1].encode() if call.arguments else b""
        if call.kind == "get":
            return self._read(key, path + self._rng.choice(_READS))
        if call.kind == "delete":
            return self._ask("DELETE", path) == b"true"
        index = self._versions.get(key, (ABSENT, 0))[1]
        query = {"set": "", "cas": f"?cas={index}"}.get(call.kind)
        if query is None:
            query = f"?{'acquire' if call.kind == 'lock' else 'release'}={self._session}"
        return self._ask("PUT", path + query, value) == b"true"

    def _read(self, key: str, path: str) -> State:
        body = self._ask("GET", path)
        if not body:
            self._versions[key] = ABSENT, 0
            return ABSENT
        [entry] = json.loads(body)
        state = State(base64.b64decode(entry["Value"]).decode(), entry.get("Session", ""))
        self._versions[key] = state, entry["ModifyIndex"]
        return state

    def _ask(self, method: str, path: str, body: bytes = b"") -> bytes:
        """The body of a 200, nothing for a 404. Raises LostError for all else."""
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection(self._address, 8500, timeout=REQUEST_TIMEOUT_S)
            self._connection.request(method, path, body)
            answer = self._connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            if self._connection is not None:
                self._connection.close()
            self._connection = None
            raise LostError from error
        if answer.status == 404:
            return b""
        if answer.status != 200:
            raise LostError
        return text


def epoch_of(moment_s: float) -> int:
    return int(moment_s / EPOCH_S)


def make_sessions(ask: Callable[[str, str, Any], Any], count: int) -> list[str]:
    """Sessions that end only when they are destroyed: they stand on a node that has no checks.

    ask(method, path, object) -> parsed answer."""
    ask("PUT", "/v1/catalog/register", {"Node": "clients", "Address": "10.99.1.1"})
    body = {"Node": "clients", "Checks": [], "LockDelay": "0s"}
    return [ask("PUT", "/v1/session/create", body)["ID"] for _ in range(count)]


@contextlib.contextmanager
def working(clients: Sequence[Client], stopping: threading.Event) -> Any:
    """Clients at work until the end of the block."""
    for client in clients:
        client.start()
    try:
        yield
    finally:
        stopping.set()
        for client in clients:
            client.join(REQUEST_ENDS_WITHIN_S)
