"""/v1/agent: this agent itself: identity, members, joining, leaving, reload, log stream, metrics, host."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from services.http_gateway.call import LATER, VARY, Call, Later
from services.http_gateway.errors import BadRequestError, HttpError
from services.http_gateway.message import Response
from services.http_gateway.routes.table import Route
from shared import log, metrics
from shared.ipc.errors import IpcError

if TYPE_CHECKING:
    from services.http_gateway.streaming import Stream

_JOIN_TIMEOUT_S = 60.0
_LEAVE_TIMEOUT_S = 60.0
"""More than rpc_core takes for two pools that do not answer and its pause: then, too, the agent has to end."""
_RELOAD_TIMEOUT_S = 30.0
_DUMP_TIMEOUT_S = 2.0
_SHUTDOWN_TIMEOUT_S = 5.0
_EXIT_LEFT = 0

_log = log.get_logger("agent")


def _no_body(_reply: Any) -> None:
    return None


def self_(call: Call) -> Any:
    def then(reply: Any) -> Any:
        if reply.get("Member"):
            reply["Member"] = _member(reply["Member"])
        for name in ("Stats", "Meta"):
            reply[name] = _sorted(reply.get(name))
        return reply

    return call.rpc("Agent.Self", {}, then, retry_safe=True)


def _member(member: dict[str, Any]) -> dict[str, Any]:
    return {**member, "Tags": _sorted(member["Tags"])}


def _sorted(value: Any) -> Any:
    """Maps in the order Go writes them in."""
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return value


def host(call: Call) -> Any:
    from services.http_gateway.host import host_info

    return host_info()


def members(call: Call) -> Any:
    wan = bool(call.request.first("wan"))
    segment = call.request.first("segment")
    if wan and segment not in ("", "_all"):
        raise BadRequestError("Cannot provide a segment with wan=true")
    payload = {"wan": wan, "segment": "" if wan else segment}

    def members_of(reply: list[dict[str, Any]] | None) -> Any:
        if reply is None:
            return Response(200, {"Content-Type": "application/json", **VARY}, call.json_text(None))
        return [_member(member) for member in reply]

    return call.rpc("Agent.Members", payload, members_of, retry_safe=True)


def join(call: Call) -> Any:
    payload = {"addresses": [call.rest], "wan": bool(call.request.first("wan"))}
    return call.rpc("Agent.Join", payload, _no_body, timeout_s=_JOIN_TIMEOUT_S)


def leave(call: Call) -> Any:
    """Leave the pools, answer, and then end the agent: the client's answer must not get lost in that."""
    gateway = call.gateway

    def then(_reply: Any) -> Later:
        call.done(None)
        shutdown = {"exit_code": _EXIT_LEFT, "reason": "leave"}
        gateway.links.supervisor.post("Supervisor.Shutdown", shutdown, _end_asked_for, timeout_s=_SHUTDOWN_TIMEOUT_S)
        return LATER

    return call.rpc("Agent.Leave", {}, then, timeout_s=_LEAVE_TIMEOUT_S)


def _end_asked_for(_value: Any, error: IpcError | None) -> None:
    if error is not None:
        _log.warn("left the cluster, but no supervisor is there to end the components: stop them by what started them")


def force_leave(call: Call) -> Any:
    payload = {"node": call.rest, "prune": "prune" in call.request.query}
    return call.rpc("Agent.ForceLeave", payload, _no_body)


def reload(call: Call) -> Any:
    supervisor = call.gateway.links.supervisor
    return call.post(supervisor, "Supervisor.Reload", None, _no_body, timeout_s=_RELOAD_TIMEOUT_S)


def agent_metrics(call: Call) -> Any:
    """The metrics of all processes of this agent, added up: a JSON report, or the page that Prometheus reads."""
    links, config = call.gateway.links, call.gateway.config
    as_page = call.request.first("format") == "prometheus" or _accepts_prometheus(call.request.header("accept"))
    if as_page and config.telemetry.prometheus_retention_time_s <= 0:
        text = b"Prometheus is not enabled since its retention time is not positive"
        return Response(415, {}, text)
    raft = (links.raft,) if config.server else ()
    neighbours = (links.supervisor, *raft, links.gossip, links.rpc, links.dns)

    def finished(dumps: list[Any]) -> None:
        dumps.append(metrics.dump())
        call.done(_page(dumps) if as_page else metrics.merge(dumps))

    _gather(neighbours, "Metrics.Dump", finished)
    return LATER


_pages: list[Any] = []
"""The prometheus.Page of this process, once somebody has asked for it: it remembers what ended processes counted."""


def _page(dumps: list[Any]) -> Response:
    from shared.metrics import prometheus

    if not _pages:
        _pages.append(prometheus.Page())
    return Response(200, {"Content-Type": prometheus.CONTENT_TYPE, **VARY}, _pages[0].render(dumps))


def _gather(links: tuple[Any, ...], method: str, finished: Callable[[list[Any]], None]) -> None:
    """Ask all of them; `finished` gets the answers that came, in the order of `links`."""
    answers: dict[int, Any] = {}
    waiting = set(range(len(links)))

    def ask(number: int) -> None:
        def on_done(value: Any, error: IpcError | None) -> None:
            waiting.discard(number)
            if error is None:
                answers[number] = value
            if not waiting:
                finished([answers[each] for each in sorted(answers)])

        links[number].post(method, None, on_done, timeout_s=_DUMP_TIMEOUT_S, retry_safe=True)

    for number in range(len(links)):
        ask(number)


def _accepts_prometheus(accept: str) -> bool:
    for part in accept.split(","):
        kind, _, parameters = part.partition(";")
        kind = kind.strip().lower()
        if kind == "application/openmetrics-text":
            return True
        if kind == "text/plain" and parameters.partition(";")[0].strip() == "version=0.4.0":
            return True
    return False


async def monitor(call: Call, stream: Stream) -> None:
    """Log lines as they come, until the client has had enough."""
    level = call.request.first("loglevel") or "INFO"
    try:
        log.parse_level(level)
    except ValueError as error:
        raise BadRequestError(f"Bad request: {error}") from None
    wanted = {"level": level, "json": "logjson" in call.request.query}
    try:
        async with call.gateway.links.supervisor.stream("Supervisor.Monitor", wanted) as lines:
            await stream.start(Response(200, dict(call.headers)))
            async for line in lines:
                await stream.send(line.encode("utf-8", "surrogateescape") + b"\n")
    except IpcError as error:
        if not stream.started:
            raise HttpError(str(error)) from None


ROUTES = [
    Route("/v1/agent/self", "GET", self_),
    Route("/v1/agent/host", "GET", host),
    Route("/v1/agent/members", "GET", members),
    Route("/v1/agent/join/", "PUT", join),
    Route("/v1/agent/leave", "PUT", leave),
    Route("/v1/agent/force-leave/", "PUT", force_leave),
    Route("/v1/agent/reload", "PUT", reload),
    Route("/v1/agent/metrics", "GET", agent_metrics),
    Route("/v1/agent/monitor", "GET", None, stream=monitor),
]
