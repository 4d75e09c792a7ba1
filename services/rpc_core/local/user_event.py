"""A user event: what it consists of, its form inside a Serf event, and for whom it is meant.

Consul wraps the event of its HTTP API into the payload of a Serf event named `consul:event:<name>`: a msgpack map
{ID, n, p, nf, sf, tf, v} in the newer form of msgpack, with a type of its own for bytes."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import msgpack

VERSION_MAX = 1
"""Newest version of the envelope that is understood here."""

_TEXTS = {"id": "ID", "name": "n", "node_filter": "nf", "service_filter": "sf", "tag_filter": "tf"}

Matcher = Callable[[str], bool]
LocalServices = Callable[[], Mapping[str, Sequence[str]]]
"""The agent's own services: id -> tags."""


class EventError(ValueError):
    """The event cannot be fired, or is none. The text is Consul's."""


@dataclass(frozen=True, slots=True)
class UserEvent:
    """payload: None for an empty one. ltime: Serf's Lamport time, 0 for one that was just fired."""

    id: str
    name: str
    payload: bytes | None = None
    node_filter: str = ""
    service_filter: str = ""
    tag_filter: str = ""
    version: int = VERSION_MAX
    ltime: int = 0

    def to_wire(self) -> dict[str, Any]:
        """As Consul's API shows it, with its names in their order; Payload is bytes or None."""
        return {
            "ID": self.id,
            "Name": self.name,
            "Payload": self.payload,
            "NodeFilter": self.node_filter,
            "ServiceFilter": self.service_filter,
            "TagFilter": self.tag_filter,
            "Version": self.version,
            "LTime": self.ltime,
        }

    @property
    def index(self) -> int:
        """X-Consul-Index after this event: both halves of its id, combined. Raises ValueError for an odd id."""
        number = uuid.UUID(self.id).int
        return (number >> 64) ^ (number & ((1 << 64) - 1))


def new_id(rng: Random) -> str:
    """128 random bits, as Consul's ids have no version in them."""
    return str(uuid.UUID(int=rng.getrandbits(128)))


def encode(event: UserEvent) -> bytes:
    """The payload of the Serf event; keys in Consul's order, empty filters left out."""
    optional = {"nf": event.node_filter, "p": event.payload, "sf": event.service_filter, "tf": event.tag_filter}
    given = {key: value for key, value in optional.items() if value}
    data: bytes = msgpack.packb(
        {"ID": event.id, "n": event.name, **given, "v": event.version}, unicode_errors="surrogateescape"
    )
    return data


def decode(data: bytes, ltime: int) -> UserEvent:
    """The event in a Serf event's payload. Raises EventError for anything that is none."""
    try:
        fields = msgpack.unpackb(data, raw=False, unicode_errors="surrogateescape", strict_map_key=False)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise EventError(f"malformed msgpack: {error or type(error).__name__}") from None
    if not isinstance(fields, dict):
        raise EventError("an event is a map")
    payload = fields.get("p")
    if isinstance(payload, str):
        payload = payload.encode("utf-8", "surrogateescape")
    version = fields.get("v", 0)
    texts = {name: fields.get(key) or "" for name, key in _TEXTS.items()}
    if not isinstance(payload, bytes | None) or type(version) is not int:
        raise EventError("a field of the event has the wrong type")
    if not all(isinstance(text, str) for text in texts.values()):
        raise EventError("a field of the event is no text")
    event = UserEvent(**texts, payload=payload or None, version=version, ltime=ltime)
    try:
        _ = event.index
    except ValueError:
        raise EventError(f"the event has no proper id: {event.id!r}") from None
    return event


def check(event: UserEvent) -> None:
    """Raises EventError for an event that Consul would not fire."""
    if not event.name:
        raise EventError("User event missing name")
    if event.tag_filter and not event.service_filter:
        raise EventError("Cannot provide tag filter without service filter")
    for kind, pattern in (
        ("node", event.node_filter),
        ("service", event.service_filter),
        ("tag", event.tag_filter),
    ):
        try:
            _matcher(pattern)
        except ValueError as error:
            raise EventError(f"Invalid {kind} filter: {error}") from None


def is_meant(event: UserEvent, node_name: str, services: LocalServices) -> bool:
    """Whether an event's filters let it through on this node.

    The service filter looks at the ids of services, as Consul's does. Raises EventError for a pattern that is bad, or
    too much work."""
    checked = (("node", event.node_filter), ("service", event.service_filter), ("tag", event.tag_filter))
    matchers: list[Matcher | None] = []
    for kind, pattern in checked:
        try:
            matchers.append(_matcher(pattern))
        except ValueError as error:
            raise EventError(f"{kind}: {error}") from None
    try:
        return _are_met(matchers, node_name, services)
    except ValueError as error:  # of a pattern that is too much work
        raise EventError(str(error)) from None


def _are_met(matchers: list[Matcher | None], node_name: str, services: LocalServices) -> bool:
    """matchers: of the node, a service, its tag."""
    by_node, by_service, by_tag = matchers
    if by_node is not None and not by_node(node_name):
        return False
    if by_service is None:
        return True
    return any(
        by_service(service_id) and (by_tag is None or any(map(by_tag, tags))) for service_id, tags in services().items()
    )


def _matcher(pattern: str) -> Matcher | None:
    """None for no pattern: the RE2 engine is only loaded when there is one. Raises ValueError."""
    if not pattern:
        return None
    from shared.bexpr.re2 import compile_pattern

    return compile_pattern(pattern)
