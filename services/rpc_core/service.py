"""rpc_core of a server: links to raft_node and gossip, rpc.sock, the RPC port, leader duties, own sync."""

from __future__ import annotations

import os
import random
from functools import partial

import trio

from services.rpc_core import snapshot_port
from services.rpc_core.agent import AgentMethods
from services.rpc_core.bootstrapping import Bootstrapping
from services.rpc_core.core import Core
from services.rpc_core.encoded_writes import CatalogApplyEncoded, Door, KvsApplyEncoded
from services.rpc_core.endpoints import coordinate
from services.rpc_core.endpoints.direct_writes import DirectWrites
from services.rpc_core.endpoints.kvs import lock_delayed
from services.rpc_core.endpoints.table import EndpointTable
from services.rpc_core.errors import RpcError
from services.rpc_core.late_writes import LateWrites
from services.rpc_core.leader.duties import LeaderDuties
from services.rpc_core.listener import RpcListener
from services.rpc_core.local.parts import LocalParts
from services.rpc_core.members import Member
from services.rpc_core.router import Router
from services.rpc_core.server_delegate import ServerDelegate
from services.rpc_core.snapshots import Snapshots
from shared import metrics
from shared.change_feed import ChangeFeed
from shared.config.runtime import RuntimeConfig
from shared.ipc import Link, Server, SocketPathError
from shared.log import get_logger
from shared.service import ReloadRefusedError, StartError
from shared.state.keys import bytes_text
from shared.state.leadership import FILE as LEADERSHIP_FILE
from shared.state.leadership import LeadershipPage
from shared.state.reader import StateReader
from shared.state.watch import WatchHub
from shared.wire.demux import ConnectionKind

_log = get_logger("agent.server")

LEADERSHIP_LOOK_INTERVAL_S = 1.0
"""How often the leadership page is looked at even without an event: events can be lost, the page cannot."""


