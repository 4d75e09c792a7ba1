"""The shell of autopilot: asks all servers for their figures, then promotes and removes as the cores say.

Consul promotes every ten seconds; here whoever has earned a vote gets it with the next look, at most two seconds
later. Dead servers are looked for every ten seconds, and at once when a server has been added or promoted."""

from __future__ import annotations

import time
from collections.abc import Sequence

import trio

from services.rpc_core.core import Core
from services.rpc_core.errors import RpcError, from_neighbour
from services.rpc_core.leader.autopilot.health import Judgement, RaftStats, Sample, StatsError, judge
from services.rpc_core.leader.autopilot.promotion import promotable
from services.rpc_core.leader.autopilot.protocol import WITH_NON_VOTERS, NoServersError, min_raft_protocol
from services.rpc_core.leader.autopilot.removal import plan
from services.rpc_core.leader.raft_membership import ADD_VOTER, REMOVE_SERVER, change, raft_servers
from services.rpc_core.members import Member, MemberStatus, Server, server_of
from shared import metrics
from shared.ipc import IpcError
from shared.log import get_logger
from shared.server_rpc.errors import ServerCallError
from shared.state.queries import operator
from shared.structs.operator import AutopilotConfig
from shared.wire import rpc

_log = get_logger("agent.server.autopilot")
_server_log = get_logger("agent.server")

HEALTH_INTERVAL_S = 2.0
"""Consul's. `consul.server.health_interval` exists in its configuration, yet nothing reads it."""
REMOVAL_INTERVAL_S = 10.0
ANSWER_TIMEOUT_S = HEALTH_INTERVAL_S / 2
"""For the figures of one server: all are asked at once, so that they are of about the same moment."""
CALL_TIMEOUT_S = 10.0
NO_BODY = rpc.pack({})


