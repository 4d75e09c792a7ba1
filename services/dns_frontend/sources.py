"""The catalog behind the answers: the local state store where that may answer, the RPC core for everything else.

Look-ups are plain calls. One that the local store cannot answer raises `NeedsAnswer`; the shell fetches what it names
and resolves the question again with what it has got so far (`fetched`).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final

from services.dns_frontend import message as dns
from services.dns_frontend.answers import LookupFailedError
from services.dns_frontend.question import Lookup
from services.dns_frontend.records import Instance, instances_of, packed_ip
from shared.ipc import IpcError
from shared.state.queries import catalog as catalog_queries
from shared.state.queries import health as health_queries
from shared.state.snapshot import Snapshot
from shared.structs.catalog import CheckServiceNode, Node

RECURSE: Final = "recurse"


class NeedsAnswer(Exception):
    """Something has to be fetched first. method: an RPC method, or RECURSE for the recursors."""

    def __init__(self, method: str, payload: dict[str, Any], key: Hashable) -> None:
        super().__init__(method)
        self.method = method
        self.payload = payload
        self.key = key


Fetched = Mapping[Hashable, Any]


class Source:
    """Catalog of one resolution. `watch` and `is_local` tell afterwards whether the answer may be cached, and
    what it depends on.

    snapshot: None where the local store must not answer (client mode, or stale reads are not allowed here).
    """

    def __init__(
        self, snapshot: Snapshot | None, datacenter: str, fetched: Fetched, *, allow_stale: bool, has_recursors: bool
    ) -> None:
        self._snapshot = snapshot
        self._datacenter = datacenter
        self._fetched = fetched
        self._allow_stale = allow_stale
        self._has_recursors = has_recursors
        self.watch: list[Any] = []
        self.is_local = snapshot is not None

    def service_nodes(self, lookup: Lookup) -> Sequence[Instance]:
        if lookup.kind == "query":
            reply = self._fetch("PreparedQuery.Execute", lookup.datacenter, {"QueryIDOrName": lookup.name})
            return _instances(reply)
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
        if not self._has_recursors:
            return ()
        self.is_local = False
        return self._get(NeedsAnswer(RECURSE, {"name": name}, (RECURSE, name)))  # type: ignore[no-any-return]

    def _fetch(self, method: str, datacenter: str, arguments: dict[str, Any]) -> Any:
        self.is_local = False
        payload = {"Datacenter": datacenter, "AllowStale": self._allow_stale, **arguments}
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


def _same_address(one: str, other: str) -> bool:
    if one == other:
        return True
    return ":" in one and ":" in other and packed_ip(one) == packed_ip(other)