class RpcCore:
    """One server's rpc_core. `run` serves until cancelled."""

    def __init__(self, config: RuntimeConfig, rng: random.Random | None = None) -> None:
        rng = rng or random.Random(int.from_bytes(os.urandom(16), "big"))
        self._raft = Link(config.socket_path("raft"), name="rpc_core")
        self._gossip = Link(config.socket_path("gossip"), name="rpc_core")
        self._page = LeadershipPage.open(os.path.join(config.state_dir, LEADERSHIP_FILE))
        self.core = Core(
            config,
            raft=self._raft,
            gossip=self._gossip,
            reader=StateReader(config.state_dir),
            hub=WatchHub(),
            router=Router(
                config.datacenter,
                config.performance.rpc_hold_timeout_s,
                self._page,
                rng,
                own_address=config.rpc_advertise_addr,
            ),
            rng=rng,
        )
        self._table = EndpointTable(self.core)
        self.local = LocalParts(
            self.core,
            self._table.call_for_agent,
            sync=self._table.call,
            logger="agent.server",
            before_sync=self.core.let_the_leader_go_first,
        )
        self._duties = LeaderDuties(self.core)
        self._bootstrapping = Bootstrapping(self.core)
        self._snapshots = Snapshots(
            self.core, partial(snapshot_port.ask_server, self.core.servers.dial), self._begin_anew
        )
        self._listener = RpcListener(
            config.rpc_bind_addr,
            handshake_timeout_s=config.limits.rpc_handshake_timeout_s,
            connections_per_client_max=config.limits.rpc_max_conns_per_client,
            answer=self._table.answer,
            answer_now=self._table.answer_now,
            begin_write=DirectWrites(self.core).begin,
            handoff=self._hand_over,
            serve_snapshot=partial(snapshot_port.serve, self._snapshots),
        )
        self._late_writes = LateWrites(self.core)
        self._door = Door(self._raft, allow=self.core.take_token, leads=self.core.router.leads)
        self._server = Server(config.socket_path("rpc"), name="rpc_core", on_batch_end=self._door.end_batch)
        self._wire_up()

    def _wire_up(self) -> None:
        kvs = KvsApplyEncoded(
            self._door,
            lock_delayed=lambda key: lock_delayed(self.core, bytes_text(key)),
            later=self._late_writes.kv,
        )
        self._server.fast("KVS.ApplyEncoded", kvs)
        catalog = CatalogApplyEncoded(self._door, later=self._late_writes.catalog)
        self._server.fast("Catalog.ApplyEncoded", catalog)
        self._server.fast("Metrics.Dump", lambda request: request.reply(metrics.dump()))
        self._table.serve(self._server)
        AgentMethods(self.core, ServerDelegate(self.core), self.local.agent).serve(self._server)
        self.local.serve(self._server)
        self._snapshots.serve(self._server)
        self._changes = ChangeFeed(self._raft, self.core.hub)
        self._raft.subscribe("leadership", lambda _: self._on_leadership())
        self._raft.on_up(self._on_raft_up)
        self.core.pools.on_lan_member = self._member_changed

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Raises StartError if a socket cannot be opened."""
        async with trio.open_nursery() as nursery:
            for link in (self._raft, self._gossip):
                await nursery.start(link.run)
            await nursery.start(self.core.pools.run)
            await nursery.start(self.core.servers.run)
            await nursery.start(self._late_writes.run)
            await nursery.start(self._bootstrapping.run)
            await nursery.start(self._duties.run)
            await nursery.start(self.local.run)
            await nursery.start(partial(coordinate.flush_for_ever, self.core))
            # The doors last: whoever comes in meets the agent's own data complete.
            try:
                await nursery.start(self._server.run)
                await nursery.start(self._listener.run)
            except (OSError, SocketPathError) as error:
                raise StartError(getattr(error, "strerror", None) or str(error)) from error
            nursery.start_soon(self._look_at_leadership)
            task_status.started()

    async def configure(self, config: RuntimeConfig) -> None:
        """Take over a reloaded configuration. Raises ReloadRefusedError for services and checks that do not fit."""
        self.core.configure(config)
        self._listener.configure(
            handshake_timeout_s=config.limits.rpc_handshake_timeout_s,
            connections_per_client_max=config.limits.rpc_max_conns_per_client,
        )
        await self.local.configure(config)
        try:
            await self._duties.configuration_changed()
        except RpcError as error:
            raise ReloadRefusedError(str(error)) from error

    async def drain(self) -> None:
        """Called before an end that was asked for, while everything still runs."""
        await self._listener.drain()

    def start_sync(self) -> None:
        """Begin to keep the catalog's entry of this agent right, and to run the watches."""
        self.local.start_sync()

    # -- events --------------------------------------------------------------------------------------

    def _member_changed(self, member: Member) -> None:
        self._duties.member_changed(member)
        self._bootstrapping.member_changed(member)
        if member.tags.get("role") == "consul":
            self._tell_addresses()

    def _tell_addresses(self) -> None:
        """Raft finds a server that has another address than in its configuration by what gossip says."""
        servers = self.core.pools.lan_servers()
        here = [one for one in servers if one.node_id and one.datacenter == self.core.config.datacenter]
        self._raft.notify("Raft.Addresses", {one.node_id: one.address for one in here})

    def _on_raft_up(self) -> None:
        self._tell_addresses()
        self._on_leadership()

    def _on_leadership(self) -> None:
        self.core.router.leadership_changed()
        self.core.servers.leader_is(self.core.router.leader_elsewhere())
        self._duties.leadership_changed()

    async def _begin_anew(self) -> None:
        """The state was replaced: the leader's timers, and what the catalog says of this agent, are of the old one."""
        await self._duties.reassert()
        self.local.agent.syncer.server_up()

    async def _look_at_leadership(self) -> None:
        while True:
            await trio.sleep(LEADERSHIP_LOOK_INTERVAL_S)
            self._duties.leadership_changed()

    # -- connections ---------------------------------------------------------------------------------

    def _hand_over(self, fd: int, source: str, kind: ConnectionKind) -> bool:
        door = kind == ConnectionKind.DOOR
        return self._raft.send_fds("Raft.Handoff", {"source": source, "door": door}, [fd])
