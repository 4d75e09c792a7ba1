"""What every read carries: options on the way in, metadata on the way out, and the read requests."""

from __future__ import annotations

from typing import Any

from shared.structs.schema import ANY, BOOL, DURATION, STR, STR_MAP, STRS, UINT, Struct, attr, list_of, struct


class QueryOptions(Struct):
    """Options of a read; durations in nanoseconds. Base of every read request."""

    token: str = attr("Token", STR)
    min_query_index: int = attr("MinQueryIndex", UINT)
    max_query_time: int = attr("MaxQueryTime", DURATION)
    allow_stale: bool = attr("AllowStale", BOOL)
    require_consistent: bool = attr("RequireConsistent", BOOL)
    use_cache: bool = attr("UseCache", BOOL)
    max_stale_duration: int = attr("MaxStaleDuration", DURATION)
    max_age: int = attr("MaxAge", DURATION)
    must_revalidate: bool = attr("MustRevalidate", BOOL)
    stale_if_error: int = attr("StaleIfError", DURATION)
    filter: str = attr("Filter", STR)


class QueryMeta(Struct):
    """Metadata of an answer; last_contact in nanoseconds."""

    index: int = attr("Index", UINT)
    last_contact: int = attr("LastContact", DURATION)
    known_leader: bool = attr("KnownLeader", BOOL)
    consistency_level: str = attr("ConsistencyLevel", STR)


class QuerySource(Struct):
    """Where a query comes from, for sorting by round trip time."""

    datacenter: str = attr("Datacenter", STR)
    segment: str = attr("Segment", STR)
    node: str = attr("Node", STR)
    ip: str = attr("Ip", STR)


class DCSpecificRequest(QueryOptions):
    datacenter: str = attr("Datacenter", STR)
    node_meta_filters: dict[str, str] | None = attr("NodeMetaFilters", STR_MAP)
    source: QuerySource = attr("Source", struct(lambda: QuerySource))


class NodeSpecificRequest(QueryOptions):
    datacenter: str = attr("Datacenter", STR)
    node: str = attr("Node", STR)


class ServiceSpecificRequest(QueryOptions):
    """service_tag is the old single tag; tag_filter says whether tags are looked at."""

    datacenter: str = attr("Datacenter", STR)
    node_meta_filters: dict[str, str] | None = attr("NodeMetaFilters", STR_MAP)
    service_name: str = attr("ServiceName", STR)
    service_tag: str = attr("ServiceTag", STR)
    service_tags: list[str] | None = attr("ServiceTags", STRS)
    service_address: str = attr("ServiceAddress", STR)
    tag_filter: bool = attr("TagFilter", BOOL)
    source: QuerySource = attr("Source", struct(lambda: QuerySource))
    connect: bool = attr("Connect", BOOL)
    ingress: bool = attr("Ingress", BOOL)


class ServiceDumpRequest(QueryOptions):
    datacenter: str = attr("Datacenter", STR)
    service_kind: str = attr("ServiceKind", STR)
    use_service_kind: bool = attr("UseServiceKind", BOOL)
    source: QuerySource = attr("Source", struct(lambda: QuerySource))


class ChecksInStateRequest(QueryOptions):
    datacenter: str = attr("Datacenter", STR)
    node_meta_filters: dict[str, str] | None = attr("NodeMetaFilters", STR_MAP)
    state: str = attr("State", STR)
    source: QuerySource = attr("Source", struct(lambda: QuerySource))


class KeyRequest(QueryOptions):
    datacenter: str = attr("Datacenter", STR)
    key: str = attr("Key", STR)


class KeyListRequest(QueryOptions):
    """`separator` is spelled Seperator on the wire."""

    datacenter: str = attr("Datacenter", STR)
    prefix: str = attr("Prefix", STR)
    separator: str = attr("Seperator", STR)


class SessionSpecificRequest(QueryOptions):
    """`session` is the old name of session_id, used when that is empty."""

    datacenter: str = attr("Datacenter", STR)
    session_id: str = attr("SessionID", STR)
    session: str = attr("Session", STR)


class TxnReadRequest(QueryOptions):
    """Ops are read with txn.TxnOp.from_wire."""

    datacenter: str = attr("Datacenter", STR)
    ops: list[Any] | None = attr("Ops", list_of(ANY))
