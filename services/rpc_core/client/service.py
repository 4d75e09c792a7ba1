"""rpc_core of a client agent: the way to the servers, and what the agent does for its own host."""

from __future__ import annotations

import os
import random

import trio

from services.rpc_core.agent import AgentMethods
from services.rpc_core.agent_core import AgentCore
from services.rpc_core.client import methods
from services.rpc_core.client.caller import Caller
from services.rpc_core.client.delegate import ClientDelegate
from services.rpc_core.client.manager import ServerManager
from services.rpc_core.client.news import News
from services.rpc_core.client.snapshots import ClientSnapshots
from services.rpc_core.local.parts import LocalParts
from services.rpc_core.pool import Pools
from shared import metrics
from shared.config.runtime import RuntimeConfig, split_host_port
from shared.ipc import Link, Server, SocketPathError
from shared.log import get_logger
from shared.server_rpc.pool import ServerPool
from shared.service import StartError

_router_log = get_logger("agent.router")

CONNECTION_IDLE_S = 127.0
"""How long a client keeps a connection that it does not use."""


class ClientRpcCore:
    """`run` serves until cancelled."""

    def __init__(self, config: RuntimeConfig, rng: random.Random | None = None) -> None:
        rng = rng or random.Random(int.from_bytes(os.urandom(16), "big"))
        gossip = Link(config.socket_path("gossip"), name="rpc_core")
        self.core = AgentCore(
            config,
            gossip=gossip,
            pools=Pools(gossip, wan=False, tells=False),
            servers=ServerPool(split_host_port(config.rpc_bind_addr)[0], idle_timeout_s=CONNECTION_IDLE_S),
            rng=rng,
        )
        self.manager = ServerManager(self.core, self._server_up)
        self.caller = Caller(self.core, self.manager)
        self.local = LocalParts(self.core, self.caller.call, sync=self.caller.call, logger="agent.client")
        self._server = Server(config.socket_path("rpc"), name="rpc_core")
        self._wire_up()

    def _wire_up(self) -> None:
        server = self._server
        methods.serve(self.caller, server)
        server.fast("Metrics.Dump", lambda request: request.reply(metrics.dump()))
        delegate = ClientDelegate(self.core, self.manager.servers)
        AgentMethods(self.core, delegate, self.local.agent).serve(server)
        self.local.serve(server)
        ClientSnapshots(self.core, self.manager).serve(server)
        News(self.manager, server)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Raises StartError if a socket cannot be opened."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.core.gossip.run)
            await nursery.start(self.core.pools.run)
            await nursery.start(self.core.servers.run)
            _router_log.info("Initializing LAN area manager")
            await nursery.start(self.manager.run)
            await nursery.start(self.caller.run)
            await nursery.start(self.local.run)
            # The door last: whoever comes in meets the agent's own data complete.
            try:
                await nursery.start(self._server.run)
            except (OSError, SocketPathError) as error:
                raise StartError(getattr(error, "strerror", None) or str(error)) from error
            task_status.started()

    async def configure(self, config: RuntimeConfig) -> None:
        """Take over a reloaded configuration. Raises ReloadRefusedError for services and checks that do not fit."""
        self.core.configure(config)
        await self.local.configure(config)

    async def drain(self) -> None:
        """Called before an end that was asked for: nobody comes to a client, its own callers have gone before it."""

    def start_sync(self) -> None:
        """Begin to keep the catalog's entry of this agent right, and to run the watches."""
        self.local.start_sync()

    def _server_up(self) -> None:
        self.local.agent.syncer.server_up()
