"""ConfigEntry.*: centralised configuration, and what one service gets of it.

Requests that carry an entry, and all answers but that of Apply and Delete, are raws on the wire (see
shared.structs.config_entry): handlers take text or bytes, and return bytes."""

from __future__ import annotations

from typing import Any

import trio

from services.rpc_core.core import Core
from services.rpc_core.errors import MalformedCallError, RpcError
from shared import metrics
from shared.state.queries import config_entry
from shared.structs.config_entry import (
    class_of,
)
from shared.structs.config_entry_wire import (
    DELETE,
    UPSERT,
    UPSERT_CAS,
    ConfigEntryQuery,
    ConfigEntryRequest,
    ServiceConfigRequest,
    ServiceConfigResponse,
    pack_answer,
    pack_full_list,
    pack_list,
)
from shared.structs.errors import RefusedError
from shared.structs.query import DCSpecificRequest


def _request(body: Any) -> ConfigEntryRequest:
    if not isinstance(body, str | bytes):
        raise MalformedCallError(f"codec.decoder: a config entry request is {type(body).__name__}, not a raw")
    try:
        return ConfigEntryRequest.from_raw(body)
    except RefusedError as error:
        raise MalformedCallError(str(error)) from None


def _measure(name: str, started: float) -> None:
    metrics.sample(f"consul.config_entry.{name}", (trio.current_time() - started) * 1000)


async def apply_entry(core: Core, args: ConfigEntryRequest) -> bool:
    """Checks and writes an entry: whether it took effect. Entries belong to the primary datacenter. Raises RpcError."""
    args.datacenter = core.config.primary_datacenter or core.config.datacenter
    await core.router.answer_here("ConfigEntry.Apply", args.datacenter)
    started = trio.current_time()
    from shared.structs.config_entry_rules import normalize, validate

    try:
        normalize(args.entry)
        validate(args.entry)
    except RefusedError as error:
        raise RpcError(str(error)) from None
    if args.op != UPSERT_CAS:
        args.op = UPSERT
    result = await core.apply_command(args.to_command())
    _measure("apply", started)
    return result if isinstance(result, bool) else False


async def _apply(core: Core, body: Any) -> bool:
    return await apply_entry(core, _request(body))


async def _delete(core: Core, body: Any) -> dict[str, Any]:
    """Removes an entry. What is not there is not missed."""
    args = _request(body)
    args.datacenter = core.config.primary_datacenter or core.config.datacenter
    await core.router.answer_here("ConfigEntry.Delete", args.datacenter)
    started = trio.current_time()
    from shared.structs.config_entry_rules import normalize

    normalize(args.entry)
    args.op = DELETE
    await core.apply_command(args.to_command())
    _measure("delete", started)
    return {}


def check_kind(kind: str) -> None:
    """Raises RpcError for a kind there is not."""
    try:
        class_of(kind)
    except RefusedError as error:
        raise RpcError(str(error)) from None


async def _get(core: Core, body: Any) -> bytes:
    args = ConfigEntryQuery.from_wire(body)
    await core.router.answer_here("ConfigEntry.Get", args.datacenter, stale=args.allow_stale)
    check_kind(args.kind)
    started = trio.current_time()
    reply = await core.read(
        "ConfigEntry.Get", args.datacenter, args, lambda snap: config_entry.get(snap, args.kind, args.name)
    )
    _measure("get", started)
    return pack_answer(reply.value, reply.meta)


async def _list(core: Core, body: Any) -> bytes:
    """Entries of a kind, or all of them."""
    args = ConfigEntryQuery.from_wire(body)
    await core.router.answer_here("ConfigEntry.List", args.datacenter, stale=args.allow_stale)
    if args.kind:
        check_kind(args.kind)
    started = trio.current_time()
    reply = await core.read(
        "ConfigEntry.List", args.datacenter, args, lambda snap: config_entry.entries(snap, args.kind)
    )
    _measure("list", started)
    return pack_list(args.kind, reply.value, reply.meta)


async def _list_all(core: Core, body: Any) -> bytes:
    args = DCSpecificRequest.from_wire(body)
    started = trio.current_time()
    reply = await core.read("ConfigEntry.ListAll", args.datacenter, args, config_entry.entries)
    _measure("listAll", started)
    return pack_full_list(reply.value, reply.meta)


async def resolve_service_config(core: Core, args: ServiceConfigRequest) -> ServiceConfigResponse:
    """The central defaults of one service and the protocols of its upstreams; blocks like any read. Raises RpcError."""
    started = trio.current_time()
    reply = await core.read(
        "ConfigEntry.ResolveServiceConfig",
        args.datacenter,
        args,
        lambda snap: config_entry.service_config(snap, args),
    )
    _measure("resolve_service_config", started)
    found, meta = reply.value, reply.meta
    found.index, found.last_contact, found.known_leader = meta.index, meta.last_contact, meta.known_leader
    return found


async def _resolve_service_config(core: Core, body: Any) -> bytes:
    return (await resolve_service_config(core, ServiceConfigRequest.from_wire(body))).to_raw()


METHODS = {
    "ConfigEntry.Apply": _apply,
    "ConfigEntry.Get": _get,
    "ConfigEntry.List": _list,
    "ConfigEntry.ListAll": _list_all,
    "ConfigEntry.Delete": _delete,
    "ConfigEntry.ResolveServiceConfig": _resolve_service_config,
}
