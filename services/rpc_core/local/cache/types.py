"""Which requests can be cached, and what makes two of them the same. Names and rules are Consul's.

The order by distance (`?near=`) is not part of what makes a request: whoever asks first decides it for all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Request = Mapping[str, Any]
"""A wire request, query options included."""

TTL_S = 72 * 3600.0
"""How long an entry lives after it was last read."""
QUERY_TIMEOUT_S = 600.0
"""How long a refresh blocks."""


@dataclass(frozen=True, slots=True)
class CacheType:
    """method: the RPC. key: what tells its requests apart, beside datacenter and token. blocks, refreshes: as in
    Entry. partitioned: whether datacenter and token matter at all."""

    name: str
    method: str
    key: Callable[[Request], tuple[Any, ...]]
    blocks: bool = True
    refreshes: bool = True
    partitioned: bool = True

    def entry_key(self, request: Request) -> tuple[Any, ...]:
        where = (request.get("Datacenter"), request.get("Token")) if self.partitioned else ()
        return (self.name, *where, *self.key(request))


def _meta(request: Request) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((request.get("NodeMetaFilters") or {}).items()))


def _service(request: Request) -> tuple[Any, ...]:
    return (
        _meta(request),
        request.get("ServiceName") or "",
        request.get("ServiceTag") or "",
        tuple(sorted(request.get("ServiceTags") or ())),
        request.get("ServiceAddress") or "",
        bool(request.get("TagFilter")),
        bool(request.get("Connect")),
        bool(request.get("Ingress")),
        request.get("Filter") or "",
    )


def _datacenter(request: Request) -> tuple[Any, ...]:
    return (_meta(request), request.get("Filter") or "")


def _node(request: Request) -> tuple[Any, ...]:
    return (request.get("Node") or "", request.get("Filter") or "")


def _query(request: Request) -> tuple[Any, ...]:
    return (request.get("QueryIDOrName") or "", request.get("Limit") or 0, bool(request.get("Connect")))


def _only_one(_request: Request) -> tuple[Any, ...]:
    return ()


TYPES = {
    each.name: each
    for each in (
        CacheType("health-services", "Health.ServiceNodes", _service),
        CacheType("catalog-services", "Catalog.ServiceNodes", _service),
        CacheType("catalog-list-services", "Catalog.ListServices", _datacenter),
        CacheType("node-services", "Catalog.NodeServices", _node),
        CacheType(
            "catalog-datacenters",
            "Catalog.ListDatacenters",
            _only_one,
            blocks=False,
            refreshes=False,
            partitioned=False,
        ),
        CacheType("prepared-query", "PreparedQuery.Execute", _query, blocks=False, refreshes=False),
    )
}
"""By Consul's names of the cache types."""
