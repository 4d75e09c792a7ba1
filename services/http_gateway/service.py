"""http_gateway as a process: links to its neighbours, the lane on every HTTP listener, HTTPS where configured."""

from __future__ import annotations

import gc
import os
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from services.http_gateway.asking import PATIENCE_S, Asking
from services.http_gateway.call import Call
from services.http_gateway.client_door import ClientDoor
from services.http_gateway.client_line import ClientLine
from services.http_gateway.confirming import Confirming
from services.http_gateway.errors import HttpError
from services.http_gateway.gateway import Gateway, Links
from services.http_gateway.lane.connection import ConnectionLimits
from services.http_gateway.lane.loop import Lane, LaneLimits
from services.http_gateway.leader_line import LeaderLine
from services.http_gateway.listeners import is_unix, open_listener, remove_socket
from services.http_gateway.routes import all_routes
from services.http_gateway.streaming import LaneStream
from shared import metrics
from shared.change_feed import ChangeFeed
from shared.config.runtime import RuntimeConfig, split_host_port
from shared.ipc import Link, Server, SocketPathError
from shared.log import get_logger
from shared.service import ServiceContext, StartError
from shared.state.leadership import FILE as LEADERSHIP_FILE
from shared.state.leadership import LeadershipPage, NoLeadershipPage
from shared.state.reader import StateReader

if TYPE_CHECKING:
    from services.http_gateway.tls import Https

_log = get_logger("agent")

_SLOW_TASKS_MAX = 512
_GC_THRESHOLDS = 10_000, 10, 20
"""Requests make next to no cycles, but parked queries make every full collection long: look for garbage less often."""
_DRAIN_S = 1.0


