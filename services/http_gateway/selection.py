"""What catalog and health reads have in common: ?filter=, ?near=, ?node-meta=, ?tag=, translated addresses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from services.http_gateway.call import Call
from services.http_gateway.errors import HttpError
from services.http_gateway.options import ReadOptions
from shared.state.answer import Answer
from shared.state.snapshot import Snapshot
from shared.structs.schema import Struct

T = TypeVar("T")
Keep = Callable[[Any], bool]


def compile_filter(expression: str, record: type[Struct]) -> Keep | None:
    """The predicate of ?filter=, None for none. Both raise HttpError with Consul's text (status 500, as there)."""
    if not expression:
        return None
    from shared.bexpr import FilterError, create_filter
    from shared.bexpr.records import fields_of

    try:
        made = create_filter(expression, fields_of(record))
    except FilterError as error:
        raise HttpError(str(error)) from None
    if made is None:
        return None
    matches = made.matches

    def keep(record: Any) -> bool:
        try:
            return matches(record)
        except FilterError as error:
            raise HttpError(str(error)) from None

    return keep


def near_node(call: Call) -> str:
    """The node that answers are sorted by distance from, "" for none."""
    node = call.request.first("near") if call.request.raw_query else ""
    return call.gateway.config.node_name if node == "_agent" else node


def source_arguments(call: Call) -> dict[str, Any]:
    """The Source of an RPC request."""
    ip = call.request.header("x-forwarded-for").split(",")[0].strip()
    if not ip:
        ip = call.request.remote.rpartition(":")[0].strip("[]")
    return {"Datacenter": call.datacenter(), "Segment": "", "Node": near_node(call), "Ip": ip}


def node_meta(call: Call) -> dict[str, str] | None:
    """?node-meta=key:value, repeatable."""
    given = call.request.query.get("node-meta") if call.request.raw_query else None
    if given is None:
        return None
    pairs = (text.partition(":") for text in given)
    return {key: value for key, _, value in pairs}


def tags(call: Call) -> list[str] | None:
    """?tag=, repeatable; None if the parameter is absent."""
    return call.request.query.get("tag") if call.request.raw_query else None


def select(
    call: Call,
    options: ReadOptions,
    record: type[Struct],
    node_of: Callable[[Any], str] | None,
    find: Callable[[Snapshot], Answer[list[T]]],
) -> Callable[[Snapshot], Answer[list[T]]]:
    """`find`, then the filter, then the order by distance. Raises HttpError for a bad filter when it is run,
    as Consul checks the filter where the data is."""
    near = near_node(call)

    def local(snap: Snapshot) -> Answer[list[T]]:
        keep = compile_filter(options.filter, record)
        answer = find(snap)
        if keep is None and not near:
            return answer
        items = [item for item in answer.value if keep(item)] if keep is not None else list(answer.value)
        if near and node_of is not None:
            from shared.state.near import sort_by_distance

            sort_by_distance(snap, near, items, node_of)
        return answer._replace(value=items)

    return local


def list_arguments(call: Call, **more: Any) -> dict[str, Any]:
    """The common part of catalog and health requests."""
    return {"NodeMetaFilters": node_meta(call), "Source": source_arguments(call), **more}


# -- addresses --------------------------------------------------------------------------------------


def translates(call: Call) -> bool:
    """Whether addresses of another datacenter are to be shown as seen from outside of it."""
    return call.gateway.config.translate_wan_addrs and call.datacenter() != call.gateway.config.datacenter


def wan_address(own: str, tagged: Mapping[str, str] | None) -> str:
    """The address for use from another datacenter: that of a family, IPv6 first, before the one called wan."""
    tagged = tagged or {}
    v6 = tagged.get("wan_ipv6", tagged.get("lan_ipv6"))
    v4 = tagged.get("wan_ipv4", tagged.get("lan_ipv4"))
    return v6 or v4 or tagged.get("wan", own)


def translate_service(service: Any, address: str, tagged: str, port: str) -> None:
    """Show a service instance of another datacenter at its wan address and port; the names are attributes."""
    addresses = getattr(service, tagged) or {}
    plain = {name: each.address for name, each in addresses.items()}
    setattr(service, address, wan_address(getattr(service, address), plain))
    wan = addresses.get("wan")
    if wan is not None and wan.port:
        setattr(service, port, wan.port)
