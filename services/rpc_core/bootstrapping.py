"""Bootstrapping: the servers of `bootstrap_expect` found their cluster together, once.

A server without any Raft state waits until gossip shows as many voters as it expects, all expecting the same. If none
of them has Raft peers, it gives itself a first configuration of all of them. Others may do the same at the same time:
the first entries differ at most in the order of the servers, and Raft takes them for the same.

Unlike Consul, which goes on after its last try, nobody is founded with who cannot be asked: it may belong to a cluster
that exists. And only living members count."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import trio

from services.rpc_core.core import Core
from services.rpc_core.members import Member, MemberStatus, Server, server_of
from shared.gotext.durations import format_duration_s
from shared.ipc import IpcError, RemoteError
from shared.log import get_logger
from shared.server_rpc.errors import ServerCallError
from shared.wire import rpc

_log = get_logger("agent.server")

CALL_TIMEOUT_S = 10.0
BOOTSTRAP_TIMEOUT_S = 60.0
TRIES_MAX = 6
"""How often one server is asked for its peers, with pauses of 1, 2, 4, ... seconds, before all begins anew."""
RAFT_IDS_FROM = 3
"""Raft protocol from which servers have ids of their own; before, their address is their id."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """Why nothing may be founded with these members, and the line that says so."""

    message: str
    member: str


def founders(members: Iterable[Member], datacenter: str, expect: int) -> list[Server] | Conflict | None:
    """The servers to found a cluster of `expect` voters, None while some are missing."""
    servers = []
    for member in members:
        server = server_of(member)
        if server is None or member.status != MemberStatus.ALIVE:
            continue
        if server.datacenter != datacenter:
            _log.warn("Member has a conflicting datacenter, ignoring", member=member.name)
            continue
        if server.expect not in (0, expect):
            text = "Member has a conflicting expect value. All nodes should expect the same number."
            return Conflict(text, member.name)
        if server.bootstrap:
            return Conflict("Member has bootstrap mode. Expect disabled.", member.name)
        servers.append(server)
    voters = sum(not server.non_voter for server in servers)
    return servers if voters >= expect else None


class Bootstrapping:
    """`run` ends when there is nothing more to do: this server has state, or others do."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._changed = trio.Event()

    def member_changed(self, member: Member) -> None:
        """A LAN member changed; only servers matter."""
        if member.tags.get("role") == "consul":
            self._changed.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        config = self._core.config
        if config.bootstrap_expect == 0:
            return
        await self._core.pools.known.wait()
        while not await self._done():
            await self._changed.wait()
            self._changed = trio.Event()

    async def _done(self) -> bool:
        """Looks at the members once, and founds the cluster if they are complete."""
        core = self._core
        try:
            if await self._has_state():
                _log.info("Raft data found, disabling bootstrap mode")
                return True
            found = founders(core.pools.lan(), core.config.datacenter, core.config.bootstrap_expect)
            if isinstance(found, Conflict):
                _log.error(found.message, member=found.member)
                return False
            if found is None:
                return False
            for server in found:
                peers = await self._peers_of(server)
                if peers is None:
                    self._changed.set()
                    return False
                if peers:
                    _log.info("Existing Raft peers reported by server, disabling bootstrap mode", server=server.name)
                    return True
            self._found(found)
        except IpcError as error:
            _log.error("Failed to read last raft index", error=str(error))
            await trio.sleep(1.0)
            self._changed.set()
            return False
        return True

    async def _has_state(self) -> bool:
        stats = await self._core.raft.call("Raft.Stats", timeout_s=CALL_TIMEOUT_S, retry_safe=True)
        return int(stats["last_log_index"]) > 0 or int(stats["last_snapshot_index"]) > 0

    async def _peers_of(self, server: Server) -> list[str] | None:
        """Addresses in the Raft configuration of `server`, None if it could not be asked."""
        core = self._core
        if server.node_id == core.config.node_id:
            configuration = await core.raft.call("Raft.Configuration", timeout_s=CALL_TIMEOUT_S, retry_safe=True)
            return [one["address"] for one in configuration["servers"]]
        body = rpc.pack({"Datacenter": core.config.datacenter})
        for attempt in range(TRIES_MAX):
            try:
                peers = await core.servers.call(server.address, "Status.Peers", body, timeout_s=CALL_TIMEOUT_S)
            except ServerCallError as error:
                pause_s = float(1 << attempt)
                _log.error(
                    "Failed to confirm peer status for server (will retry).",
                    server=server.name,
                    retry_interval=format_duration_s(pause_s),
                    error=str(error),
                )
                await trio.sleep(pause_s)
            else:
                return list(peers or ())
        return None

    def _found(self, servers: list[Server]) -> None:
        _log.info(
            "Found expected number of peers, attempting bootstrap",
            peers=",".join(server.address for server in servers),
        )
        by_id = min(server.raft_version for server in servers) >= RAFT_IDS_FROM
        configuration = [
            {
                "id": server.node_id if by_id else server.address,
                "address": server.address,
                "voter": not server.non_voter,
            }
            for server in servers
        ]
        # Its answer comes when the others have the entry as well: nobody waits for that.
        self._core.raft.post("Raft.Bootstrap", configuration, _report, timeout_s=BOOTSTRAP_TIMEOUT_S)


def _report(_index: Any, error: IpcError | None) -> None:
    if isinstance(error, RemoteError):
        _log.error("Failed to bootstrap cluster", error=str(error))
