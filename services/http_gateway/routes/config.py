"""/v1/config: centralised configuration entries."""

from __future__ import annotations

from typing import Any

from services.http_gateway.call import Call
from services.http_gateway.errors import BadRequestError, HttpError, NotFoundError
from services.http_gateway.options import parse_uint64, uint64_error
from services.http_gateway.reads import Read, read
from services.http_gateway.routes.table import Route
from shared.gotext.quoting import quote
from shared.state.answer import Answer
from shared.state.queries import config_entry
from shared.state.snapshot import Snapshot
from shared.structs.config_entry import (
    KINDS,
    ConfigEntry,
    class_of,
)
from shared.structs.config_entry_wire import (
    UPSERT,
    UPSERT_CAS,
    ConfigEntryRequest,
    read_answer,
    read_list,
)
from shared.structs.errors import JsonError, RefusedError

_WRITE_TIMEOUT_S = 30.0


def apply(call: Call) -> Any:
    """PUT /v1/config: the kind is in the body."""
    from shared.structs.config_entry_rules import decode_entry

    try:
        entry = decode_entry(_body(call))
    except (JsonError, RefusedError) as error:
        raise BadRequestError(f"Bad request: Request decoding failed: {error}") from None
    call.refuse_namespace()
    operation, cas = UPSERT, call.request.first("cas")
    if cas:
        index = parse_uint64(cas)
        if index is None:
            raise HttpError(uint64_error(cas))
        operation, entry.modify_index = UPSERT_CAS, index
    request = ConfigEntryRequest(operation, entry, call.datacenter(), call.token())
    return call.rpc("ConfigEntry.Apply", request.to_raw(), bool, timeout_s=_WRITE_TIMEOUT_S)


def _body(call: Call) -> dict[str, Any] | None:
    """The body as an object of anything, None for null. Raises JsonError."""
    from shared.structs.json_decode import decode_free_form
    from shared.structs.weak_decode import json_numbers

    body: dict[str, Any] | None = json_numbers(decode_free_form(call.json_body()))
    return body


def general(call: Call) -> Any:
    """GET and DELETE of /v1/config/<kind>/<name>, GET of /v1/config/<kind>."""
    kind, slash, name = call.rest.partition("/")
    if call.request.method == "DELETE":
        return _delete(call, kind, name, bool(slash))
    return _get(call, kind, name) if slash else _list(call, kind)


def _delete(call: Call, kind: str, name: str, complete: bool) -> Any:
    if not complete:
        raise NotFoundError("Must provide both a kind and name to delete")
    try:
        entry = class_of(kind)()
    except RefusedError as error:
        raise BadRequestError(str(error)) from None
    entry.name = name
    call.refuse_namespace()
    request = ConfigEntryRequest("", entry, call.datacenter(), call.token())
    return call.rpc("ConfigEntry.Delete", request.to_raw(), lambda _reply: {}, timeout_s=_WRITE_TIMEOUT_S)


def _get(call: Call, kind: str, name: str) -> Any:
    options = call.options()
    call.refuse_namespace()

    def local(snap: Snapshot) -> Answer[ConfigEntry | None]:
        _check_kind(kind)
        return config_entry.get(snap, kind, name)

    def show(found: ConfigEntry | None) -> Any:
        if found is None:
            raise NotFoundError(f"Config entry not found for {quote(kind)} / {quote(name)}")
        return found.to_json()

    return read(
        call,
        options,
        Read(
            method="ConfigEntry.Get",
            arguments={"Kind": kind, "Name": name},
            local=local,
            remote=lambda reply: reply["Entry"],
            show=show,
            level=False,
            unpack=_unpack_answer,
        ),
    )


def _unpack_answer(raw: Any) -> dict[str, Any]:
    entry, meta = read_answer(raw)
    return {**meta.to_wire(), "Entry": entry}


def _list(call: Call, kind: str) -> Any:
    options = call.options()
    call.refuse_namespace()

    def local(snap: Snapshot) -> Answer[list[ConfigEntry]]:
        if kind:
            _check_kind(kind)
        return config_entry.entries(snap, kind)

    return read(
        call,
        options,
        Read(
            method="ConfigEntry.List",
            arguments={"Kind": kind},
            local=local,
            remote=lambda reply: reply["Entries"],
            show=lambda found: [entry.to_json() for entry in found],
            level=False,
            unpack=_unpack_list,
        ),
    )


def _unpack_list(raw: Any) -> dict[str, Any]:
    try:
        entries, meta = read_list(raw)
    except RefusedError as error:  # entries of all kinds at once, which Consul cannot take from another server either
        raise HttpError(f"rpc error making call: {error}") from None
    return {**meta.to_wire(), "Entries": entries}


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise HttpError(f"invalid config entry kind: {kind}")


ROUTES = [
    Route("/v1/config/", "GET DELETE", general),
    Route("/v1/config", "PUT", apply),
]
