"""Anti-entropy shell: runs the schedule, compares the agent's node entry with the catalog and puts it right."""

from __future__ import annotations

from contextlib import suppress

import trio

from services.rpc_core.core import Core
from services.rpc_core.endpoints import catalog, health
from services.rpc_core.errors import RpcError
from services.rpc_core.local import node_info
from services.rpc_core.local.schedule import SyncKind, SyncSchedule
from shared.log import get_logger
from shared.state.leadership import LEADER
from shared.structs.catalog import SERF_CHECK_ID
from shared.structs.query import NodeSpecificRequest

_log = get_logger("agent")
_ae_log = get_logger("agent.anti_entropy")

READ_STALE_MAX_NS = 2_000_000_000
"""Its reads may be answered by any server that is at most this far behind."""
SYNC_TIMEOUT_S = 60.0


class StateSyncer:
    """One per agent."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._schedule = SyncSchedule(core.rng, trio.current_time(), core.config.ae_interval_s)
        self._nudged = trio.Event()
        self._node_in_sync = False
        self._started = trio.Event()

    def start(self) -> None:
        """The agent has started and joined: from now on the catalog shall say what it says."""
        if not self._started.is_set():
            self._started.set()
            _log.info("started state syncer")

    def server_up(self) -> None:
        """A leader was elected: compare everything within three seconds."""
        self._schedule.members = len(self._core.pools.lan())
        self._schedule.server_up(trio.current_time())
        self._nudged.set()

    def changed(self) -> None:
        """The agent's own data changed (for example by a reload)."""
        self._node_in_sync = False
        self._schedule.changed()
        self._nudged.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Syncs until cancelled, beginning with `start`."""
        task_status.started()
        await self._started.wait()
        await self._let_the_leader_go_first()
        while True:
            self._schedule.members = len(self._core.pools.lan())
            kind = self._schedule.due(trio.current_time())
            if kind is SyncKind.FULL:
                self._schedule.full_done(await self._sync_full(), trio.current_time())
            elif kind is SyncKind.CHANGES:
                with suppress(RpcError):  # logged; the next full sync tries again
                    await self._push()
            with trio.move_on_at(self._schedule.deadline):
                await self._nudged.wait()
            self._nudged = trio.Event()

    async def _let_the_leader_go_first(self) -> None:
        """The leader (which may be this server) registers a new node; the agent completes its entry after that."""
        core = self._core
        with trio.move_on_after(core.router.hold_timeout_s):
            while not core.reconciled.is_set():
                leadership = core.router.leadership()
                if leadership.known_leader and leadership.role != LEADER:
                    return
                await core.router.pause()

    async def _sync_full(self) -> bool:
        try:
            with trio.fail_after(SYNC_TIMEOUT_S):
                await self._compare()
                await self._push()
        except (RpcError, trio.TooSlowError) as error:
            _ae_log.error("failed to sync remote state", error=str(error) or "timed out")
            return False
        return True

    async def _compare(self) -> None:
        core = self._core
        config = core.config
        request = NodeSpecificRequest(
            datacenter=config.datacenter,
            node=config.node_name,
            token=config.acl.tokens.agent or config.acl.tokens.default,
            allow_stale=True,
            max_stale_duration=READ_STALE_MAX_NS,
        )
        services = await catalog.read_node_service_list(core, request)
        node = None if services is None else services.node
        if not node_info.is_in_sync(node, config):
            self._node_in_sync = False
        for check in await health.read_node_checks(core, request):
            if check.check_id == SERF_CHECK_ID:
                _log.debug(
                    "Skipping remote check since it is managed automatically", check=SERF_CHECK_ID
                )

    async def _push(self) -> None:
        if self._node_in_sync:
            _log.debug("Node info in sync")
            return
        try:
            await catalog.register(self._core, node_info.registration(self._core.config))
        except RpcError as error:
            _log.warn("Syncing node info failed.", error=str(error))
            raise
        self._node_in_sync = True
        _log.info("Synced node info")
