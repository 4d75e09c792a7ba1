"""Anti-entropy shell: runs the schedule, compares the local state with the catalog, and brings the catalog to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio

from services.rpc_core.agent_core import AgentCore
from services.rpc_core.errors import RpcError
from services.rpc_core.local import node_info
from services.rpc_core.local.pushes import Kind, Outcome, Push, Pushes
from services.rpc_core.local.schedule import SyncKind, SyncSchedule
from services.rpc_core.local.state import LocalState
from services.rpc_core.replies import reading
from shared.config.runtime import RuntimeConfig
from shared.log import get_logger
from shared.structs.catalog import HealthCheck, NodeServiceList
from shared.structs.query import NodeSpecificRequest

_log = get_logger("agent")
_ae_log = get_logger("agent.anti_entropy")

READ_STALE_MAX_NS = 2_000_000_000
"""Its reads may be answered by any server that is at most this far behind."""
SYNC_TIMEOUT_S = 60.0
"""Longest full sync, beside what its pushes may take."""
_BLOCKED = ("Permission denied", "ACL not found")
_GONE = ("Unknown service", "Unknown check")

EndpointCall = Callable[[str, Any], Awaitable[Any]]
"""A Consul RPC method with its wire struct, wherever it is answered. Raises RpcError."""


Wait = Callable[[], Awaitable[None]]


class StateSyncer:
    """One per agent. call: how it reaches the catalog. before: what is waited for ahead of the first sync."""

    def __init__(self, core: AgentCore, state: LocalState, call: EndpointCall, before: Wait | None = None) -> None:
        self._core = core
        self._before = before
        self._state = state
        self._call = call
        self._schedule = SyncSchedule(core.rng, trio.current_time(), core.config.ae_interval_s)
        self._pushes = Pushes(state, core.config)
        self._nudged = trio.Event()
        self._started = trio.Event()
        self._lock = trio.Lock()
        self._passes_begun = self._passes_ended = 0
        state.on_change, state.on_deadline = self.changed, self._look_again

    def start(self) -> None:
        """The agent has started and joined: from now on the catalog shall say what it says."""
        if not self._started.is_set():
            self._started.set()
            _log.info("started state syncer")

    def configure(self, config: RuntimeConfig) -> None:
        """Take over a reloaded configuration: the node may say other things of itself."""
        self._pushes.config = config
        self._state.node_changed()

    def server_up(self) -> None:
        """A leader was elected: compare everything within three seconds."""
        self._schedule.members = len(self._core.pools.lan())
        self._schedule.server_up(trio.current_time())
        self._nudged.set()

    def changed(self) -> None:
        """The agent's own data changed."""
        self._schedule.changed()
        self._nudged.set()

    def _look_again(self) -> None:
        self._nudged.set()

    def pause(self) -> None:
        """Until `resume`, nothing is brought to the catalog by itself: many changes are under way."""
        self._schedule.pause()

    def resume(self) -> None:
        self._schedule.resume()
        self._nudged.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Syncs until cancelled, beginning with `start`."""
        task_status.started()
        await self._started.wait()
        if self._before is not None:
            await self._before()
        while True:
            self._schedule.members = len(self._core.pools.lan())
            self._state.end_deferral(trio.current_time())
            kind = self._schedule.due(trio.current_time())
            if kind is SyncKind.FULL:
                self._schedule.full_done(await self._sync_full(), trio.current_time())
            elif kind is SyncKind.CHANGES and not self._pushes.all_brought:
                await self._sync_changes()
            with trio.move_on_at(min(self._schedule.deadline, self._state.deadline or float("inf"))):
                await self._nudged.wait()
            self._nudged = trio.Event()

    async def sync_now(self) -> None:
        """Brings to the catalog what changed before this call, for all that wait for it in one pass.

        Failures are logged only, as in Consul: the agent knows of the change, the catalog will."""
        try:
            await self._push_all()
        except RpcError as error:
            _log.error("failed to sync changes", error=str(error))

    async def _sync_changes(self) -> None:
        try:
            await self._push_all()
        except RpcError as error:
            _ae_log.error("failed to sync changes", error=str(error))

    async def _sync_full(self) -> bool:
        try:
            with trio.fail_after(SYNC_TIMEOUT_S):
                await self._compare()
            await self._push_all()
        except (RpcError, trio.TooSlowError) as error:
            _ae_log.error("failed to sync remote state", error=str(error) or "timed out")
            return False
        return True

    async def _compare(self) -> None:
        config = self._pushes.config
        request = NodeSpecificRequest(
            datacenter=config.datacenter,
            node=config.node_name,
            token=config.acl.tokens.agent or config.acl.tokens.default,
            allow_stale=True,
            max_stale_duration=READ_STALE_MAX_NS,
        ).to_wire()
        reply = await self._call("Catalog.NodeServiceList", request)
        with reading("Catalog.NodeServiceList"):
            theirs = NodeServiceList.from_wire(reply["NodeServices"])
        reply = await self._call("Health.NodeChecks", request)
        with reading("Health.NodeChecks"):
            checks = [HealthCheck.from_wire(each) for each in reply["HealthChecks"] or ()]
        is_right = node_info.is_in_sync(theirs.node, config)
        for check_id in self._state.compare(is_right, theirs.services or (), checks):
            _log.debug("Skipping remote check since it is managed automatically", check=check_id)

    async def _push_all(self) -> None:
        """One pass over everything that is to be brought to the catalog. Raises RpcError at the first failure.

        A pass that began after this call, and ended, did its work too."""
        wanted = self._passes_begun + 1
        async with self._lock:
            if self._passes_ended >= wanted:
                return
            self._passes_begun += 1
            number = self._passes_begun  # a pass that is cancelled half way does not count as ended
            try:
                for push in self._pushes.pending():
                    self._pushes.done(push, await self._send(push))
            except RpcError:
                self._passes_ended = number
                raise
            self._passes_ended = number

    async def _send(self, push: Push) -> Outcome:
        removal = push.kind in (Kind.SERVICE_REMOVAL, Kind.CHECK_REMOVAL)
        method = "Catalog.Deregister" if removal else "Catalog.Register"
        try:
            await self._call(method, push.request.to_wire())
        except RpcError as error:
            text = str(error)
            if any(part in text for part in _BLOCKED):
                return Outcome.BLOCKED
            if removal and any(part in text for part in _GONE):
                return Outcome.DONE
            self._pushes.failed(push, text)
            raise
        return Outcome.DONE
