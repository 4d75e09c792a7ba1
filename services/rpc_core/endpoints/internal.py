"""Internal.*: whole nodes and whole catalogs at once, for the UI."""

from __future__ import annotations

from typing import Any

from services.rpc_core.core import Core
from services.rpc_core.endpoints.filters import compile_filter
from shared.state.answer import Answer
from shared.state.queries import internal
from shared.state.snapshot import Snapshot
from shared.structs.catalog import CheckServiceNode, NodeInfo
from shared.structs.query import DCSpecificRequest, NodeSpecificRequest, ServiceDumpRequest


async def _node_info(core: Core, body: Any) -> dict[str, Any]:
    args = NodeSpecificRequest.from_wire(body)
    reply = await core.read(
        "Internal.NodeInfo", args.datacenter, args, lambda snap: internal.node_info(snap, args.node)
    )
    return reply.to_wire("Dump", [node.to_wire() for node in reply.value] or None)


async def _node_dump(core: Core, body: Any) -> dict[str, Any]:
    args = DCSpecificRequest.from_wire(body)
    chosen = compile_filter(args.filter, NodeInfo)

    def query(snap: Snapshot) -> Answer[list[NodeInfo]]:
        answer = internal.node_dump(snap)
        return answer._replace(value=chosen(answer.value))

    reply = await core.read("Internal.NodeDump", args.datacenter, args, query)
    return reply.to_wire("Dump", [node.to_wire() for node in reply.value] or None)


async def _service_dump(core: Core, body: Any) -> dict[str, Any]:
    args = ServiceDumpRequest.from_wire(body)
    chosen = compile_filter(args.filter, CheckServiceNode)
    kind = args.service_kind if args.use_service_kind else None

    def query(snap: Snapshot) -> Answer[list[CheckServiceNode]]:
        answer = internal.service_dump(snap, kind)
        return answer._replace(value=chosen(answer.value))

    reply = await core.read("Internal.ServiceDump", args.datacenter, args, query)
    return reply.to_wire("Nodes", [node.to_wire() for node in reply.value] or None)


METHODS = {
    "Internal.NodeInfo": _node_info,
    "Internal.NodeDump": _node_dump,
    "Internal.ServiceDump": _service_dump,
}