class HttpGateway:
    """One per process. `run` serves until cancelled."""

    def __init__(self, config: RuntimeConfig, rng: random.Random | None = None) -> None:
        rng = rng or random.Random(int.from_bytes(os.urandom(16), "big"))
        self._config = config
        names = ("raft", "rpc", "gossip", "supervisor", "dns")
        made = {name: Link(config.socket_path(name), name="http_gateway") for name in names}
        self._links = Links(**made)
        self.gateway = Gateway(
            config,
            self._links,
            all_routes(),
            clock=trio.current_time,
            rng=rng,
            reader=StateReader(config.state_dir) if config.server else None,
            page=_page(config),
        )
        self.lane = Lane(
            self.gateway,
            limits=LaneLimits(connections_per_client=config.limits.http_max_conns_per_client),
            connection_limits=ConnectionLimits(
                value_bytes_max=config.limits.kv_max_value_size, spool=self.gateway.spool
            ),
        )
        self._server = Server(config.socket_path("http"), name="http_gateway")
        self._server.fast("Metrics.Dump", lambda request: request.reply(metrics.dump()))
        self._https: Https | None = None
        self._earlier = trio.Event()
        self._slow_tasks = 0
        self._wire_up(list(made.values()))
        self._use_lines(split_host_port(config.rpc_bind_addr)[0])

    def _use_lines(self, host: str) -> None:
        gateway, links, after = self.gateway, self._links, self._after_neighbour
        if not self._config.server:
            line = ClientLine(links.rpc, host, after, self._config.datacenter)
            gateway.use_lines(ClientDoor(line, host, after), line)
            return
        page, raft = gateway.moment.page, links.raft
        gateway.use_lines(LeaderLine(raft, page.read, host, after), None)
        gateway.confirming = Confirming(page, gateway.ask_raft_node, lambda: raft.connected, host, after)

    def _wire_up(self, links: list[Link]) -> None:
        gateway = self.gateway
        for link in links:
            link.after_batch = self._after_neighbour
        self._changes = ChangeFeed(self._links.raft, gateway.hub)
        gateway.blocking.on_earlier = lambda: self._earlier.set()

    def _after_neighbour(self) -> None:
        """A batch of a neighbour's frames was handled: evaluate what it woke, send what it answered."""
        self.gateway.blocking.settle()
        self.gateway.end_batch()
        self.lane.flush()
        self.lane.serve_on()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Raises StartError if a listener cannot be opened."""
        config = self._config
        async with trio.open_nursery() as nursery:
            links = self._links
            others = (links.rpc, links.gossip, links.supervisor, links.dns)
            for link in (links.raft, *others) if config.server else others:
                await nursery.start(link.run)
            try:
                await nursery.start(self._server.run)
            except (OSError, SocketPathError) as error:
                raise StartError(getattr(error, "strerror", None) or str(error)) from error
            for address in config.http_listeners:
                self.lane.listen(open_listener(address, config.unix_sockets))
            self.gateway.take_slow = self._slow_door(nursery)
            await nursery.start(self.lane.run)
            nursery.start_soon(self._expire_waits)
            if self.gateway.asking is not None:
                nursery.start_soon(ask_again, self.gateway.asking)
            for line in (self.gateway.door, self.gateway.line, self.gateway.confirming):
                if line is not None:
                    nursery.start_soon(line.run)
            for address in config.http_listeners:
                _log.info("Started HTTP server", address=_shown(address), network=_network(address))
            if config.https_listeners:
                from services.http_gateway.tls import Https

                self._https = Https(self.gateway, config, self.lane)
                await nursery.start(self._https.run)
                for address in config.https_listeners:
                    _log.info("Started HTTPS server", address=_shown(address), network=_network(address))
            task_status.started()

    def configure(self, config: RuntimeConfig) -> None:
        """Take over a reloaded configuration. Listeners stay as they are, as in Consul. Raises ReloadRefusedError."""
        self._config = config
        self.gateway.use_config(config)
        self.lane.limit_clients(config.limits.http_max_conns_per_client)
        if self._https is not None:
            self._https.configure(config)

    async def drain(self) -> None:
        """Stop accepting, give requests that are under way a moment, and answer those who wait for changes."""
        self.lane.stop_accepting()
        config = self._config
        for protocol, addresses in (("HTTP", config.http_listeners), ("HTTPS", config.https_listeners)):
            for address in addresses:
                remove_socket(address)
                _log.info("Stopping server", protocol=protocol, address=_shown(address), network=_network(address))
        self.gateway.begin_batch()
        self.gateway.blocking.answer_everyone()
        self.gateway.end_batch()
        self.lane.flush()
        with trio.move_on_after(_DRAIN_S):
            while self.lane.busy:  # noqa: ASYNC110  once per process life; an event would cost every request
                await trio.sleep(0.02)

    def _slow_door(self, nursery: trio.Nursery) -> Callable[[Call], None]:
        def take(call: Call) -> None:
            if self._slow_tasks >= _SLOW_TASKS_MAX:
                raise HttpError("too many streams are open: close some, then retry")
            self._slow_tasks += 1
            nursery.start_soon(self._serve_slowly, call)

        return take

    async def _serve_slowly(self, call: Call) -> None:
        scope = trio.CancelScope()
        stream = LaneStream(call.request, self.gateway.date, self.lane, scope)
        with scope:
            try:
                assert call.route.stream is not None
                await call.route.stream(call, stream)
            except HttpError as error:
                call.failed(error)
            except Exception as error:  # as for handlers without a task
                self.gateway.failed_badly(call, error)
        stream.end()
        self._slow_tasks -= 1
        if stream.started:  # other answers were noted when they were given
            self.gateway.note_finished(call.request, call.route.metric)
        self.lane.flush()

    async def _expire_waits(self) -> None:
        """Answer blocking queries whose time is up."""
        blocking = self.gateway.blocking
        while True:
            self._earlier = trio.Event()
            deadline = blocking.next_deadline
            with trio.move_on_at(deadline if deadline is not None else trio.current_time() + 3600):
                await self._earlier.wait()
            self.gateway.begin_batch()
            blocking.expire(trio.current_time())
            self.gateway.end_batch()
            self.lane.flush()


async def ask_again(asking: Asking) -> None:
    """Nobody waits much longer than PATIENCE_S for calls of others, also if nothing else happens meanwhile."""
    kept_waiting = trio.Event()
    asking.on_kept_waiting = lambda: kept_waiting.set()
    while True:
        await kept_waiting.wait()
        kept_waiting = trio.Event()  # before the next try: who has to wait then needs one more
        await trio.sleep(PATIENCE_S)
        asking.start()


def _page(config: RuntimeConfig) -> LeadershipPage:
    if not config.server:
        return NoLeadershipPage()
    return LeadershipPage.open(os.path.join(config.state_dir, LEADERSHIP_FILE))


def _network(address: str) -> str:
    return "unix" if is_unix(address) else "tcp"


def _shown(address: str) -> str:
    return address.removeprefix("unix://")


async def main(ctx: ServiceContext) -> None:
    """Entry of the process."""
    await ctx.wait_turn()
    gc.set_threshold(*_GC_THRESHOLDS)
    service = HttpGateway(ctx.config)
    ctx.on_reload(service.configure)
    ctx.on_stop(service.drain)
    async with trio.open_nursery() as nursery:
        await nursery.start(service.run)
        ctx.ready()
