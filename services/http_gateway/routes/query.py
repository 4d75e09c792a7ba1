"""/v1/query: prepared queries, their execution, and what a name leads to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from services.http_gateway import agent_cache
from services.http_gateway.call import LATER, Call
from services.http_gateway.errors import BadRequestError, HttpError, MethodNotAllowedError, NotFoundError
from services.http_gateway.options import ReadOptions
from services.http_gateway.reads import ZERO_META, Meta, Read, read
from services.http_gateway.routes.table import Route
from services.http_gateway.selection import source_arguments, translate_service, wan_address
from shared.gotext.numbers import parse_bool
from shared.gotext.quoting import quote
from shared.ipc.errors import IpcError, RemoteError
from shared.state.answer import Answer
from shared.state.errors import StateLookupError
from shared.state.queries import prepared_query as queries
from shared.state.snapshot import Snapshot
from shared.structs.errors import JsonError
from shared.structs.prepared_query import (
    CREATE,
    DELETE,
    NOT_FOUND,
    UPDATE,
    PreparedQuery,
    PreparedQueryExecuteResponse,
    PreparedQueryExplainResponse,
    PreparedQueryRequest,
)

_WRITE_TIMEOUT_S = 30.0


def general(call: Call) -> Any:
    """POST creates a query, GET lists all."""
    return _create(call) if call.request.method == "POST" else _list(call)


def specific(call: Call) -> Any:
    """GET, PUT and DELETE of one query; GET of <id or name>/execute and /explain. What other methods and OPTIONS get
    is decided here, as in Consul."""
    path, method = call.request.path, call.request.method
    name = path.removeprefix("/v1/query/")
    suffix = next((suffix for suffix in ("/execute", "/explain") if path.endswith(suffix)), "")
    allowed = "GET" if suffix else "GET,PUT,DELETE"
    if method == "OPTIONS":
        call.headers["Allow"] = f"OPTIONS,{allowed}"
        # Consul shows the object it writes answers with, whose only public member is there when it compresses them.
        return {"ResponseWriter": {}} if call.request.gzip else {}
    if method not in allowed.split(","):
        raise MethodNotAllowedError(method, allowed)
    if suffix:
        return (_execute if suffix == "/execute" else _explain)(call, name.removesuffix(suffix))
    return {"GET": _get, "PUT": _update, "DELETE": _delete}[method](call, name)


# Writing --------------------------------------------------------------------------------------------------


def _create(call: Call) -> Any:
    return _apply(call, CREATE, _body(call), lambda reply: {"ID": reply})


def _update(call: Call, query_id: str) -> Any:
    query = _body(call) if call.request.content_length > 0 else PreparedQuery()
    query.id = query_id
    return _apply(call, UPDATE, query, lambda _reply: None)


def _delete(call: Call, query_id: str) -> Any:
    return _apply(call, DELETE, PreparedQuery(id=query_id), lambda _reply: None)


def _body(call: Call) -> PreparedQuery:
    try:
        return PreparedQuery.from_json(call.json_body())
    except JsonError as error:
        raise BadRequestError(f"Request decode failed: {error}") from None


def _apply(call: Call, operation: str, query: PreparedQuery, then: Callable[[Any], Any]) -> Any:
    request = PreparedQueryRequest(datacenter=call.datacenter(), op=operation, query=query, token=call.token())
    return call.rpc("PreparedQuery.Apply", request.to_wire(), then, timeout_s=_WRITE_TIMEOUT_S)


# Reading --------------------------------------------------------------------------------------------------


def _list(call: Call) -> Any:
    options = call.options()
    call.on_failure = ZERO_META.headers()
    return read(
        call,
        options,
        Read(
            method="PreparedQuery.List",
            arguments={},
            local=queries.queries,
            remote=_remote,
            show=lambda found: [query.to_json() for query in found],
        ),
    )


def _get(call: Call, query_id: str) -> Any:
    options = call.options()
    call.on_failure = ZERO_META.headers()

    def local(snap: Snapshot) -> Answer[list[PreparedQuery]]:
        try:
            answer = queries.get(snap, query_id)
        except StateLookupError as error:
            raise HttpError(str(error)) from None
        if answer.value is None:
            raise _not_found(call)
        return Answer(answer.index, [answer.value], answer.watch)

    return read(
        call,
        options,
        Read(
            method="PreparedQuery.Get",
            arguments={"QueryID": query_id},
            local=local,
            remote=_remote,
            show=lambda found: [query.to_json() for query in found],
            failed=lambda error: _shown(call, error),
        ),
    )


def _not_found(call: Call, text: str = NOT_FOUND) -> NotFoundError:
    """Consul has written this answer before it sets the metadata, so they are missing."""
    call.on_failure = {}
    return NotFoundError(text)


def _shown(call: Call, error: IpcError) -> Exception:
    """An error of rpc_core as the client sees it."""
    return _not_found(call, str(error)) if isinstance(error, RemoteError) and NOT_FOUND in str(error) else error


def _remote(reply: Any) -> list[PreparedQuery]:
    return [PreparedQuery.from_wire(each) for each in reply.get("Queries") or ()]


# Executing ------------------------------------------------------------------------------------------------


def _execute(call: Call, name: str) -> Any:
    return _run(call, name, "PreparedQuery.Execute", _show_found)


def _explain(call: Call, name: str) -> Any:
    return _run(call, name, "PreparedQuery.Explain", lambda _call, reply: PreparedQueryExplainResponse.from_wire(reply))


def _run(call: Call, name: str, method: str, show: Callable[[Call, Any], Any]) -> Any:
    """Runs a query where the state is; it never waits for a change."""
    config = call.gateway.config
    source = source_arguments(call)
    options = call.options()
    limit = _limit(call)
    arguments = {
        "QueryIDOrName": name,
        "Limit": limit,
        "Connect": method == "PreparedQuery.Execute" and _connect(call),
        "Source": source,
        "Agent": {
            "Node": config.node_name,
            "Datacenter": config.datacenter,
            "Segment": config.segment,
            "Ip": "",
        },
    }
    call.on_failure = ZERO_META.headers()

    def then(reply: Any) -> Any:
        return _answer(call, options, show(call, reply))

    if method == "PreparedQuery.Execute" and agent_cache.wanted(call.gateway, options):
        return agent_cache.get(call, options, method, arguments, then)

    def on_done(reply: Any, error: IpcError | None) -> None:
        if error is not None:
            call.failed(_shown(call, error))
        else:
            call.run(lambda: then(reply))

    payload = {**arguments, **options.to_wire(), "Datacenter": options.datacenter}
    call.gateway.rpc.post(method, payload, on_done, timeout_s=call.gateway.rpc_timeout_s, retry_safe=True)
    return LATER


def _answer(call: Call, options: ReadOptions, found: Any) -> Any:
    found.consistency_level = options.level
    meta = Meta(found.index, found.last_contact // 1_000_000, found.known_leader)
    call.headers.update(meta.headers())
    call.headers["X-Consul-Effective-Consistency"] = options.level
    return found.to_json()


def _limit(call: Call) -> int:
    text = call.request.first("limit")
    if not text:
        return 0
    digits = text[1:] if text[0] in "+-" else text
    if not (digits.isascii() and digits.isdigit()):
        raise HttpError(f"Bad limit: strconv.Atoi: parsing {quote(text)}: invalid syntax")
    digits = digits.lstrip("0")
    number = int(digits or "0") if len(digits) <= 20 else 1 << 64
    number = -number if text[0] == "-" else number
    if not -(1 << 63) <= number < 1 << 63:
        raise HttpError(f"Bad limit: strconv.Atoi: parsing {quote(text)}: value out of range")
    return number


def _connect(call: Call) -> bool:
    text = call.request.first("connect")
    if not text:
        return False
    try:
        return parse_bool(text)
    except ValueError as error:
        raise HttpError(f"Error parsing 'connect' value: {error}") from None


def _show_found(call: Call, reply: Any) -> PreparedQueryExecuteResponse:
    found = PreparedQueryExecuteResponse.from_wire(reply)
    config = call.gateway.config
    outside = config.translate_wan_addrs and found.datacenter != config.datacenter
    found.nodes = found.nodes or []
    for instance in found.nodes:
        if outside and instance.service is not None:
            translate_service(instance.service, "address", "tagged_addresses", "port")
        if outside and instance.node is not None:
            instance.node.address = wan_address(instance.node.address, instance.node.tagged_addresses)
    return found


ROUTES = [
    Route("/v1/query", "GET POST", general),
    Route("/v1/query/", "", specific),
]
