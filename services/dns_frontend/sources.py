"""The catalog behind the answers: the local state store where that may answer, the RPC core for everything else.

Look-ups are plain calls. One that the local store cannot answer raises `NeedsAnswer`; the shell fetches what it names
and resolves the question again with what it has got so far (`fetched`).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from services.dns_frontend import message as dns
from services.dns_frontend.answers import LookupFailedError, QueryResult
from services.dns_frontend.question import Lookup
from services.dns_frontend.records import Instance, instances_of, packed_ip
from shared.gotext.durations import DurationError, parse_duration_ns
from shared.ipc import IpcError
from shared.state.queries import catalog as catalog_queries
from shared.state.queries import health as health_queries
from shared.state.snapshot import Snapshot
from shared.structs.catalog import CheckServiceNode, Node

RECURSE: Final = "recurse"
CACHE_TYPES: Final = {
    "Health.ServiceNodes": "health-services",
    "Catalog.NodeServices": "node-services",
    "PreparedQuery.Execute": "prepared-query",
}
"""What Consul's DNS server asks its agent cache for, if it may; the rest is asked of a server each time."""
REFRESHED: Final = frozenset({"health-services", "node-services"})
"""Those of them that the cache keeps fresh."""


class NeedsAnswer(Exception):
    """Something has to be fetched first. method: an RPC method, or RECURSE for the recursors."""

    def __init__(self, method: str, payload: dict[str, Any], key: Hashable) -> None:
        super().__init__(method)
        self.method = method
        self.payload = payload
        self.key = key


Fetched = Mapping[Hashable, Any]


@dataclass(frozen=True, slots=True)
class Reading:
    """The part of the configuration that says how the catalog is read. token: for all questions.

    use_cache: what the local store does not answer comes from the agent cache; what is not refreshed there may be
    cache_max_age_s old, 0 for any age."""

    datacenter: str
    node_name: str
    token: str = ""
    allow_stale: bool = True
    max_stale_s: float = 0.0
    use_cache: bool = False
    cache_max_age_s: float = 0.0
    has_recursors: bool = False


class Source:
    """Catalog of one resolution. `watch` and `is_local` tell afterwards whether the answer may be cached, and
    what it depends on.

    snapshot: None where the local store must not answer (client mode, or stale reads are not allowed here).
    asker: address of whoever asks, for prepared queries that sort by it.
    """

    def __init__(self, snapshot: Snapshot | None, reading: Reading, fetched: Fetched, *, asker: str) -> None:
        self._snapshot = snapshot
        self._reading = reading
        self._datacenter = reading.datacenter
        self._fetched = fetched
        self._asker = asker
        self.watch: list[Any] = []
        self.is_local = snapshot is not None

    def service_nodes(self, lookup: Lookup) -> Sequence[Instance]:
        if self._snapshot is not None and lookup.datacenter == self._datacenter and lookup.kind == "service":
            answer = health_queries.service_nodes(self._snapshot, lookup.name, tags=(lookup.tag,) if lookup.tag else ())
            self.watch += answer.watch
            return instances_of(answer.value)
        reply = self._fetch(
            "Health.ServiceNodes",
            lookup.datacenter,
            {
                "ServiceName": lookup.name,
                "ServiceTags": [lookup.tag],
                "TagFilter": bool(lookup.tag),
                "Connect": lookup.kind == "connect",
                "Ingress": lookup.kind == "ingress",
            },
        )
        return _instances(reply)

    def prepared_query(self, lookup: Lookup) -> QueryResult:
        reading = self._reading
        where = {"Datacenter": reading.datacenter, "Segment": "", "Node": reading.node_name, "Ip": ""}
        arguments = {
            "QueryIDOrName": lookup.name,
            "Agent": where,
            "Source": {"Datacenter": "", "Segment": "", "Node": "", "Ip": self._asker},
        }
        reply = self._fetch("PreparedQuery.Execute", lookup.datacenter, arguments) or {}
        return QueryResult(
            _instances(reply),
            str(reply.get("Service") or ""),
            str(reply.get("Datacenter") or lookup.datacenter),
            _ttl_s(str((reply.get("DNS") or {}).get("TTL") or "")),
        )

    def node(self, datacenter: str, name: str) -> Node | None:
        if self._snapshot is not None and datacenter == self._datacenter:
            answer = catalog_queries.node(self._snapshot, name)
            self.watch += answer.watch
            return answer.value
        reply = self._fetch("Catalog.NodeServices", datacenter, {"Node": name})
        found = (reply or {}).get("NodeServices")
        return None if found is None or found.get("Node") is None else Node.from_wire(found["Node"])

    def node_with_address(self, address: str) -> Node | None:
        if self._snapshot is not None:
            answer = catalog_queries.nodes(self._snapshot)
            self.watch += answer.watch
            nodes = answer.value
        else:
            reply = self._fetch("Catalog.ListNodes", self._datacenter, {})
            nodes = [Node.from_wire(node) for node in reply.get("Nodes") or ()]
        return next((node for node in nodes if _same_address(node.address, address)), None)

    def service_with_address(self, address: str) -> str | None:
        if self._snapshot is not None:
            answer = catalog_queries.service_address_nodes(self._snapshot, address)
            self.watch += answer.watch
            return next((service.service_name for service in answer.value), None)
        reply = self._fetch("Catalog.ServiceNodes", self._datacenter, {"ServiceName": "", "ServiceAddress": address})
        found = (str(service["ServiceName"]) for service in reply.get("ServiceNodes") or ())
        return next(found, None)

    def recurse(self, name: str) -> Sequence[dns.Record]:
        if not self._reading.has_recursors:
            return ()
        self.is_local = False
        return self._get(NeedsAnswer(RECURSE, {"name": name}, (RECURSE, name)))  # type: ignore[no-any-return]

    def _fetch(self, method: str, datacenter: str, arguments: dict[str, Any]) -> Any:
        self.is_local = False
        reading = self._reading
        payload = {
            "Datacenter": datacenter,
            "AllowStale": reading.allow_stale,
            "Token": reading.token,
            "MaxAge": int(reading.cache_max_age_s * 1e9),
            **arguments,
        }
        return self._get(NeedsAnswer(method, payload, (method, repr(payload))))

    def _get(self, need: NeedsAnswer) -> Any:
        try:
            value = self._fetched[need.key]
        except KeyError:
            raise need from None
        if isinstance(value, IpcError):
            text = str(value)
            missing = "No path to datacenter" in text or "Query not found" in text
            raise LookupFailedError(dns.NXDOMAIN if missing else dns.SERVFAIL, text)
        return value


def _instances(reply: Any) -> list[Instance]:
    return instances_of(CheckServiceNode.from_wire(node) for node in (reply or {}).get("Nodes") or ())


def _ttl_s(text: str) -> int | None:
    """The TTL that a prepared query sets; what cannot be read counts as 0, as its author wanted some."""
    if not text:
        return None
    try:
        return parse_duration_ns(text) // 1_000_000_000
    except DurationError:
        return 0


def _same_address(one: str, other: str) -> bool:
    if one == other:
        return True
    return ":" in one and ":" in other and packed_ip(one) == packed_ip(other)
