"""Core: everything the endpoints of one server share, and the ways in which they read and write state."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import trio

from services.rpc_core.agent_core import AgentCore
from services.rpc_core.errors import NotReadyError, RpcError, from_neighbour
from services.rpc_core.forwarding import Forwarder
from services.rpc_core.leader.autopilot.health import Judgement
from services.rpc_core.leader.session_timers import SessionTimers
from services.rpc_core.pool import Pools
from services.rpc_core.router import JITTER_FRACTION, Router
from shared import metrics
from shared.config.runtime import RuntimeConfig, split_host_port
from shared.ipc import IpcError, Link, RemoteError
from shared.server_rpc.pool import ServerPool
from shared.state.answer import Answer
from shared.state.errors import StateError
from shared.state.leadership import LEADER
from shared.state.reader import StateReader
from shared.state.snapshot import Snapshot
from shared.state.watch import WatchHub
from shared.structs.commands import encode
from shared.structs.query import QueryMeta, QueryOptions
from shared.structs.schema import Struct

T = TypeVar("T")
Query = Callable[[Snapshot], Answer[T]]

APPLY_TIMEOUT_S = 30.0
"""How long a command may take to be committed (Consul's enqueue limit)."""
READ_INDEX_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Reply(Generic[T]):
    """A read's metadata and value."""

    meta: QueryMeta
    value: T

    def to_wire(self, name: str, value: Any) -> dict[str, Any]:
        """The reply struct {name: value} with the query's metadata flattened into it."""
        return {**self.meta.to_wire(), name: value}


class StateAtHand(Protocol):
    """One state, and what may be read from it without waiting."""

    def read(self, datacenter: str, options: QueryOptions, query: Query[T]) -> Reply[T]: ...


class Core(AgentCore):
    """Of a server, one per process. Endpoints get it as their first argument."""

    def __init__(
        self,
        config: RuntimeConfig,
        *,
        raft: Link,
        gossip: Link,
        reader: StateReader,
        hub: WatchHub,
        router: Router,
        rng: random.Random,
    ) -> None:
        super().__init__(
            config,
            gossip=gossip,
            pools=Pools(gossip, wan=config.server and bool(config.serf_wan_bind_addr)),
            servers=ServerPool(split_host_port(config.rpc_bind_addr)[0]),
            rng=rng,
        )
        self.forwarder = Forwarder(router, self.servers, config.default_query_time_s)
        self.raft = raft
        self.reader = reader
        self.hub = hub
        self.router = router
        self.session_timers = SessionTimers()
        self.established = trio.Event()
        """Set while this server leads and has finished what a new leader starts with."""
        self.reconciled = trio.Event()
        """Set while this server leads and the catalog has been compared with gossip once."""
        self.raft_changes = trio.Lock()
        """Held while the Raft configuration is changed: one server after the other."""
        self.judgement = Judgement()
        """Autopilot's view of the servers; empty unless this server leads."""
        self.coordinate_updates: dict[tuple[str, str], Any] = {}
        """Newest coordinate per (node, segment) that waits for the next batch."""
        self._blocking = 0
        self.at_hand: StateAtHand | None = None
        """While a handler runs that may not wait: where its read is answered from."""

    async def let_the_leader_go_first(self) -> None:
        """The leader (which may be this server) registers a new node; the agent completes its entry after that.

        Returns when it has, or another server leads; at the latest after the hold timeout."""
        with trio.move_on_after(self.router.hold_timeout_s):
            while not self.reconciled.is_set():
                leadership = self.router.leadership()
                if leadership.known_leader and leadership.role != LEADER:
                    return
                await self.router.pause()

    # -- writing -------------------------------------------------------------------------------------

    async def apply(self, request: Struct) -> Any:
        """Commit `request` to the log and return the FSM's result. Raises RpcError.

        If this server lost its office before the command entered the log, it is waited for as long as nobody else
        takes it; else ElsewhereError says who leads."""
        return await self.apply_command(encode(request))

    async def apply_command(self, command: bytes) -> Any:
        """As `apply`, for a command that is encoded already."""
        while True:
            try:
                _, result = await self.raft.call("Raft.Apply", command, timeout_s=APPLY_TIMEOUT_S)
            except RemoteError as error:
                if error.code not in ("not_leader", "no_leader"):
                    raise from_neighbour(error) from None
                # The page will say so soon; raft_node must not be asked in a tight loop.
                await self.router.pause()
                await self.router.wait_to_lead()
            except IpcError as error:
                raise from_neighbour(error) from None
            else:
                return result

    # -- reading -------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """The newest state. Raises RpcError while there is none."""
        try:
            return self.reader.snapshot()
        except StateError as error:
            raise RpcError(str(error)) from None

    async def wait_for_state(self) -> None:
        """Returns when there is a state to read, at the latest after the hold timeout: raft_node may be
        rebuilding it."""
        give_up_at = trio.current_time() + self.router.hold_timeout_s
        while not self.reader.available() and trio.current_time() < give_up_at:
            await self.router.pause()

    def query_meta(self, index: int) -> QueryMeta:
        leadership = self.router.leadership()
        return QueryMeta(
            index=index,
            last_contact=self.router.last_contact_ns(),
            known_leader=leadership.known_leader,
        )

    async def read(self, method: str, datacenter: str, options: QueryOptions, query: Query[T]) -> Reply[T]:
        """Answer a read: wait for a leader if it needs one, for its consistency, and for a newer index.

        `query` may be called several times, each with its own snapshot. Raises RpcError."""
        if self.at_hand is not None:
            return self.at_hand.read(datacenter, options, query)
        await self.router.answer_here(method, datacenter, stale=options.allow_stale)
        await self.wait_for_state()
        metrics.incr("consul.rpc.query")
        if options.min_query_index == 0:
            return await self._read_once(options, query)
        give_up_at = self.give_up_at(options)
        with self.counted_as_blocking():
            return await self._read_blocking(options, query, give_up_at)

    async def _read_once(self, options: QueryOptions, query: Query[T]) -> Reply[T]:
        if options.require_consistent:
            await self.confirm_leadership()
        with self.snapshot() as snap:
            answer = query(snap)
        return Reply(self.query_meta(max(answer.index, 1)), answer.value)

    async def _read_blocking(self, options: QueryOptions, query: Query[T], give_up_at: float) -> Reply[T]:
        while True:
            if options.require_consistent:
                await self.confirm_leadership()
            woken = trio.Event()
            with self.snapshot() as snap:
                generation = snap.generation
                answer = query(snap)
            reply = Reply(self.query_meta(max(answer.index, 1)), answer.value)
            if reply.meta.index > options.min_query_index:
                return reply
            registration = self.hub.register(answer.watch, woken.set)
            try:
                with trio.move_on_at(give_up_at) as scope:
                    await woken.wait()
            finally:
                registration.cancel()
            if scope.cancelled_caught:
                return reply
            with self.snapshot() as snap:
                if snap.generation != generation:  # the state was replaced: let the caller look around
                    return reply

    def give_up_at(self, options: QueryOptions) -> float:
        """When a blocking query that begins now has waited long enough. trio's time."""
        timeout_s = self._query_timeout_s(options)
        return trio.current_time() + timeout_s + self.rng.random() * timeout_s / JITTER_FRACTION

    def _query_timeout_s(self, options: QueryOptions) -> float:
        timeout_s = options.max_query_time / 1e9
        if timeout_s > self.config.max_query_time_s:
            return self.config.max_query_time_s
        return timeout_s if timeout_s > 0 else self.config.default_query_time_s

    @contextmanager
    def counted_as_blocking(self) -> Iterator[None]:
        self._blocking += 1
        metrics.gauge("consul.rpc.queries_blocking", self._blocking)
        try:
            yield
        finally:
            self._blocking -= 1
            metrics.gauge("consul.rpc.queries_blocking", self._blocking)

    async def confirm_leadership(self) -> int:
        """A heartbeat round proves that we still lead, and everything committed before it is readable: up to the index
        that is returned."""
        started = trio.current_time()
        try:
            index: int = await self.raft.call("Raft.ReadIndex", timeout_s=READ_INDEX_TIMEOUT_S, retry_safe=True)
        except IpcError as error:
            if isinstance(error, RemoteError) and error.code in ("not_leader", "no_leader"):
                raise self.router.elsewhere() from None
            raise from_neighbour(error) from None
        with trio.move_on_at(started + self.router.hold_timeout_s) as scope:
            await self.established.wait()
        if scope.cancelled_caught:
            raise NotReadyError
        metrics.sample("consul.rpc.consistentRead", (trio.current_time() - started) * 1000)
        return index
