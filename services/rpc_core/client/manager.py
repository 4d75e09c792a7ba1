"""ServerManager: the list of servers kept right by gossip and by what calls meet, and shuffled now and then."""

from __future__ import annotations

from collections.abc import Callable

import trio

from services.rpc_core.agent_core import AgentCore
from services.rpc_core.client.server_list import REUSE_MIN_S, ServerList, rebalance_wait_s
from services.rpc_core.members import Member, MemberStatus, Server, server_of
from shared import metrics
from shared.log import get_logger
from shared.server_rpc.errors import ServerCallError
from shared.wire import rpc

_log = get_logger("agent.router.manager")
_client_log = get_logger("agent.client")

PING = "Status.Ping"
PING_TIMEOUT_S = 10.0


class ServerManager:
    """One per client. on_server_up: called when a server has come."""

    def __init__(self, core: AgentCore, on_server_up: Callable[[], None]) -> None:
        self._core, self._on_server_up = core, on_server_up
        self.servers = ServerList()
        self.knows_many_reads: dict[str, bool] = {}
        """By address of the servers that were asked in the way of shared.many_reads, while they are here."""
        self.on_change: Callable[[], None] = lambda: None
        """Called when there may be another server to ask, or something new about it."""
        self.on_gone: Callable[[str], None] = lambda address: None
        """Called with the address of a server from which nothing is to be expected any more."""
        core.pools.on_lan_member = self._member_changed
        core.servers.on_silent = self.silent

    def find(self) -> Server | None:
        """The server to ask now."""
        server = self.servers.first()
        if server is None:
            _log.warn("No servers available")
        return server

    def failed(self, server: Server, method: str, error: Exception) -> None:
        """A call to it failed: the next one goes elsewhere."""
        _client_log.error("RPC failed to server", method=method, server=server.address, error=str(error))
        metrics.incr("consul.client.rpc.failed", labels=(("server", server.name),))
        self.turn_away(server)

    def turn_away(self, server: Server) -> None:
        if self.servers.failed(server):
            _log.debug("cycled away from server", server=str(server))
            self.on_change()

    def learn_many_reads(self, server: Server, *, known: bool) -> None:
        """Whether `server` knows our own addition (shared.many_reads), as it has shown."""
        if self.knows_many_reads.get(server.address) is not known and server in self.servers.all():
            self.knows_many_reads[server.address] = known
            self.on_change()

    def silent(self, address: str) -> None:
        """Reads go from a server that says nothing to one of which no such thing is known; while there is none, all
        wait for whoever speaks first. Writes stay: whether they are done only their own server can tell. It may be that
        another process of this agent has found it; then our own calls may do well there."""
        silent = {one.address for one in self.servers.all() if self._core.servers.is_silent(one.address)}
        silent.add(address)
        if any(one.address not in silent for one in self.servers.all()):
            while (first := self.servers.first()) is not None and first.address in silent:
                self.turn_away(first)
            if self._core.servers.is_silent(address):
                self._give_up(address, "nothing comes from the server")

    def _give_up(self, address: str, reason: str) -> None:
        self._core.servers.give_up(address, reason)
        self.on_gone(address)

    # -- gossip --------------------------------------------------------------------------------------

    def _member_changed(self, member: Member) -> None:
        server = server_of(member)
        if server is None:
            return
        if member.status != MemberStatus.ALIVE:
            self._remove(server)
            return
        if server.datacenter != self._core.config.datacenter:
            text = "server has joined the wrong cluster: wrong datacenter"
            _client_log.warn(text, server=member.name, datacenter=server.datacenter)
            return
        before = next((one for one in self.servers.all() if one.name == server.name), None)
        is_new = self.servers.add(server)
        self.knows_many_reads.pop(server.address, None)  # what has changed may be its program
        _client_log.info("adding server" if is_new else "updating server", server=str(server))
        self.on_change()  # first: what is given up must not come back
        if before is not None and before.address != server.address:
            self._give_up(before.address, "the server has moved")
        if is_new:
            self._on_server_up()

    def _remove(self, server: Server) -> None:
        _client_log.info("removing server", server=str(server))
        self.servers.remove(server.name)
        self.knows_many_reads.pop(server.address, None)
        self.on_change()
        # Calls that wait there would learn it from the connection alone, up to 40 seconds later.
        self._give_up(server.address, "the server has failed or left")

    # -- rebalancing ---------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Shuffles the list every few minutes, until cancelled."""
        task_status.started()
        wait_s = REUSE_MIN_S
        while True:
            await trio.sleep(wait_s)
            self._forget_the_gone()
            await self.rebalance()
            wait_s = rebalance_wait_s(len(self.servers), len(self._core.pools.lan()), self._core.rng)

    def _forget_the_gone(self) -> None:
        """Servers that left while gossip was away are in no event."""
        if self._core.pools.is_complete(trio.current_time()):
            living = {server.name for server in self._core.pools.lan_servers()}
            for server in self.servers.all():
                if server.name not in living:
                    self._remove(server)

    async def rebalance(self) -> None:
        """Shuffle; the first that answers a ping comes first. If none does, all stays as it is."""
        order = self.servers.shuffled(self._core.rng)
        for _ in range(len(order)):
            if await self._answers(order[0]):
                break
            order.append(order.pop(0))
        else:
            _log.debug("No healthy servers during rebalance, aborting")
            return
        if self.servers.begin_with(order):
            _log.debug(
                "Rebalanced servers, new active server",
                number_of_servers=len(self.servers),
                active_server=str(self.servers.first()),
            )
            self.on_change()

    async def _answers(self, server: Server) -> bool:
        try:
            await self._core.servers.call(server.address, PING, rpc.pack({}), timeout_s=PING_TIMEOUT_S)
        except ServerCallError as error:
            _log.debug("pinging server failed", server=str(server), error=str(error))
            return False
        return True
