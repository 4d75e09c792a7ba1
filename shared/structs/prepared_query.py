"""Prepared queries: the stored definition, requests about it, and what its execution finds."""

from __future__ import annotations

from shared.structs.catalog import CheckServiceNode
from shared.structs.query import QueryMeta, QueryOptions, QuerySource
from shared.structs.schema import BOOL, INT, STR, STR_MAP, STRS, UINT, Kind, Struct, attr, list_of, opt, struct

CREATE, UPDATE, DELETE = "create", "update", "delete"
NAME_PREFIX_MATCH = "name_prefix_match"
"""The only type of templates: the query's name is a prefix of the names it answers to."""
NOT_FOUND = "Query not found"


class QueryDatacenterOptions(Struct):
    """Where to look if nothing healthy is found here: the nearest so many datacenters, then those named."""

    nearest_n: int = attr("NearestN", INT)
    datacenters: list[str] | None = attr("Datacenters", STRS)


class QueryDNSOptions(Struct):
    """ttl: a duration as text, "" for the default of DNS answers."""

    ttl: str = attr("TTL", STR)


class ServiceQuery(Struct):
    """Which instances of a service are wanted. A tag with "!" before it must be absent."""

    service: str = attr("Service", STR)
    failover: QueryDatacenterOptions = attr(
        "Failover", struct(lambda: QueryDatacenterOptions, "structs.QueryDatacenterOptions")
    )
    only_passing: bool = attr("OnlyPassing", BOOL)
    ignore_check_ids: list[str] | None = attr("IgnoreCheckIDs", list_of(Kind("str", "types.CheckID")))
    near: str = attr("Near", STR)
    tags: list[str] | None = attr("Tags", STRS)
    node_meta: dict[str, str] | None = attr("NodeMeta", STR_MAP)
    service_meta: dict[str, str] | None = attr("ServiceMeta", STR_MAP)
    connect: bool = attr("Connect", BOOL)


class QueryTemplateOptions(Struct):
    type: str = attr("Type", STR)
    regexp: str = attr("Regexp", STR)
    remove_empty_tags: bool = attr("RemoveEmptyTags", BOOL)


class PreparedQuery(Struct):
    """token: used when the query is executed, instead of the caller's."""

    id: str = attr("ID", STR)
    name: str = attr("Name", STR)
    session: str = attr("Session", STR)
    token: str = attr("Token", STR)
    template: QueryTemplateOptions = attr(
        "Template", struct(lambda: QueryTemplateOptions, "structs.QueryTemplateOptions")
    )
    service: ServiceQuery = attr("Service", struct(lambda: ServiceQuery, "structs.ServiceQuery"))
    dns: QueryDNSOptions = attr("DNS", struct(lambda: QueryDNSOptions, "structs.QueryDNSOptions"))
    create_index: int = attr("CreateIndex", UINT)
    modify_index: int = attr("ModifyIndex", UINT)

    @property
    def is_template(self) -> bool:
        return self.template.type != ""


class PreparedQueryRequest(Struct):
    """PreparedQuery.Apply and FSM message 7."""

    datacenter: str = attr("Datacenter", STR)
    op: str = attr("Op", STR)
    query: PreparedQuery | None = attr("Query", opt(lambda: PreparedQuery))
    token: str = attr("Token", STR)


class PreparedQuerySpecificRequest(QueryOptions):
    datacenter: str = attr("Datacenter", STR)
    query_id: str = attr("QueryID", STR)


class PreparedQueryExecuteRequest(QueryOptions):
    """source: what to sort by distance from; agent: who asks."""

    datacenter: str = attr("Datacenter", STR)
    query_id_or_name: str = attr("QueryIDOrName", STR)
    limit: int = attr("Limit", INT)
    connect: bool = attr("Connect", BOOL)
    source: QuerySource = attr("Source", struct(lambda: QuerySource))
    agent: QuerySource = attr("Agent", struct(lambda: QuerySource))


class PreparedQueryExecuteRemoteRequest(QueryOptions):
    """A query that came up with nothing in its own datacenter."""

    datacenter: str = attr("Datacenter", STR)
    query: PreparedQuery = attr("Query", struct(lambda: PreparedQuery))
    limit: int = attr("Limit", INT)
    connect: bool = attr("Connect", BOOL)


class PreparedQueryExecuteResponse(Struct):
    """failovers: how many other datacenters were asked."""

    service: str = attr("Service", STR)
    nodes: list[CheckServiceNode] | None = attr("Nodes", list_of(struct(lambda: CheckServiceNode)))
    dns: QueryDNSOptions = attr("DNS", struct(lambda: QueryDNSOptions))
    datacenter: str = attr("Datacenter", STR)
    failovers: int = attr("Failovers", INT)
    index: int = attr("Index", UINT)
    last_contact: int = attr("LastContact", UINT)
    known_leader: bool = attr("KnownLeader", BOOL)
    consistency_level: str = attr("ConsistencyLevel", STR)

    def take_meta(self, meta: QueryMeta) -> None:
        """Notes how fresh the answer is."""
        self.index, self.last_contact = meta.index, meta.last_contact
        self.known_leader, self.consistency_level = meta.known_leader, meta.consistency_level


class PreparedQueryExplainResponse(Struct):
    """The query a name leads to, its template filled in."""

    query: PreparedQuery = attr("Query", struct(lambda: PreparedQuery))
    index: int = attr("Index", UINT)
    last_contact: int = attr("LastContact", UINT)
    known_leader: bool = attr("KnownLeader", BOOL)
    consistency_level: str = attr("ConsistencyLevel", STR)
