"""LocalParts: all that an agent does for its own host, server or client, wired up, started and reloaded as one."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import trio

from services.rpc_core.agent_core import AgentCore
from services.rpc_core.event_request import CONSUL_PREFIX, NEW_LEADER_EVENT, SERF_PREFIX
from services.rpc_core.local import cache, coordinates
from services.rpc_core.local.events import Events
from services.rpc_core.local.local_agent import LoadError, LocalAgent
from services.rpc_core.local.methods import LocalMethods
from services.rpc_core.local.remote_exec import RemoteExec
from services.rpc_core.local.sync import EndpointCall, Wait
from services.rpc_core.local.watches.runner import WatchConfigError, Watches
from shared import log
from shared.config.runtime import RuntimeConfig
from shared.ipc import Request, Server
from shared.service import ReloadRefusedError, StartError


class LocalParts:
    """One per process.

    call         Consul's RPC methods by name, wherever they are answered, under the agent's rate limit
    sync         the same for anti-entropy
    before_sync  what is waited for ahead of the first sync
    logger       name of the server's or client's own lines"""

    def __init__(
        self,
        core: AgentCore,
        call: EndpointCall,
        *,
        sync: EndpointCall,
        logger: str,
        before_sync: Wait | None = None,
    ) -> None:
        config = core.config
        self._core, self._call = core, call
        self._log = log.get_logger(logger)
        self.cache = cache.AgentCache(
            call, core.rng, rate=config.cache.entry_fetch_rate, burst=config.cache.entry_fetch_max_burst
        )
        self.agent = LocalAgent(core, sync, before_sync)
        self.events = Events(core, call, self._service_tags)
        self._watches = Watches(config)
        self._remote_exec = RemoteExec(core, call)

    def serve(self, server: Server) -> None:
        """Their methods on rpc.sock, and what gossip tells them."""
        LocalMethods(self.agent).serve(server)
        self.events.serve(server)
        self.events.on_event(self._remote_exec.received)
        server.fast("Agent.StartSync", self._start_sync)
        server.slow("Agent.CacheGet", partial(cache.serve, self.cache))
        self.cache.on_end = lambda number: server.publish("cache", [number])
        self._core.gossip.subscribe("events", self._on_user_event)
        self._core.gossip.on_up(self.events.recover)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled; started when the agent's own data is complete. Raises StartError."""
        async with trio.open_nursery() as nursery:
            try:
                await nursery.start(self.agent.run)
                await nursery.start(self._watches.run)
            except (LoadError, WatchConfigError) as error:
                raise StartError(str(error)) from error
            await nursery.start(self.cache.run)
            await nursery.start(self._remote_exec.run)
            await nursery.start(partial(coordinates.send_for_ever, self._core, self._call))
            task_status.started()

    async def configure(self, config: RuntimeConfig) -> None:
        """Take over a reloaded configuration. Raises ReloadRefusedError for services and checks that do not fit."""
        self.cache.configure(config.cache.entry_fetch_rate, config.cache.entry_fetch_max_burst)
        try:
            await self.agent.configure(config)
        except LoadError as error:
            raise ReloadRefusedError(f"Failed reloading {error.family}: {error}") from error
        try:
            self._watches.configure(config)
        except WatchConfigError as error:
            raise ReloadRefusedError(f"Failed reloading watches: {error}") from error

    def start_sync(self) -> None:
        """Begin to keep the catalog's entry of this agent right, and to run the watches."""
        self.agent.syncer.start()
        self._watches.start()

    def _start_sync(self, request: Request) -> None:
        self.start_sync()
        log.flush()  # the supervisor waits for this before it says that the agent runs
        request.reply()

    def _service_tags(self) -> dict[str, list[str]]:
        """For the filters of events."""
        return {name: service.tags or [] for name, service in self.agent.state.live_services().items()}

    def _on_user_event(self, event: Mapping[str, Any]) -> None:
        name = event["name"]
        if name == NEW_LEADER_EVENT:
            payload = event["payload"]
            leader = payload.decode("utf-8", "replace") if isinstance(payload, bytes) else payload
            self._log.info("New leader elected", payload=leader)
            self.agent.syncer.server_up()
        elif name.startswith(SERF_PREFIX):
            self._log.debug("User event", event=name.removeprefix(SERF_PREFIX))
            self.events.received(event)
        elif name.startswith(CONSUL_PREFIX):
            self._log.warn("Unhandled local event", event=name)
