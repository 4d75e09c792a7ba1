"""/v1/kv/: get, list, set, check-and-set, lock, delete."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

import msgpack

from services.http_gateway.call import LATER, Call
from services.http_gateway.errors import BadRequestError, HttpError, TooLargeError
from services.http_gateway.message import Response
from services.http_gateway.options import ReadOptions, parse_uint64, uint64_error
from services.http_gateway.reads import Read, read
from services.http_gateway.routes.table import Route
from services.http_gateway.writes import TIMEOUT_S
from shared.state.answer import Answer
from shared.state.queries import kv
from shared.state.snapshot import Snapshot
from shared.structs.kv import DirEntry

if TYPE_CHECKING:
    pass

_LARGE_URL = "https://www.consul.io/docs/agent/options.html#kv_max_value_size"
_pack = msgpack.Packer(use_bin_type=False, unicode_errors="surrogateescape").pack


def endpoint(call: Call) -> Any:
    options = call.options()
    method = call.request.method
    if method == "GET":
        return _keys(call, options) if "keys" in call.request.query else _get(call, options)
    return _put(call, options) if method == "PUT" else _delete(call, options)


# -- reads ------------------------------------------------------------------------------------------


def _get(call: Call, options: ReadOptions) -> Any:
    recurse = "recurse" in call.request.query
    key = call.rest
    if not recurse and not key:
        raise BadRequestError("Missing key name")
    call.refuse_namespace()

    def show(entries: list[DirEntry]) -> Any:
        if not entries:
            return Response(404)
        if "raw" in call.request.query and not recurse:
            return _raw(entries[0].value or b"")
        return [entry.to_json() for entry in entries]

    def one(snap: Snapshot) -> Answer[list[DirEntry]]:
        index, entry, watch = kv.get(snap, key)
        return Answer(index, [] if entry is None else [entry], watch)

    return read(
        call,
        options,
        Read(
            method="KVS.List" if recurse else "KVS.Get",
            arguments={"Key": key},
            local=(lambda snap: kv.tree(snap, key)) if recurse else one,
            remote=lambda reply: [DirEntry.from_wire(entry) for entry in reply.get("Entries") or ()],
            show=show,
            level=False,
        ),
    )


def _raw(value: bytes) -> Response:
    """The bare value, in a way that no browser takes it for a page."""
    headers = {
        "Content-Length": str(len(value)),
        "Content-Security-Policy": "sandbox",
        "Content-Type": "text/plain",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(200, headers, value)


def _keys(call: Call, options: ReadOptions) -> Any:
    call.refuse_namespace()
    query = call.request.query
    separator = call.request.first("separator") if "separator" in query else call.request.first("seperator")
    prefix = call.rest

    def show(keys: list[str]) -> Any:
        return keys if keys or not prefix else Response(404)

    return read(
        call,
        options,
        Read(
            method="KVS.ListKeys",
            arguments={"Prefix": prefix, "Seperator": separator},
            local=lambda snap: kv.keys(snap, prefix, separator),
            remote=lambda reply: list(reply.get("Keys") or ()),
            show=show,
            level=False,
        ),
    )


# -- writes -----------------------------------------------------------------------------------------


def _put(call: Call, options: ReadOptions) -> Any:
    request = call.request
    if not request.plain or request.raw_query:
        call.refuse_namespace()
    key = call.rest
    if not key:
        raise BadRequestError("Missing key name")
    query = request.query
    operation, flags, modify_index, session = "set", 0, 0, ""
    if query:
        _refuse_conflict(call, ("cas", "acquire", "release"))
        if "flags" in query:
            flags = _uint64(request.first("flags"))
        if "cas" in query:
            modify_index, operation = _uint64(request.first("cas")), "cas"
        if "acquire" in query:
            session, operation = request.first("acquire"), "lock"
        if "release" in query:
            session, operation = request.first("release"), "unlock"
    limit = call.gateway.config.limits.kv_max_value_size
    if not request.body_complete or request.content_length > limit:
        size = request.content_length if request.content_length >= 0 else f"more than {limit}"
        raise TooLargeError(f"Request body({size} bytes) too large, max size: {limit} bytes. See {_LARGE_URL}.")
    return _apply(call, options, operation, key, request.body, flags, modify_index, session)


def _delete(call: Call, options: ReadOptions) -> Any:
    request = call.request
    call.refuse_namespace()
    query = request.query
    _refuse_conflict(call, ("recurse", "cas"))
    key, operation, modify_index = call.rest, "delete", 0
    if "recurse" in query:
        operation = "delete-tree"
    elif not key:
        raise BadRequestError("Missing key name")
    if "cas" in query:
        modify_index, operation = _uint64(request.first("cas")), "delete-cas"
    return _apply(call, options, operation, key, b"", 0, modify_index, "")


def _apply(
    call: Call,
    options: ReadOptions,
    operation: str,
    key: str,
    value: bytes,
    flags: int,
    modify_index: int,
    session: str,
) -> Any:
    """Send the write on its way. Plain set and delete answer true; the others tell whether they took effect."""
    entry = {
        "CreateIndex": 0,
        "Flags": flags,
        "Key": key,
        "LockIndex": 0,
        "ModifyIndex": modify_index,
        "Session": session,
        "Value": value or None,
    }
    request = {"Datacenter": options.datacenter, "DirEnt": entry, "Op": operation, "Token": options.token}
    shows_outcome = operation not in ("set", "delete", "delete-tree")

    def then(outcome: Any) -> Any:
        return bool(outcome) if shows_outcome else True

    if options.datacenter != call.gateway.config.datacenter:
        return call.rpc("KVS.Apply", request, then, timeout_s=TIMEOUT_S)
    raw_key = key.encode("utf-8", "surrogateescape")
    call.gateway.writes.post(operation, raw_key, _pack(request), call.on_done(then))
    return LATER


def _uint64(text: str) -> int:
    value = parse_uint64(text)
    if value is None:
        raise HttpError(uint64_error(text))
    return value


def _refuse_conflict(call: Call, names: tuple[str, ...]) -> None:
    query = call.request.query
    if sum(name in query for name in names) > 1:
        shown = "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name in sorted(query) for value in query[name])
        raise BadRequestError(f"Conflicting flags: {shown}")


ROUTES = [Route("/v1/kv/", "GET PUT DELETE", endpoint, takes_large=True)]
