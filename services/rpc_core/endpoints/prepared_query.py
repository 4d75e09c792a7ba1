"""PreparedQuery.*: stored queries for healthy instances of a service.

`PreparedQuery.Execute` over rpc.sock is also how DNS answers names below `query`: the request is a
PreparedQueryExecuteRequest (QueryIDOrName, Limit, Agent with Node, Segment and Datacenter, Source, AllowStale and the
other options), the reply a PreparedQueryExecuteResponse whose DNS.TTL is "" or a duration. A name that leads nowhere
is the error "Query not found"."""

from __future__ import annotations

from typing import Any

import trio

from services.rpc_core.core import Core
from services.rpc_core.endpoints.ids import fresh_id
from services.rpc_core.endpoints.near import sort_by_distance
from services.rpc_core.errors import RpcError
from shared import metrics
from shared.gotext.durations import DurationError, parse_duration_ns
from shared.log import get_logger
from shared.state.answer import Answer
from shared.state.errors import StateLookupError
from shared.state.queries import catalog, health
from shared.state.queries import prepared_query as queries
from shared.state.records import satisfies_meta
from shared.state.snapshot import Snapshot
from shared.structs.catalog import CRITICAL, PASSING, CheckServiceNode
from shared.structs.prepared_query import (
    CREATE,
    DELETE,
    NOT_FOUND,
    UPDATE,
    PreparedQuery,
    PreparedQueryExecuteRemoteRequest,
    PreparedQueryExecuteRequest,
    PreparedQueryExecuteResponse,
    PreparedQueryRequest,
    PreparedQuerySpecificRequest,
    ServiceQuery,
)
from shared.structs.query import DCSpecificRequest, QueryOptions, QuerySource

_log = get_logger("agent.server.prepared_query")

REDACTED_TOKEN = "<hidden>"
"""What a client sees of a token that is not its business."""
_AGENT, _IP = "_agent", "_ip"
"""Sources of distances that mean the asking agent, and the node with the client's address."""
_NEAREST_LOOKED_FOR = 10


async def apply(core: Core, body: Any) -> str:
    """Create, update or delete: the query's id."""
    args = PreparedQueryRequest.from_wire(body)
    await core.router.answer_here("PreparedQuery.Apply", args.datacenter)
    started = trio.current_time()
    query = args.query = args.query or PreparedQuery()
    if args.op == CREATE:
        if query.id:
            raise RpcError("ID must be empty when creating a new prepared query")
        query.id = fresh_id(core, queries.find)
    else:
        with core.snapshot() as snap:
            try:
                found = queries.find(snap, query.id)
            except StateLookupError as error:
                raise RpcError(f"Prepared Query lookup failed: {error}") from None
        if found is None:
            raise RpcError(f"Cannot modify non-existent prepared query: '{query.id}'")
    if args.op in (CREATE, UPDATE):
        problem = _problem(query)
        if problem:
            raise RpcError(f"Invalid prepared query: {problem}")
    elif args.op != DELETE:
        raise RpcError(f"Unknown prepared query operation: {args.op}")
    await core.apply(args)
    metrics.sample("consul.prepared-query.apply", (trio.current_time() - started) * 1000)
    return query.id


def _problem(query: PreparedQuery) -> str:
    """What is wrong with a query, "" if nothing that can be told before it is stored."""
    if not (query.name or query.template.type or query.session):
        return "Must be bound to a session"
    if query.token == REDACTED_TOKEN:
        return f"Bad Token '{query.token}', it looks like a query definition with a redacted token was submitted"
    service = query.service
    if not service.service:
        return "Must provide a Service name to query"
    if service.failover.nearest_n < 0:
        return f"Bad NearestN '{service.failover.nearest_n}', must be >= 0"
    if service.node_meta:
        from shared.config.services import invalid_metadata

        problem = invalid_metadata(service.node_meta, allowed=frozenset(service.node_meta))
        if problem is not None:
            return problem
    return _ttl_problem(query.dns.ttl)


def _ttl_problem(ttl: str) -> str:
    if not ttl:
        return ""
    try:
        ttl_ns = parse_duration_ns(ttl)
    except DurationError as error:
        return f"Bad DNS TTL '{ttl}': {error}"
    return f"DNS TTL '{ttl_ns}', must be >=0" if ttl_ns < 0 else ""


