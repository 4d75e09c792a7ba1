"""rpc_core as a process: links to raft_node and gossip, rpc.sock, the RPC port, leader duties, own sync."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from functools import partial
from typing import Any

import trio

from services.rpc_core import snapshot_port
from services.rpc_core.agent import AgentMethods
from services.rpc_core.bootstrapping import Bootstrapping
from services.rpc_core.core import Core
from services.rpc_core.endpoints import coordinate
from services.rpc_core.endpoints.event import SERF_PREFIX
from services.rpc_core.endpoints.kvs import lock_delayed
from services.rpc_core.endpoints.table import EndpointTable
from services.rpc_core.errors import RpcError
from services.rpc_core.hot_path import CatalogApplyEncoded, Door, KvsApplyEncoded
from services.rpc_core.late_writes import LateWrites
from services.rpc_core.leader.duties import NEW_LEADER_EVENT, LeaderDuties
from services.rpc_core.listener import RpcListener
from services.rpc_core.local import cache, coordinates
from services.rpc_core.local.events import Events
from services.rpc_core.local.local_agent import LoadError, LocalAgent
from services.rpc_core.local.methods import LocalMethods
from services.rpc_core.local.remote_exec import RemoteExec
from services.rpc_core.local.watches.runner import WatchConfigError, Watches
from services.rpc_core.members import Member
from services.rpc_core.router import Router
from services.rpc_core.snapshots import Snapshots
from shared import log, metrics
from shared.config.runtime import RuntimeConfig
from shared.ipc import Link, Request, Server, SocketPathError
from shared.log import get_logger
from shared.service import ReloadRefusedError, ServiceContext, StartError
from shared.state.keys import bytes_text
from shared.state.leadership import FILE as LEADERSHIP_FILE
from shared.state.leadership import LeadershipPage
from shared.state.reader import StateReader
from shared.state.watch import WatchHub

_log = get_logger("agent.server")

CONSUL_PREFIX = "consul:"
"""Events of other names are none of Consul's."""
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
        self.cache = cache.AgentCache(
            self._table.call_for_agent,
            rng,
            rate=config.cache.entry_fetch_rate,
            burst=config.cache.entry_fetch_max_burst,
        )
        self._duties = LeaderDuties(self.core)
        self._bootstrapping = Bootstrapping(self.core)
        self.local = LocalAgent(self.core, self._table.call)
        self.events = Events(self.core, self._service_tags)
        self._watches = Watches(config)
        self._remote_exec = RemoteExec(self.core, self._table.call_for_agent)
        self._snapshots = Snapshots(self.core, snapshot_port.ask_server, self._begin_anew)
        self._listener = RpcListener(
            config.rpc_bind_addr,
            handshake_timeout_s=config.limits.rpc_handshake_timeout_s,
            connections_per_client_max=config.limits.rpc_max_conns_per_client,
            answer=self._table.answer,
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
        AgentMethods(self.core, self.local.stats).serve(self._server)
        LocalMethods(self.local).serve(self._server)
        self.events.serve(self._server)
        self.events.on_event(self._remote_exec.received)
        self._snapshots.serve(self._server)
        self._server.fast("Agent.StartSync", self._start_sync)
        self._server.slow("Agent.CacheGet", partial(cache.serve, self.cache))
        self.cache.on_end = lambda number: self._server.publish("cache", [number])
        self._raft.subscribe("changes", self._on_change)
        self._raft.subscribe("leadership", lambda _: self._on_leadership())
        self._raft.on_up(self._on_raft_up)
        self._gossip.subscribe("events", self._on_user_event)
        self._gossip.on_up(self.events.recover)
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
            try:
                await nursery.start(self.local.run)
                await nursery.start(self._watches.run)
            except (LoadError, WatchConfigError) as error:
                raise StartError(str(error)) from error
            await nursery.start(self.cache.run)
            await nursery.start(self._remote_exec.run)
            await nursery.start(partial(coordinate.flush_for_ever, self.core))
            await nursery.start(partial(coordinates.send_for_ever, self.core, self._table.call_for_agent))
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
        self.cache.configure(config.cache.entry_fetch_rate, config.cache.entry_fetch_max_burst)
        try:
            await self.local.configure(config)
        except LoadError as error:
            raise ReloadRefusedError(f"Failed reloading {error.family}: {error}") from error
        try:
            self._watches.configure(config)
        except WatchConfigError as error:
            raise ReloadRefusedError(f"Failed reloading watches: {error}") from error
        try:
            await self._duties.configuration_changed()
        except RpcError as error:
            raise ReloadRefusedError(str(error)) from error

    def start_sync(self) -> None:
        """Begin to keep the catalog's entry of this agent right, and to run the watches."""
        self.local.syncer.start()
        self._watches.start()

    def _start_sync(self, request: Request) -> None:
        self.start_sync()
        log.flush()  # the supervisor waits for this before it says that the agent runs
        request.reply()

    # -- events --------------------------------------------------------------------------------------

    def _service_tags(self) -> dict[str, list[str]]:
        """For the filters of events."""
        return {name: service.tags or [] for name, service in self.local.state.live_services().items()}

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

    def _on_change(self, record: Any) -> None:
        self.core.hub.notify(record[1])

    def _on_raft_up(self) -> None:
        """Change records may have been missed: whoever waits looks for himself."""
        self.core.hub.wake_all()
        self._tell_addresses()
        self._on_leadership()

    def _on_leadership(self) -> None:
        self.core.router.leadership_changed()
        self.core.servers.leader_is(self.core.router.leader_elsewhere())
        self._duties.leadership_changed()

    def _on_user_event(self, event: Mapping[str, Any]) -> None:
        if event["name"] == NEW_LEADER_EVENT:
            payload = event["payload"]
            name = payload.decode("utf-8", "replace") if isinstance(payload, bytes) else payload
            _log.info("New leader elected", payload=name)
            self.local.syncer.server_up()
        elif event["name"].startswith(SERF_PREFIX):
            self.events.received(event)
        elif event["name"].startswith(CONSUL_PREFIX):
            _log.warn("Unhandled local event", event=event["name"])

    async def _begin_anew(self) -> None:
        """The state was replaced: the leader's timers, and what the catalog says of this agent, are of the old one."""
        await self._duties.reassert()
        self.local.syncer.server_up()

    async def _look_at_leadership(self) -> None:
        while True:
            await trio.sleep(LEADERSHIP_LOOK_INTERVAL_S)
            self._duties.leadership_changed()

    # -- connections ---------------------------------------------------------------------------------

    def _hand_over(self, fd: int, source: str) -> bool:
        return self._raft.send_fds("Raft.Handoff", {"source": source}, [fd])


async def main(ctx: ServiceContext) -> None:
    """Entry of the process."""
    await ctx.wait_turn()
    service = RpcCore(ctx.config)
    ctx.on_reload(service.configure)
    ctx.on_stop(_say_stopping)
    async with trio.open_nursery() as nursery:
        await nursery.start(service.run)
        if not ctx.supervised:  # else the supervisor says when: after the agent has joined
            service.start_sync()
        ctx.ready()


async def _say_stopping() -> None:
    _log.info("shutting down server")
