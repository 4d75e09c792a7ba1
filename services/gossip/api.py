"""gossip.sock: what the other processes of the agent can ask and be told.

Gossip.Members {pool} -> [member]; Gossip.Join {pool, addresses} -> n; Gossip.Leave {pool};
Gossip.ForceLeave {node, prune, pool?}; Gossip.SetTags {pool, tags}; Gossip.UserEvent {name, payload, coalesce};
Gossip.PastEvents {pool} -> recent user events as in topic `events`, oldest first;
Gossip.Stats {pool} -> {str: str}; Gossip.Coordinate {pool, node?} -> coordinate or None;
Gossip.Coordinates {pool} -> {node: coordinate}; Gossip.Keyring {pool, operation, key, relay_factor} -> sums and Error;
Gossip.Query {pool, name, payload, nodes, tags, ack, relay_factor, timeout_s} -> {Acks: [node], Answers: {node: data}}
once its time is over; nodes: [name], tags: {tag: regular expression} say whom it is meant for;
Metrics.Dump. Topics: `members` {pool, event, members}, `events` {name, payload, ltime}."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from services.gossip.codec.serf_messages import encode_node_filter, encode_tag_filter
from services.gossip.coordinate import Coordinate
from services.gossip.pool import JoinError, Pool
from services.gossip.pool_settings import PoolName
from services.gossip.serf.effects import UserEvent
from services.gossip.serf.errors import SerfError
from services.gossip.serf.keys import OPERATIONS
from services.gossip.serf.member import Member
from services.gossip.swim.address import format_ip
from shared import metrics
from shared.gotext import base64_text
from shared.ipc import RemoteError, Request, Server


class Api:
    """Serves the pools of this process. The pools are added once they run."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.pools: dict[PoolName, Pool] = {}
        server.fast("Gossip.Members", self._members)
        server.fast("Gossip.Stats", self._stats)
        server.fast("Gossip.Coordinate", self._coordinate)
        server.fast("Gossip.Coordinates", self._coordinates)
        server.fast("Gossip.UserEvent", self._user_event)
        server.fast("Gossip.PastEvents", self._past_events)
        server.fast("Metrics.Dump", lambda request: request.reply(metrics.dump()))
        server.slow("Gossip.Join", self._join)
        server.slow("Gossip.Leave", self._leave)
        server.slow("Gossip.ForceLeave", self._force_leave)
        server.slow("Gossip.SetTags", self._set_tags)
        server.slow("Gossip.Keyring", self._keyring)
        server.slow("Gossip.Query", self._query)

    def publish_members(self, pool: PoolName, event: str, members: list[Member]) -> None:
        self._server.publish(
            "members", {"pool": pool, "event": event, "members": [member_wire(member) for member in members]}
        )

    def publish_event(self, pool: PoolName, event: UserEvent) -> None:
        """User events of the LAN pool; in the WAN pool Consul ignores them."""
        if pool == "lan":
            self._server.publish("events", {"name": clean(event.name), "payload": event.payload, "ltime": event.ltime})

    def _members(self, request: Request) -> None:
        with _answering(request):
            request.reply([member_wire(member) for member in self._pool(request).serf.members])

    def _stats(self, request: Request) -> None:
        with _answering(request):
            request.reply(self._pool(request).serf.stats())

    def _coordinate(self, request: Request) -> None:
        with _answering(request):
            serf = self._pool(request).serf
            node = _field(request.payload, "node", str, serf.settings.name)
            found = serf.coordinates.cached(node)
            request.reply(None if found is None else coordinate_wire(found))

    def _coordinates(self, request: Request) -> None:
        with _answering(request):
            serf = self._pool(request).serf
            found = ((member.name, serf.coordinates.cached(member.name)) for member in serf.members)
            request.reply({clean(name): coordinate_wire(one) for name, one in found if one is not None})

    def _user_event(self, request: Request) -> None:
        with _answering(request):
            payload = request.payload
            data = payload.get("payload") or b""
            if isinstance(data, str):
                data = data.encode()
            try:
                self._pool(request).user_event(
                    _field(payload, "name", str), data, _field(payload, "coalesce", bool, False)
                )
            except SerfError as error:
                raise RemoteError("rpc", str(error)) from None
            request.reply()

    def _past_events(self, request: Request) -> None:
        with _answering(request):
            slots = sorted(filter(None, self._pool(request).serf.events.past()), key=lambda slot: slot.ltime)
            request.reply(
                [
                    {"name": clean(event.name), "payload": event.payload or b"", "ltime": slot.ltime}
                    for slot in slots
                    for event in filter(None, slot.events or ())
                ]
            )

    async def _join(self, request: Request) -> int:
        pool = self._pool(request)
        try:
            return await pool.join(_field(request.payload, "addresses", list))
        except JoinError as error:
            raise RemoteError("rpc", clean(str(error))) from None

    async def _leave(self, request: Request) -> None:
        await self._pool(request).leave()

    async def _force_leave(self, request: Request) -> None:
        pool = self._pool(request)
        error = await pool.force_leave(
            _field(request.payload, "node", str), _field(request.payload, "prune", bool, False)
        )
        if error is not None:
            raise RemoteError("rpc", error)

    async def _set_tags(self, request: Request) -> None:
        tags = _field(request.payload, "tags", dict)
        if not all(isinstance(key, str) and isinstance(value, str) for key, value in tags.items()):
            raise RemoteError("bad_request", "tags must map text to text")
        try:
            error = await self._pool(request).set_tags(tags)
        except SerfError as problem:
            raise RemoteError("rpc", str(problem)) from None
        if error is not None:
            raise RemoteError("rpc", error)

    async def _keyring(self, request: Request) -> dict[str, Any]:
        payload = request.payload
        operation = _field(payload, "operation", str)
        if operation not in OPERATIONS:
            raise RemoteError("bad_request", f"unknown key operation {operation!r}, want one of {OPERATIONS}")
        try:
            key = base64_text.decode(_field(payload, "key", str, "").encode("utf-8", "surrogateescape"))
            done = await self._pool(request).key_operation(operation, key, _relay_factor(payload))
        except (SerfError, ValueError) as error:
            raise RemoteError("rpc", str(error)) from None
        told = {clean(node): clean(text) for node, text in done.result["Messages"].items()}
        counted = {kind: _clean_keys(done.result[kind]) for kind in ("Keys", "PrimaryKeys")}
        return {**done.result, **counted, "Messages": told, "Error": done.error or ""}

    async def _query(self, request: Request) -> dict[str, Any]:
        payload = request.payload
        nodes, tags = _field(payload, "nodes", list, []), _field(payload, "tags", dict, {})
        filters = [encode_node_filter(tuple(nodes))] if nodes else []
        filters += [encode_tag_filter(tag, expression) for tag, expression in tags.items()]
        try:
            done = await self._pool(request).query(
                _field(payload, "name", str),
                _field(payload, "payload", bytes, b""),
                tuple(filters),
                _field(payload, "ack", bool, False),
                _relay_factor(payload),
                _field(payload, "timeout_s", float, 0.0),
            )
        except SerfError as error:
            raise RemoteError("rpc", str(error)) from None
        return {"Acks": list(map(clean, done.result["Acks"])), "Answers": _clean_keys(done.result["Answers"])}

    def _pool(self, request: Request) -> Pool:
        name = _field(request.payload or {}, "pool", str, "lan")
        if name not in ("lan", "wan"):
            raise RemoteError("bad_request", f"unknown pool {name!r}, want lan or wan")
        pool = self.pools.get(name)
        if pool is None:
            raise RemoteError("unavailable", f"this agent has no {name} pool")
        return pool


