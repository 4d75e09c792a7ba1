"""User events on this agent: fired through the servers, received through gossip, the last 256 kept for readers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import trio

from services.rpc_core.agent_core import AgentCore
from services.rpc_core.errors import RpcError
from services.rpc_core.event_request import SERF_PREFIX, EventFireRequest
from services.rpc_core.local import user_event
from services.rpc_core.local.sync import EndpointCall
from services.rpc_core.local.user_event import EventError, LocalServices, UserEvent
from shared.ipc import IpcError, RemoteError, Request, Server
from shared.log import get_logger

_log = get_logger("agent")

KEPT = 256
REMOTE_EXEC = "_rexec"
"""The name of the event behind `consul exec`: it is acted on, and never listed."""
NO_EVENT_INDEX = 1
"""The index of an empty list: not 0, with which a client would ask again at once."""
RECOVER_TIMEOUT_S = 10.0
WAITING_LOOK_OVER = 1024
"""From so many waiting calls on it is worth to look for those whose time was up."""


class Events:
    """One per agent.

    on_event(callback)  callback(event) for each event that is meant for this node; `_rexec` included unless
                        `disable_remote_exec` is set
    call                Consul's RPC methods by name, wherever they are answered
    services            tells the agent's services, for the filters of events"""

    def __init__(self, core: AgentCore, call: EndpointCall, services: LocalServices = dict) -> None:
        self.services = services
        self._core, self._call = core, call
        self._kept: deque[UserEvent] = deque(maxlen=KEPT)
        self._waiting: dict[Request, None] = {}
        self._look_over_at = WAITING_LOOK_OVER
        self._callbacks: list[Callable[[UserEvent], None]] = []

    def serve(self, server: Server) -> None:
        server.slow("Agent.EventFire", self._fire)
        server.fast("Agent.EventList", self._list)

    def on_event(self, callback: Callable[[UserEvent], None]) -> None:
        self._callbacks.append(callback)

    # -- receiving -----------------------------------------------------------------------------------

    def received(self, serf_event: Mapping[str, Any]) -> None:
        """A record of gossip's topic `events` whose name begins with SERF_PREFIX."""
        payload = serf_event["payload"] or b""
        try:
            event = user_event.decode(payload, serf_event["ltime"])
        except EventError as error:
            _log.error("Failed to decode event", error=str(error))
            return
        if self._is_meant(event):
            self._take_in(event)

    def recover(self) -> None:
        """This process has just met gossip, which may have been there before it: list what it remembers. Nothing else
        is done about these events; that was done when they came."""

        def on_done(past: Any, error: IpcError | None) -> None:
            if error is None:
                self._remember(past)

        if not self._kept:
            self._core.gossip.post("Gossip.PastEvents", {"pool": "lan"}, on_done, timeout_s=RECOVER_TIMEOUT_S)

    def _remember(self, past: list[Mapping[str, Any]]) -> None:
        prefix = SERF_PREFIX
        came_meanwhile = {event.id: event for event in self._kept}
        remembered: list[UserEvent] = []
        for serf_event in past:
            if serf_event["name"].startswith(prefix) and serf_event["name"] != prefix + REMOTE_EXEC:
                with suppress(EventError):
                    event = user_event.decode(serf_event["payload"], serf_event["ltime"])
                    if event.id not in came_meanwhile and self._is_meant(event):
                        remembered.append(event)
        self._kept.clear()
        self._kept.extend((*remembered, *came_meanwhile.values()))
        for name in {event.name: None for event in remembered}:
            self._answer_waiting(name)

    def _is_meant(self, event: UserEvent) -> bool:
        if event.version > user_event.VERSION_MAX:
            _log.warn("Event version may have unsupported features", version=event.version, event=event.name)
        try:
            return user_event.is_meant(event, self._core.config.node_name, self.services)
        except EventError as error:
            kind, _, reason = str(error).partition(": ")
            pattern = getattr(event, f"{kind}_filter")
            _log.error(f"Failed to parse {kind} filter for event", filter=pattern, event=event.name, error=reason)
            return False

    def _take_in(self, event: UserEvent) -> None:
        if event.name == REMOTE_EXEC and self._core.config.disable_remote_exec:
            _log.info("ignoring remote exec event, disabled.", event_name=event.name, event_id=event.id)
            return
        if event.name != REMOTE_EXEC:
            _log.debug("new event", event_name=event.name, event_id=event.id)
            self._kept.append(event)
            self._answer_waiting(event.name)
        for callback in self._callbacks:
            callback(event)

    # -- firing --------------------------------------------------------------------------------------

    async def fire(self, event: UserEvent, datacenter: str, token: str) -> UserEvent:
        """Send an event to all nodes of a datacenter; the event with its id. Raises EventError, RpcError."""
        user_event.check(event)
        event = replace(event, id=user_event.new_id(self._core.rng))
        request = EventFireRequest(
            datacenter=datacenter,
            name=event.name,
            payload=user_event.encode(event),
            token=token,
            allow_stale=True,  # any server will do
        )
        await self._call("Internal.EventFire", request.to_wire())
        return event

    async def _fire(self, request: Request) -> dict[str, Any]:
        """Payload: name, payload (bytes), node, service, tag (filters, "" for none), datacenter, token. The reply
        is the event as Consul's API shows it, Payload being bytes or None."""
        given = request.payload
        event = UserEvent("", given["name"], given["payload"] or None, given["node"], given["service"], given["tag"])
        try:
            fired = await self.fire(event, given["datacenter"], given["token"])
        except EventError as error:
            raise RemoteError("rpc", str(error)) from None
        except RpcError as error:
            raise RemoteError(error.code, str(error)) from None
        return fired.to_wire()

    # -- reading -------------------------------------------------------------------------------------

    def recent(self, name: str = "") -> list[UserEvent]:
        """The events that are kept, oldest first; with a name only those called so."""
        return [event for event in self._kept if not name or event.name == name]

    def _list(self, request: Request) -> None:
        """Payload: name ("" for all), index (that of the answer before; 0 to be answered at once). The reply: index,
        events. Indexes have no order: whatever differs from `index` is an answer; until there is one it waits."""
        answer = self._answer(request.payload["name"])
        if answer["index"] != request.payload["index"]:
            request.reply(answer)
            return
        if len(self._waiting) >= self._look_over_at:
            now = trio.current_time()
            self._waiting = {waiting: None for waiting in self._waiting if waiting.deadline > now}
            self._look_over_at = max(WAITING_LOOK_OVER, 2 * len(self._waiting))
        self._waiting[request] = None
        request.park(partial(self._waiting.pop, request, None))

    def _answer(self, name: str) -> dict[str, Any]:
        events = self.recent(name)
        index = events[-1].index if events else NO_EVENT_INDEX
        return {"index": index, "events": [event.to_wire() for event in events]}

    def _answer_waiting(self, name: str) -> None:
        """An event called `name` came: those who wait for any event, or for one of this name, hear of it."""
        answers = {each: self._answer(each) for each in ("", name)}
        for request in [waiting for waiting in self._waiting if waiting.payload["name"] in answers]:
            answer = answers[request.payload["name"]]
            if answer["index"] != request.payload["index"]:
                del self._waiting[request]
                request.unpark()
                request.reply(answer)
