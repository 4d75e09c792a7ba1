"""The members of the LAN pool, the catalog and the Raft configuration, brought together by the leader.

A member at a time: what fails for one is logged and tried again with the next round, and keeps nobody else waiting."""

from __future__ import annotations

from collections.abc import Callable

import trio

from services.rpc_core.core import Core
from services.rpc_core.errors import RpcError
from services.rpc_core.leader.autopilot.protocol import NoServersError
from services.rpc_core.leader.catalog_view import known_serf_nodes, read_entry
from services.rpc_core.leader.raft_membership import (
    add_server,
    other_bootstrap_server,
    raft_servers,
    remove_server,
)
from services.rpc_core.leader.reconcile import CONSUL_SERVICE, Refusal, reconcile
from services.rpc_core.members import Member, MemberStatus, Server, belongs_to_catalog, server_of
from shared import metrics
from shared.config.runtime import join_host_port
from shared.log import get_logger

_log = get_logger("agent.server")

SERVERS_FOR_SELF_JOIN_MIN = 3


class MemberDuties:
    """server_added: called when a server was put into the Raft configuration."""

    def __init__(self, core: Core, server_added: Callable[[], None]) -> None:
        self._core, self._server_added = core, server_added
        self.incomplete = False
        """Whether something has failed since the last full round began."""

    async def reconcile_all(self) -> None:
        """Everybody gossip knows, then everybody it has forgotten. Raises RpcError if there is no state."""
        pools = self._core.pools
        await pools.known.wait()
        self.incomplete = False
        members = pools.lan()
        for member in members:
            await self.reconcile(member)
        if not pools.is_complete(trio.current_time()):
            return
        known = {member.name for member in pools.lan()}
        with self._core.snapshot() as snap:
            forgotten = [name for name in known_serf_nodes(snap) if name not in known]
        for name in forgotten:
            await self.reconcile(self._reaped(name))

    def _reaped(self, name: str) -> Member:
        """A member that gossip has forgotten, but the catalog has not."""
        tags = {"role": "node", "dc": self._core.config.datacenter}
        return Member(name, "", 0, tags, MemberStatus.REAP, 0, 0, 0)

    async def reconcile(self, member: Member) -> None:
        """One member. Failures are logged."""
        if not belongs_to_catalog(member, self._core.config.datacenter):
            _log.warn("skipping reconcile of node", member=member.name)
            return
        started = trio.current_time()
        try:
            await self._reconcile(member)
        except (RpcError, NoServersError) as error:
            self.incomplete = True
            _log.error("failed to reconcile member", member=member.name, error=str(error))
        metrics.sample("consul.leader.reconcileMember", (trio.current_time() - started) * 1000)

    async def _reconcile(self, member: Member) -> None:
        """Raises RpcError, NoServersError."""
        core = self._core
        rival = self._rightful_owner(member)
        if rival is not None:
            _log.error("member has the node ID of another, ignoring it", member=member.name, other=rival.name)
            return
        server = server_of(member)
        if server is not None and member.status == MemberStatus.ALIVE:
            await self._join_server(member, server)
        elif member.status in (MemberStatus.LEFT, MemberStatus.REAP) and member.name != core.config.node_name:
            await self._part_with_server(member, server)
        with core.snapshot() as snap:
            entry = read_entry(snap, member.name)
        action = reconcile(member, entry, core.config.datacenter, core.config.node_name)
        if isinstance(action, Refusal):
            log = _log.warn if action.level == "warn" else _log.info
            log(action.message, **action.fields)
        elif action is not None:
            _log.info(action.message, **action.fields)
            await core.apply(action.request)

    def _rightful_owner(self, member: Member) -> Member | None:
        """The living member under whose name the catalog knows the node ID that `member` claims, if that is another.

        A server that runs on a copy of another's data would take its place in the Raft configuration and in the
        catalog; Consul lets it."""
        node_id = member.tags.get("id", "")
        others = [
            one
            for one in self._core.pools.lan()
            if one.tags.get("id") == node_id and one.name != member.name and one.status == MemberStatus.ALIVE
        ]
        if not node_id or not others:
            return None
        with self._core.snapshot() as snap:
            for other in others:
                known = read_entry(snap, other.name).node
                if known is not None and known.id == node_id:
                    return other
        return None

    async def _part_with_server(self, member: Member, server: Server | None) -> None:
        """Take a server that has gone out of the Raft configuration. One that gossip has forgotten is known
        by the catalog's entry of its service alone."""
        if server is not None:
            await remove_server(self._core, server.node_id, server.address)
            return
        with self._core.snapshot() as snap:
            entry = read_entry(snap, member.name)
        service = entry.services.get(CONSUL_SERVICE)
        if entry.node is not None and service is not None:
            await remove_server(self._core, entry.node.id, join_host_port(entry.node.address, service.port))

    async def _join_server(self, member: Member, server: Server) -> None:
        """A server needs a place in the Raft configuration. Our own is not touched in a small cluster: taking
        ourselves out to correct our address would cost the leadership."""
        members = self._core.pools.lan()
        other = other_bootstrap_server(members, server)
        if other is not None:
            _log.error(
                "Two nodes are in bootstrap mode. Only one node should be in bootstrap mode, not adding Raft peer.",
                node_to_add=member.name,
                other=other.name,
            )
            return
        configured = await raft_servers(self._core)
        if member.name == self._core.config.node_name and len(configured) < SERVERS_FOR_SELF_JOIN_MIN:
            _log.debug("Skipping self join check for node since the cluster is too small", node=member.name)
            return
        if await add_server(self._core, configured, server, members):
            self._server_added()
