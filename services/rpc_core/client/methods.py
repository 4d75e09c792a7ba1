"""The methods of a server that a client agent passes on, and the encoded writes of the gateway."""

from __future__ import annotations

from functools import partial
from typing import Any

from services.rpc_core.client.caller import Caller
from shared.ipc import Request, Server
from shared.many_reads import DOOR
from shared.structs.commands import BOOL_OPS, CATALOG_METHODS

METHODS = (
    "Catalog.Deregister",
    "Catalog.ListDatacenters",
    "Catalog.ListNodes",
    "Catalog.ListServices",
    "Catalog.NodeServiceList",
    "Catalog.NodeServices",
    "Catalog.Register",
    "Catalog.ServiceList",
    "Catalog.ServiceNodes",
    "ConfigEntry.Apply",
    "ConfigEntry.Delete",
    "ConfigEntry.Get",
    "ConfigEntry.List",
    "ConfigEntry.ListAll",
    "ConfigEntry.ResolveServiceConfig",
    "Coordinate.ListDatacenters",
    "Coordinate.ListNodes",
    "Coordinate.Node",
    "Coordinate.Update",
    "Health.ChecksInState",
    "Health.NodeChecks",
    "Health.ServiceChecks",
    "Health.ServiceNodes",
    "Internal.EventFire",
    "Internal.KeyringOperation",
    "Internal.NodeDump",
    "Internal.NodeInfo",
    "Internal.ServiceDump",
    "KVS.Apply",
    "KVS.Get",
    "KVS.List",
    "KVS.ListKeys",
    "Operator.AutopilotGetConfiguration",
    "Operator.AutopilotSetConfiguration",
    "Operator.RaftGetConfiguration",
    "Operator.RaftRemovePeerByAddress",
    "Operator.RaftRemovePeerByID",
    "Operator.RaftTransferLeader",
    "Operator.ServerHealth",
    "PreparedQuery.Apply",
    "PreparedQuery.Execute",
    "PreparedQuery.ExecuteRemote",
    "PreparedQuery.Explain",
    "PreparedQuery.Get",
    "PreparedQuery.List",
    "Proconsul.Read",
    "Proconsul.ReadIndex",
    "Session.Apply",
    "Session.Get",
    "Session.List",
    "Session.NodeSessions",
    "Session.Renew",
    "Status.Leader",
    "Status.Peers",
    "Status.Ping",
    "Status.RaftStats",
    "Txn.Apply",
    "Txn.Read",
)


def serve(caller: Caller, server: Server) -> None:
    """Offer them to local processes."""
    for method in METHODS:
        server.fast(method, partial(caller.serve_wire, method))
    server.fast(DOOR, caller.serve_many_reads)
    server.fast("KVS.ApplyEncoded", partial(_kv, caller))
    server.fast("Catalog.ApplyEncoded", partial(_catalog, caller))


def _kv(caller: Caller, request: Request) -> None:
    """An encoded request is on the wire what it is in the log after the type byte."""
    op, _, encoded = request.payload
    caller.serve(request, "KVS.Apply", lambda: encoded, bool if op in BOOL_OPS else _true)


def _catalog(caller: Caller, request: Request) -> None:
    command = request.payload[0]
    caller.serve(request, CATALOG_METHODS[command[:1]], lambda: command[1:], _true)


def _true(_: Any) -> bool:
    """What such a write is answered with: it has no other result than that it was done."""
    return True
