"""/v1/txn: several operations on keys, nodes, services and checks that succeed or fail as one."""

from __future__ import annotations

from typing import Any

from services.http_gateway.call import Call
from services.http_gateway.errors import BadRequestError, TooLargeError
from services.http_gateway.message import Response
from services.http_gateway.options import ReadOptions
from services.http_gateway.routes.table import Route
from services.http_gateway.writes import TIMEOUT_S
from shared.gotext.quoting import quote
from shared.structs.errors import JsonError
from shared.structs.kv import CAS, DELETE, DELETE_CAS, DELETE_TREE, GET, LOCK, SET, UNLOCK
from shared.structs.txn import TxnOp, TxnResponse

OPERATIONS_MAX = 64
_LARGE_URL = "https://www.consul.io/docs/agent/options.html#txn_max_req_len"
_KV_WRITES = frozenset((SET, DELETE, DELETE_CAS, DELETE_TREE, CAS, LOCK, UNLOCK))


def endpoint(call: Call) -> Any:
    """A transaction that only reads takes consistency modes; any other goes through the log."""
    operations = _operations(call)
    wire = [operation.to_wire() for operation in operations] or None
    if any(_writes(operation) for operation in operations):
        payload = {"Datacenter": call.datacenter(), "Ops": wire, "Token": call.token()}
        return call.rpc("Txn.Apply", payload, lambda reply: _answer(call, reply, {}), timeout_s=TIMEOUT_S)
    return _read(call, call.options(), wire)


def _read(call: Call, options: ReadOptions, wire: list[dict[str, Any]] | None) -> Any:
    payload = {**options.to_wire(), "Datacenter": options.datacenter, "Ops": wire}

    def then(reply: Any) -> Any:
        known_leader, contact_ns = bool(reply.get("KnownLeader")), int(reply.get("LastContact") or 0)
        call.headers["X-Consul-Knownleader"] = "true" if known_leader else "false"
        call.headers["X-Consul-Lastcontact"] = str(contact_ns // 1_000_000)
        meta = {
            "Index": int(reply.get("Index") or 0),
            "LastContact": contact_ns,
            "KnownLeader": known_leader,
            "ConsistencyLevel": "",
        }
        return _answer(call, reply, meta)

    return call.rpc("Txn.Read", payload, then, retry_safe=True)


def _answer(call: Call, reply: Any, meta: dict[str, Any]) -> Any:
    """Results in full, or 409 with what went wrong. meta: what a read shows beside them."""
    outcome = TxnResponse.from_wire(reply)
    if not outcome.errors:
        outcome.errors, outcome.results = None, outcome.results or []
    shown = {**outcome.to_json(), **meta}
    if not outcome.errors:
        return shown
    return Response(409, {"Content-Type": "application/json"}, call.json_text(shown))


def _operations(call: Call) -> list[TxnOp]:
    """The operations of the body. Raises TooLargeError, BadRequestError."""
    limits, request = call.gateway.config.limits, call.request
    bytes_max = max(limits.txn_max_req_len, limits.kv_max_value_size)
    if request.content_length > bytes_max or not request.body_complete:
        size = f"({request.content_length} bytes) " if request.header("content-length") else " "
        raise TooLargeError(f"Request body{size}too large, max size: {bytes_max} bytes. See {_LARGE_URL}.")
    from shared.structs.txn_body import decode_operations  # many declarations that most agents never need

    try:
        given = decode_operations(call.json_body())
    except JsonError as error:
        raise BadRequestError(f"Failed to parse body: {error}") from None
    if len(given) > OPERATIONS_MAX:
        raise TooLargeError(f"Transaction contains too many operations ({len(given)} > {OPERATIONS_MAX})")
    found = []
    for each in given:
        if each.kv is not None:
            size_bytes = len(each.kv.value or b"")
            if size_bytes > limits.kv_max_value_size:
                sizes = f"({size_bytes} > {limits.kv_max_value_size} bytes)"
                raise TooLargeError(f"Value for key {quote(each.kv.key)} is too large {sizes}")
        operation = each.to_op(call.gateway.config.datacenter)
        if operation is not None:
            found.append(operation)
    return found


def _writes(operation: TxnOp) -> bool:
    """Unknown verbs of keys count as reading, of anything else as writing."""
    if operation.kv is not None:
        return operation.kv.verb in _KV_WRITES
    other = operation.node or operation.service or operation.check
    return other is not None and other.verb != GET


ROUTES = [Route("/v1/txn", "PUT", endpoint, takes_large=True)]
