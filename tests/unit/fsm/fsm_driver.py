"""Drives an FSM on a store of its own, one log entry at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from services.raft_node.fsm.machine import Entry, Fsm
from shared.state.answer import Answer
from shared.state.snapshot import Snapshot
from shared.state.store import StateStore
from shared.structs import wire
from shared.structs.catalog import DeregisterRequest, HealthCheck, NodeService, RegisterRequest
from shared.structs.kv import DirEntry, KVSRequest, TombstoneRequest
from shared.structs.schema import Struct
from shared.structs.session import Session, SessionRequest
from shared.structs.txn import TxnOp, TxnRequest

T = TypeVar("T")
Query = Callable[[Snapshot], Answer[T]]

S1, S2, S3 = (f"{n}{n}{n}{n}{n}{n}{n}{n}-0000-0000-0000-000000000000" for n in "123")
N1, N2 = "aaaaaaaa-0000-0000-0000-000000000000", "bbbbbbbb-0000-0000-0000-000000000000"


class Driver:
    """`index` is the index of the last entry; every command takes the next one."""

    def __init__(self, directory: Path, start: int = 10) -> None:
        self.store = StateStore.open(str(directory))
        self.fsm = Fsm(self.store)
        self.index = start
        self.topics: list[list[str]] = []
        self.now_ns = 1_000_000_000

    def command(self, kind: int, payload: Struct | bytes) -> Any:
        """Applies one command; returns its result (also a CommandError). `topics` are those it touched."""
        data = payload if isinstance(payload, bytes) else wire.pack(payload.to_wire())
        self.index += 1
        applied = self.fsm.apply_batch([Entry(self.index, 1, bytes((kind,)) + data)], self.now_ns)
        self.topics = applied.change[1]
        assert applied.change[0] == self.index
        return applied.results[0]

    def kv(self, op: str, key: str, value: bytes | None = None, **fields: Any) -> Any:
        return self.command(2, KVSRequest("dc1", op, DirEntry(key=key, value=value, **fields)))

    def register(self, node: str, *, address: str = "10.0.0.1", **fields: Any) -> Any:
        return self.command(0, RegisterRequest(datacenter="dc1", node=node, address=address, **fields))

    def register_service(self, node: str, service: str, service_id: str = "", **fields: Any) -> Any:
        made = NodeService(id=service_id or service, service=service, **fields)
        return self.register(node, service=made)

    def register_check(self, node: str, check_id: str, status: str = "passing", **fields: Any) -> Any:
        check = HealthCheck(node=node, check_id=check_id, name=check_id, status=status, **fields)
        return self.register(node, checks=[check])

    def deregister(self, node: str, service_id: str = "", check_id: str = "") -> Any:
        return self.command(1, DeregisterRequest(node=node, service_id=service_id, check_id=check_id))

    def session(self, session_id: str, node: str, **fields: Any) -> Any:
        return self.command(3, SessionRequest("dc1", "create", Session(id=session_id, node=node, **fields)))

    def destroy(self, session_id: str) -> Any:
        return self.command(3, SessionRequest("dc1", "destroy", Session(id=session_id)))

    def txn(self, *operations: TxnOp) -> Any:
        return self.command(8, TxnRequest("dc1", list(operations)))

    def reap(self, up_to: int) -> Any:
        return self.command(5, TombstoneRequest("dc1", "reap", up_to))

    def ask(self, query: Query[T]) -> Answer[T]:
        with self.store.snapshot() as snap:
            return query(snap)

    def row(self, name: str) -> int | None:
        """One of Consul's index rows."""
        with self.store.snapshot() as snap:
            return snap.index_row(name)

    def dump(self) -> bytes:
        return b"".join(self.fsm.write_snapshot())


@contextmanager
def driver(directory: Path) -> Iterator[Driver]:
    made = Driver(directory)
    try:
        yield made
    finally:
        made.store.close()