@contextmanager
def _answering(request: Request) -> Iterator[None]:
    """Turns the RemoteError that a fast handler raises into its answer."""
    try:
        yield
    except RemoteError as error:
        request.fail(error.code, str(error), error.data)


_MISSING: Any = object()


def _field(payload: Mapping[str, Any], name: str, kind: type, default: Any = _MISSING) -> Any:
    value = payload.get(name, default)
    if value is _MISSING:
        raise RemoteError("bad_request", f"{name} is missing")
    if not isinstance(value, kind):
        raise RemoteError("bad_request", f"{name} must be a {kind.__name__}")
    return value


def _relay_factor(payload: Mapping[str, Any]) -> int:
    relay_factor: int = _field(payload, "relay_factor", int, 0)
    if not 0 <= relay_factor <= 255:
        raise RemoteError("bad_request", "relay_factor must be from 0 to 255")
    return relay_factor


def member_wire(member: Member) -> dict[str, Any]:
    """A member as the other processes know it; Serf's names, addresses as text."""
    low, high, current, serf_low, serf_high, serf_current = member.vsn
    return {
        "Name": clean(member.name),
        "Addr": format_ip(member.addr),
        "Port": member.port,
        "Tags": {clean(key): clean(value) for key, value in member.tags.items()},
        "Status": int(member.status),
        "ProtocolMin": low,
        "ProtocolMax": high,
        "ProtocolCur": current,
        "DelegateMin": serf_low,
        "DelegateMax": serf_high,
        "DelegateCur": serf_current,
    }


def coordinate_wire(coordinate: Coordinate) -> dict[str, Any]:
    return {
        "Vec": list(coordinate.vec),
        "Error": coordinate.error,
        "Adjustment": coordinate.adjustment,
        "Height": coordinate.height,
    }


def _clean_keys(found: Mapping[str, Any]) -> dict[str, Any]:
    return {clean(key): value for key, value in found.items()}


def clean(text: str) -> str:
    """Text from a peer as valid UTF-8; bytes that are none become the replacement character, as in Go's JSON."""
    if text.isascii():
        return text
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