class Autopilot:
    """`run` looks after the cluster until cancelled: as long as this server leads."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._removal_wanted = trio.Event()

    def server_added(self) -> None:
        """Look for dead servers at once: now there may be enough living ones."""
        self._removal_wanted.set()

    async def run(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._look_for_ever)
                nursery.start_soon(self._remove_for_ever)
        finally:
            self._core.judgement = Judgement()

    def _config(self) -> AutopilotConfig | None:
        """The settings in force. Raises RpcError while there is no state."""
        with self._core.snapshot() as snap:
            return operator.autopilot_config(snap).value

    # -- health and promotion ------------------------------------------------------------------------

    async def _look_for_ever(self) -> None:
        while True:
            await trio.sleep(HEALTH_INTERVAL_S)
            if not self._core.established.is_set():
                continue
            try:
                await self._look()
            except NoServersError as error:
                text = f"error getting server raft protocol versions: {error}"
                _log.error("Error updating cluster health", error=text)
            except RpcError as error:
                _log.error("Error updating cluster health", error=str(error))
            else:
                await self._promote()

    async def _look(self) -> None:
        """Raises NoServersError, RpcError."""
        core = self._core
        members = core.pools.lan()
        config = self._config() if min_raft_protocol(members) >= WITH_NON_VOTERS else None
        if config is None:
            return
        configured = await raft_servers(core)
        own = await self._own_stats()
        sample = Sample(
            configured,
            members,
            {**await self._stats_of_others(members), core.config.node_id: own},
            core.router.leadership().leader_address,
            own.last_index,
            own.last_term,
            trio.current_time(),
            time.time_ns(),
        )
        core.judgement = judge(sample, config, core.judgement)
        for server, problem in core.judgement.problems:
            _log.warn("Error updating server health", server=str(server), error=problem)
        metrics.gauge("consul.autopilot.failure_tolerance", core.judgement.reply.failure_tolerance)
        metrics.gauge("consul.autopilot.healthy", int(core.judgement.reply.healthy))

    async def _own_stats(self) -> RaftStats:
        """Raises RpcError."""
        try:
            stats = await self._core.raft.call("Raft.Stats", timeout_s=CALL_TIMEOUT_S, retry_safe=True)
        except IpcError as error:
            raise from_neighbour(error) from None
        return RaftStats(stats["last_contact"], int(stats["last_log_term"]), int(stats["last_log_index"]))

    async def _stats_of_others(self, members: Sequence[Member]) -> dict[str, RaftStats]:
        """The figures of all servers that answer in time, by server id."""
        found: dict[str, RaftStats] = {}

        async def fetch(server: Server) -> None:
            with trio.move_on_after(ANSWER_TIMEOUT_S) as scope:
                try:
                    reply = await self._core.servers.call(server.address, "Status.RaftStats", NO_BODY)
                    found[server.node_id] = RaftStats.from_wire(reply)
                except (ServerCallError, StatsError) as error:
                    _warn(server, str(error))
            if scope.cancelled_caught:
                _warn(server, "context deadline exceeded")

        async with trio.open_nursery() as nursery:
            for member in members:
                server = server_of(member) if member.status != MemberStatus.LEFT else None
                if server is not None and server.node_id != self._core.config.node_id:
                    nursery.start_soon(fetch, server)
        return found

    async def _promote(self) -> None:
        core = self._core
        config = self._config()
        if config is None:
            return
        try:
            promotions = promotable(await raft_servers(core), core.judgement, config, trio.current_time())
            for server in promotions:
                _log.info("Promoting server to voter", server=str(server))
                await change(core, ADD_VOTER, server.server_id, server.address)
                self.server_added()
        except RpcError as error:
            _log.error("Error promoting servers", error=f"error handling promotions: failed to add raft peer: {error}")

    # -- the dead ------------------------------------------------------------------------------------

    async def _remove_for_ever(self) -> None:
        while True:
            with trio.move_on_after(REMOVAL_INTERVAL_S):
                await self._removal_wanted.wait()
            self._removal_wanted = trio.Event()
            if not self._core.established.is_set():
                continue
            try:
                await self._remove_dead_servers()
            except (RpcError, NoServersError) as error:
                _log.error("Error checking for dead servers to remove", error=str(error))

    async def _remove_dead_servers(self) -> None:
        """Raises NoServersError, RpcError."""
        core = self._core
        config = self._config()
        if config is None or not config.cleanup_dead_servers:
            return
        configured = await raft_servers(core)
        members = core.pools.lan()
        min_raft_protocol(members)  # without any living server there is nothing to learn from gossip
        if not core.pools.is_complete(trio.current_time()):
            # A gossip that was just started again has yet to find them: nobody is taken for gone.
            known = {server.address for server in map(server_of, members) if server is not None}
            configured = [server for server in configured if server.address in known]
        removal = plan(configured, members, config.min_quorum)
        if removal.refusal:
            _log.debug("Failed to remove dead servers", error=removal.refusal)
        async with trio.open_nursery() as nursery:
            for member in removal.forced_out:
                _log.info("Attempting removal of failed server node", name=member.name)
                nursery.start_soon(self._force_out, member)
        for stale in removal.stale:
            _log.info("Attempting removal of stale server", server=str(stale))
            await change(core, REMOVE_SERVER, stale.server_id, stale.address)

    async def _force_out(self, member: Member) -> None:
        """Its state in gossip becomes "left"; then the reconciliation of members takes it out of Raft."""
        names = {"lan": member.name, "wan": f"{member.name}.{member.tags.get('dc', '')}"}
        for pool, name in names.items():
            payload = {"pool": pool, "node": name, "prune": False}
            try:
                await self._core.gossip.call("Gossip.ForceLeave", payload, timeout_s=CALL_TIMEOUT_S)
            except IpcError as error:
                _log.warn("Failed to remove node", node=name, error=str(error))


def _warn(server: Server, error: str) -> None:
    _server_log.warn("error getting server health from server", server=server.name, error=error)