# Reading --------------------------------------------------------------------------------------------------


async def get(core: Core, body: Any) -> dict[str, Any]:
    args = PreparedQuerySpecificRequest.from_wire(body)

    def query(snap: Snapshot) -> Answer[PreparedQuery]:
        answer = queries.get(snap, args.query_id)
        if answer.value is None:
            raise RpcError(NOT_FOUND)
        return Answer(answer.index, answer.value, answer.watch)

    reply = await core.read("PreparedQuery.Get", args.datacenter, args, query)
    return reply.to_wire("Queries", [reply.value.to_wire()])


async def list_all(core: Core, body: Any) -> dict[str, Any]:
    args = DCSpecificRequest.from_wire(body)
    reply = await core.read("PreparedQuery.List", args.datacenter, args, queries.queries)
    return reply.to_wire("Queries", [query.to_wire() for query in reply.value] or None)


async def _ready(core: Core, method: str, datacenter: str, options: QueryOptions) -> None:
    """What `Core.read` does before a read; these here do not wait for changes."""
    await core.router.answer_here(method, datacenter, stale=options.allow_stale)
    await core.wait_for_state()
    if options.require_consistent:
        await core.confirm_leadership()


def _resolve(snap: Snapshot, args: PreparedQueryExecuteRequest) -> PreparedQuery:
    """The query that is meant, a template filled in. Raises RpcError, StateLookupError."""
    found = queries.lookup(snap, args.query_id_or_name)
    if found is None:
        raise RpcError(NOT_FOUND)
    if not found.is_template:
        return found
    from shared.query_template import TemplateError, compile_template

    try:
        return compile_template(found).render(args.query_id_or_name, args.agent.segment)
    except TemplateError as error:
        raise RpcError(str(error)) from None


async def explain(core: Core, body: Any) -> dict[str, Any]:
    """Which query a name leads to, filled in."""
    args = PreparedQueryExecuteRequest.from_wire(body)
    await _ready(core, "PreparedQuery.Explain", args.datacenter, args)
    started = trio.current_time()
    with core.snapshot() as snap:
        query = _resolve(snap, args)
    metrics.sample("consul.prepared-query.explain", (trio.current_time() - started) * 1000)
    return {**core.query_meta(0).to_wire(), "Query": query.to_wire()}


# Executing ------------------------------------------------------------------------------------------------


async def execute(core: Core, body: Any) -> dict[str, Any]:
    """The healthy instances a query finds, in random order or by distance; of other datacenters if there are none
    here."""
    args = PreparedQueryExecuteRequest.from_wire(body)
    await _ready(core, "PreparedQuery.Execute", args.datacenter, args)
    started = trio.current_time()
    with core.snapshot() as snap:
        query = _resolve(snap, args)
        reply = _execute(core, snap, query.service, args.connect)
        reply.dns = query.dns
        if reply.nodes:
            core.rng.shuffle(reply.nodes)
            _sort(core, snap, query, args, reply.nodes)
    _limit(reply, args.limit)
    if not reply.nodes:
        await _fail_over(core, query, args, reply)
    reply.take_meta(core.query_meta(0))
    metrics.sample("consul.prepared-query.execute", (trio.current_time() - started) * 1000)
    return reply.to_wire()


async def execute_remote(core: Core, body: Any) -> dict[str, Any]:
    """A query that a server of another datacenter sends along because it found nothing at home."""
    args = PreparedQueryExecuteRemoteRequest.from_wire(body)
    await _ready(core, "PreparedQuery.ExecuteRemote", args.datacenter, args)
    started = trio.current_time()
    with core.snapshot() as snap:
        reply = _execute(core, snap, args.query.service, args.connect)
    reply.dns = args.query.dns
    if reply.nodes:
        core.rng.shuffle(reply.nodes)
    _limit(reply, args.limit)
    reply.take_meta(core.query_meta(0))
    metrics.sample("consul.prepared-query.execute_remote", (trio.current_time() - started) * 1000)
    return reply.to_wire()


def _limit(reply: PreparedQueryExecuteResponse, limit: int) -> None:
    if reply.nodes and limit > 0:
        reply.nodes = reply.nodes[:limit]


