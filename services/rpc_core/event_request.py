"""How a user event travels: Serf's name of it, and the request with which a server is asked to spread it."""

from __future__ import annotations

from shared.structs.query import QueryOptions
from shared.structs.schema import BYTES, STR, attr

SERF_PREFIX = "consul:event:"
"""What Serf's name of a user event begins with."""
CONSUL_PREFIX = "consul:"
"""Events of other names are none of Consul's."""
NEW_LEADER_EVENT = "consul:new-leader"


class EventFireRequest(QueryOptions):
    """payload: the envelope of the event, which only agents look into."""

    datacenter: str = attr("Datacenter", STR)
    name: str = attr("Name", STR)
    payload: bytes | None = attr("Payload", BYTES)
