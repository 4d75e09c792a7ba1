"""Session.*: lock holders, their TTLs and what ends them."""

from __future__ import annotations

from typing import Any

import trio

from services.rpc_core.core import Core
from services.rpc_core.endpoints.ids import fresh_id
from services.rpc_core.errors import RpcError
from shared import metrics
from shared.gotext.durations import DurationError, format_duration_ns, parse_duration_ns, parse_duration_s
from shared.state.queries import session as sessions
from shared.structs.query import NodeSpecificRequest, SessionSpecificRequest
from shared.structs.session import CREATE, DELETE, DESTROY, RELEASE, Session, SessionRequest

TTL_MAX_NS = 24 * 3600 * 1_000_000_000


async def apply(core: Core, body: Any) -> str:
    """Create (returns the new id) or destroy (returns "")."""
    args = SessionRequest.from_wire(body)
    await core.router.answer_here("Session.Apply", args.datacenter)
    started = trio.current_time()
    session = args.session
    _validate(core, args)
    if args.op == CREATE:
        # Before the log: what is in the log must come out the same on every server.
        session.id = fresh_id(core, sessions.find)
    result = await core.apply(args)
    now = trio.current_time()
    if args.op == CREATE and session.ttl:
        core.session_timers.reset(session.id, parse_duration_s(session.ttl), now)
    elif args.op == DESTROY:
        core.session_timers.clear(session.id)
    metrics.sample("consul.session.apply", (now - started) * 1000)
    return result if isinstance(result, str) else ""


def _validate(core: Core, args: SessionRequest) -> None:
    session = args.session
    if args.op == DESTROY and not session.id:
        raise RpcError("Must provide ID")
    if args.op == CREATE and not session.node:
        raise RpcError("Must provide Node")
    if not session.behavior:
        session.behavior = RELEASE
    elif session.behavior not in (RELEASE, DELETE):
        raise RpcError(f"Invalid Behavior setting '{session.behavior}'")
    if session.ttl:
        try:
            ttl_ns = parse_duration_ns(session.ttl)
        except DurationError as error:
            raise RpcError(f"Session TTL '{session.ttl}' invalid: {error}") from None
        ttl_min_ns = round(core.config.session_ttl_min_s * 1e9)
        if ttl_ns and not ttl_min_ns <= ttl_ns <= TTL_MAX_NS:
            allowed = f"{format_duration_ns(ttl_min_ns)}={format_duration_ns(TTL_MAX_NS)}"
            raise RpcError(f"Invalid Session TTL '{ttl_ns}', must be between [{allowed}]")


async def get(core: Core, body: Any) -> dict[str, Any]:
    args = SessionSpecificRequest.from_wire(body)
    wanted = args.session_id or args.session
    reply = await core.read("Session.Get", args.datacenter, args, lambda snap: sessions.get(snap, wanted))
    return reply.to_wire("Sessions", None if reply.value is None else [reply.value.to_wire()])


async def list_all(core: Core, body: Any) -> dict[str, Any]:
    args = SessionSpecificRequest.from_wire(body)
    reply = await core.read("Session.List", args.datacenter, args, sessions.all_sessions)
    return reply.to_wire("Sessions", _wire(reply.value))


async def node_sessions(core: Core, body: Any) -> dict[str, Any]:
    args = NodeSpecificRequest.from_wire(body)
    reply = await core.read(
        "Session.NodeSessions", args.datacenter, args, lambda snap: sessions.node_sessions(snap, args.node)
    )
    return reply.to_wire("Sessions", _wire(reply.value))


async def renew(core: Core, body: Any) -> dict[str, Any]:
    """Start the TTL again. Unlike in other answers only the index is filled in, as Consul does."""
    args = SessionSpecificRequest.from_wire(body)
    await core.router.answer_here("Session.Renew", args.datacenter)
    started = trio.current_time()
    with core.snapshot() as snap:
        answer = sessions.get(snap, args.session_id or args.session)
    found = answer.value
    if found is not None and found.ttl:
        core.session_timers.reset(found.id, parse_duration_s(found.ttl), trio.current_time())
    metrics.sample("consul.session.renew", (trio.current_time() - started) * 1000)
    return {
        "Index": answer.index,
        "LastContact": 0,
        "KnownLeader": False,
        "ConsistencyLevel": "",
        "Sessions": None if found is None else [found.to_wire()],
    }


def _wire(found: list[Session]) -> list[dict[str, Any]] | None:
    return [session.to_wire() for session in found] or None


METHODS = {
    "Session.Apply": apply,
    "Session.Get": get,
    "Session.List": list_all,
    "Session.NodeSessions": node_sessions,
    "Session.Renew": renew,
}