def _execute(core: Core, snap: Snapshot, wanted: ServiceQuery, connect: bool) -> PreparedQueryExecuteResponse:
    """All instances of this datacenter that fit; None, not an empty list, where Consul has nil."""
    found = health.service_nodes(snap, wanted.service, connect=wanted.connect or connect).value
    nodes = [instance for instance in found if _is_healthy(wanted, instance)] if found else None
    if wanted.node_meta:
        nodes = [each for each in nodes or () if each.node and satisfies_meta(each.node.meta, wanted.node_meta)] or None
    if wanted.service_meta:
        nodes = [
            each for each in nodes or () if each.service and satisfies_meta(each.service.meta, wanted.service_meta)
        ] or None
    if wanted.tags and nodes:
        tags = wanted.tags
        nodes = [each for each in nodes if _tags_fit(tags, (each.service.tags if each.service else None) or [])]
    return PreparedQueryExecuteResponse(service=wanted.service, nodes=nodes, datacenter=core.config.datacenter)


def _is_healthy(wanted: ServiceQuery, instance: CheckServiceNode) -> bool:
    ignored = wanted.ignore_check_ids or ()
    return not any(
        check.check_id not in ignored
        and (check.status == CRITICAL or (wanted.only_passing and check.status != PASSING))
        for check in instance.checks or ()
    )


def _tags_fit(wanted: list[str], tags: list[str]) -> bool:
    """All tags there, in any case; none of those with an exclamation mark."""
    have = {tag.lower() for tag in tags}
    for tag in wanted:
        folded = tag.lower()
        if folded.startswith("!"):
            if folded[1:] in have:
                return False
        elif folded not in have:
            return False
    return True


def _sort(
    core: Core,
    snap: Snapshot,
    query: PreparedQuery,
    args: PreparedQueryExecuteRequest,
    nodes: list[CheckServiceNode],
) -> None:
    """By distance from what the client, or else the query, names; that node itself first of all."""
    source = args.source.replace(
        datacenter=args.source.datacenter or args.agent.datacenter,
        node=args.source.node or query.service.near,
    )
    if source.node == _AGENT:
        source.node = args.agent.node
    elif source.node == _IP:
        source.node = _node_at(snap, args.source)
    sort_by_distance(snap, source, core.config.datacenter, nodes, _node_name)
    if source.node and source.datacenter == core.config.datacenter:
        for at, instance in enumerate(nodes[:_NEAREST_LOOKED_FOR]):
            if _node_name(instance) == source.node:
                nodes[0], nodes[at] = instance, nodes[0]
                break


def _node_name(instance: CheckServiceNode) -> str:
    return instance.node.node if instance.node is not None else ""


def _node_at(snap: Snapshot, source: QuerySource) -> str:
    """The first node with the client's address, "" if there is none."""
    if not source.ip:
        _log.warn(
            "Prepared Query using near=_ip requires the source IP to be set but none was provided. "
            "No distance sorting will be done."
        )
        return ""
    return next((node.node for node in catalog.nodes(snap).value if node.address == source.ip), "")


async def _fail_over(
    core: Core, query: PreparedQuery, args: PreparedQueryExecuteRequest, reply: PreparedQueryExecuteResponse
) -> None:
    """Asks other datacenters one after the other until one has instances: the nearest first, then those named. Names
    nobody knows are passed over."""
    wanted = query.service.failover
    others = [name for name in core.pools.datacenters() if name != core.config.datacenter]
    chosen = others[: max(wanted.nearest_n, 0)]
    for name in wanted.datacenters or ():
        if name not in others:
            _log.debug("Skipping unknown datacenter in prepared query", datacenter=name)
        elif name not in chosen[: max(wanted.nearest_n, 0)]:
            chosen.append(name)
    for name in chosen:
        reply.failovers += 1
        reply.nodes = None
        try:
            await core.router.answer_here("PreparedQuery.ExecuteRemote", name)
        except RpcError as error:
            _log.warn(
                "Failed querying for service in datacenter",
                service=query.service.service,
                datacenter=name,
                error=str(error),
            )


METHODS = {
    "PreparedQuery.Apply": apply,
    "PreparedQuery.Get": get,
    "PreparedQuery.List": list_all,
    "PreparedQuery.Explain": explain,
    "PreparedQuery.Execute": execute,
    "PreparedQuery.ExecuteRemote": execute_remote,
}
