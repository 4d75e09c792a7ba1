"""The leader loop: what a server does as long as Raft says that it leads.

On taking office: announce it, wait for a barrier, establish (tombstone and session timers, autopilot's
configuration), reconcile the catalog with gossip. Then: members as they change, everything once a minute,
tombstones and sessions when their time has come."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import trio

from services.rpc_core.core import Core
from services.rpc_core.errors import RpcError
from services.rpc_core.event_request import NEW_LEADER_EVENT
from services.rpc_core.leader.autopilot.autopilot import Autopilot
from services.rpc_core.leader.establish import NOTHING, autopilot_defaults, inherit
from services.rpc_core.leader.member_duties import MemberDuties
from services.rpc_core.leader.raft_membership import TRANSFER_ATTEMPTS, give_up_leadership, raft_servers
from services.rpc_core.leader.session_expiry import expire_for_ever
from services.rpc_core.leader.tombstones import TombstoneTimer
from services.rpc_core.members import Member, acl_mode
from shared import metrics
from shared.gotext.quoting import quote
from shared.ipc import IpcError
from shared.log import get_logger
from shared.state.leadership import LEADER
from shared.structs.kv import TombstoneRequest

_log = get_logger("agent.server")
_autopilot_log = get_logger("agent.server.autopilot")

BARRIER_TIMEOUT_S = 120.0
RECONCILE_INTERVAL_S = 60.0
RETRY_ESTABLISH_S = 5.0
TOMBSTONE_LOOK_INTERVAL_S = 1.0
MEMBER_QUEUE_MAX = 256
CALL_TIMEOUT_S = 10.0


class LeaderDuties:
    """Runs the loop whenever this server leads."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._autopilot = Autopilot(core)
        self._members = MemberDuties(core, self._autopilot.server_added)
        self._changed = trio.Event()
        self._tombstones = TombstoneTimer()
        self._tombstone_index = 0
        self._queue_in, self._queue_out = trio.open_memory_channel[Member](MEMBER_QUEUE_MAX)
        self._round_wanted = trio.Event()
        self._failed_rounds = 0
        self._reasserting: list[trio.Event] = []
        """Who waits for a round that begins after now, and establishes."""

    def leadership_changed(self) -> None:
        """Look at the leadership page again."""
        self._changed.set()

    def member_changed(self, member: Member) -> None:
        """A LAN member changed. A full queue drops it: the next full round finds it."""
        if self._core.router.leadership().role == LEADER:
            try:
                self._queue_in.send_nowait(member)
            except trio.WouldBlock:
                metrics.incr("consul.leader.reconcile.dropped")

    async def reassert(self) -> None:
        """The state was replaced under the leader: begin the office anew. Returns when that is done, as soon as
        this server leads (again, if it has lost its office meanwhile)."""
        done = trio.Event()
        self._reasserting.append(done)
        self._round_wanted.set()
        try:
            await done.wait()
        finally:
            self._reasserting.remove(done)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follows leadership until cancelled."""
        task_status.started()
        while True:
            await self._until(self._leads_now)
            term = self._core.router.leadership().term
            _log.info("cluster leadership acquired")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._lead)
                nursery.start_soon(expire_for_ever, self._core)
                nursery.start_soon(self._autopilot.run)
                await self._until(partial(self._no_longer_leads, term))
                _log.debug("shutting down leader loop")
                nursery.cancel_scope.cancel()
            self._revoke()
            _log.info("cluster leadership lost")

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._changed.wait()
            self._changed = trio.Event()

    def _leads_now(self) -> bool:
        """A page that raft_node has not opened in this run may be left over from an earlier one."""
        return self._core.raft.connected and self._core.router.leadership().role == LEADER

    def _no_longer_leads(self, term: int) -> bool:
        leadership = self._core.router.leadership()
        return leadership.role != LEADER or leadership.term != term

    # -- one term of office --------------------------------------------------------------------------

    async def _lead(self) -> None:
        await self._announce()
        while True:
            started = trio.current_time()
            waiting = tuple(self._reasserting)  # those that come later need a round of their own
            if self._round_wanted.is_set():
                self._round_wanted = trio.Event()
                self._revoke()
            reconciled = await self._round()
            if self._core.established.is_set():
                for done in waiting:
                    done.set()
            self._failed_rounds = 0 if reconciled and not self._members.incomplete else self._failed_rounds + 1
            await self._attend_until(started + self._interval_s(), reconciled)

    def _interval_s(self) -> float:
        """From round to round: a minute, and less after rounds in which something failed."""
        if not self._core.established.is_set():
            return RETRY_ESTABLISH_S
        if self._failed_rounds == 0:
            return RECONCILE_INTERVAL_S
        return min(RETRY_ESTABLISH_S * 2.0 ** (self._failed_rounds - 1), RECONCILE_INTERVAL_S)

    async def _announce(self) -> None:
        event = {"name": NEW_LEADER_EVENT, "payload": self._core.config.node_name.encode(), "coalesce": False}
        try:
            await self._core.gossip.call("Gossip.UserEvent", event, timeout_s=CALL_TIMEOUT_S)
        except IpcError as error:
            _log.warn("failed to broadcast new leader event on segment", segment="", error=str(error))

    async def _round(self) -> bool:
        """Barrier, establish if that is still to be done, reconcile everything. False if it failed."""
        started = trio.current_time()
        try:
            await self._core.raft.call("Raft.Barrier", timeout_s=BARRIER_TIMEOUT_S)
        except IpcError as error:
            _log.error("failed to wait for barrier", error=str(error))
            return False
        metrics.sample("consul.leader.barrier", (trio.current_time() - started) * 1000)
        if not self._core.established.is_set():
            try:
                await self._establish()
            except RpcError as error:
                _log.error("failed to establish leadership", error=str(error))
                self._revoke()
                await self._let_another_lead()
                return False
        try:
            await self._members.reconcile_all()
        except RpcError as error:
            _log.error("failed to reconcile", error=str(error))
            return False
        if not self._core.reconciled.is_set():
            self._core.reconciled.set()
            self._core.router.leadership_changed()
        return True

    async def _let_another_lead(self) -> None:
        """This server cannot do what a leader has to do; perhaps another can."""
        try:
            voters = sum(server.voter for server in await raft_servers(self._core))
        except RpcError:
            return
        if voters > 1 and not await give_up_leadership(self._core):
            text = f"failed to transfer leadership in {TRANSFER_ATTEMPTS} attempts"
            _log.error("failed to transfer leadership", error=text)

    async def _establish(self) -> None:
        core = self._core
        now = trio.current_time()
        leadership = core.router.leadership()
        self._check_acl_mode(leadership.leader_address)
        self._tombstones.enable()
        self._tombstones.hint(max(leadership.commit_index, leadership.applied_index), now)
        if core.reader.available():
            with core.snapshot() as snap:
                inherited = inherit(snap)
        else:
            # Everything before the barrier is applied, and there is no state: nothing was ever written.
            inherited = NOTHING
        self._tombstone_index = inherited.tombstone_index
        for session_id, ttl_s in inherited.session_ttls.items():
            core.session_timers.reset(session_id, ttl_s, now)
        await self._write_configured_entries()
        if not inherited.has_autopilot:
            try:
                await core.apply(autopilot_defaults(core.config))
            except RpcError as error:
                _autopilot_log.error("failed to initialize config", error=str(error))
        core.established.set()

    async def configuration_changed(self) -> None:
        """While in office, look again which config entries of the configuration do not exist. Raises RpcError."""
        if self._core.established.is_set():
            await self._write_configured_entries()

    async def _write_configured_entries(self) -> None:
        """Writes the entries of the configuration that do not exist. They belong to the primary datacenter. Raises
        RpcError if one cannot be written: a leader does not take office without them."""
        config = self._core.config
        if not config.config_entries_bootstrap or config.primary_datacenter not in ("", config.datacenter):
            return
        from services.rpc_core.leader.bootstrap import missing_entries

        for request in missing_entries(self._core):
            kind, name = quote(request.entry.kind_name), quote(request.entry.name)
            try:
                await self._core.apply_command(request.to_command())
            except RpcError as error:
                raise RpcError(f"Failed to apply configuration entry {kind} / {name}: {error}") from None

    def _check_acl_mode(self, leader_address: str) -> None:
        """New ACLs need every server to have them; with ACLs off that is for the log only."""
        if not self._core.config.acl.enabled:
            mode = acl_mode(self._core.pools.lan(), leader_address)
            _log.debug(
                "Cannot upgrade to new ACLs",
                leaderMode=mode.of_leader,
                mode=mode.of_all,
                found=mode.found,
                leader=leader_address,
            )

    def _revoke(self) -> None:
        self._tombstones.disable()
        self._core.session_timers.clear_all()
        self._core.established = trio.Event()
        self._core.reconciled = trio.Event()

    # -- what comes up between two rounds ------------------------------------------------------------

    async def _attend_until(self, next_round_at: float, reconciled: bool) -> None:
        """Members and tombstones until the next full round."""
        while (now := trio.current_time()) < next_round_at:
            self._look_for_tombstones(now)
            await self._reap_tombstones(now)
            wake_at = min(next_round_at, now + TOMBSTONE_LOOK_INTERVAL_S)
            if self._tombstones.deadline is not None:
                wake_at = min(wake_at, self._tombstones.deadline)
            member = None
            with trio.move_on_at(wake_at):
                member = await self._next_member(reconciled)
            if self._round_wanted.is_set():
                return
            if member is not None:
                await self._members.reconcile(member)
                if self._members.incomplete:
                    next_round_at = min(next_round_at, trio.current_time() + RETRY_ESTABLISH_S)

    async def _next_member(self, reconciled: bool) -> Member | None:
        """The next member that changed; None if a round is wanted at once. Before the first round was complete
        nobody in particular is looked at: the next round looks at every member anyway."""
        member: Member | None = None
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                await self._round_wanted.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            if not reconciled:
                await trio.sleep_forever()
            member = await self._queue_out.receive()
            nursery.cancel_scope.cancel()
        return member

    def _look_for_tombstones(self, now: float) -> None:
        """Deletes move the index of the tombstones table; a look a second is enough for bins of 30 s."""
        try:
            with self._core.snapshot() as snap:
                index = snap.index("tombstones")
        except RpcError:
            return
        if index > self._tombstone_index:
            self._tombstone_index = index
            self._tombstones.hint(index, now)

    async def _reap_tombstones(self, now: float) -> None:
        index = self._tombstones.expire(now)
        if index is None:
            return
        request = TombstoneRequest(datacenter=self._core.config.datacenter, op="reap", reap_index=index)
        try:
            await self._core.apply(request)
        except RpcError as error:
            _log.error("failed to reap tombstones up to index", index=index, error=str(error))
        metrics.sample("consul.leader.reapTombstones", (trio.current_time() - now) * 1000)
