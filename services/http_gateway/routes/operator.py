"""/v1/operator: the Raft configuration and the removal of a peer from it."""

from __future__ import annotations

from typing import Any

from services.http_gateway.call import Call
from services.http_gateway.errors import BadRequestError
from services.http_gateway.routes.table import Route
from shared.structs.operator import RaftConfigurationResponse, RaftRemovePeerRequest

_WRITE_TIMEOUT_S = 30.0


def raft_configuration(call: Call) -> Any:
    options = call.options()
    payload = {**options.to_wire(), "Datacenter": options.datacenter}

    def then(reply: Any) -> Any:
        return RaftConfigurationResponse.from_wire(reply).to_json()

    return call.rpc("Operator.RaftGetConfiguration", payload, then, retry_safe=True)


def remove_raft_peer(call: Call) -> Any:
    query = call.request.query
    by_id, by_address = "id" in query, "address" in query
    if not (by_id or by_address):
        raise BadRequestError(
            "Bad request: Must specify either ?id with the server's ID or ?address with IP:port of peer to remove"
        )
    if by_id and by_address:
        raise BadRequestError("Bad request: Must specify only one of ?id or ?address")
    request = RaftRemovePeerRequest(
        datacenter=call.datacenter(),
        id=call.request.first("id"),
        address=call.request.first("address"),
        token=call.token(),
    )
    method = "Operator.RaftRemovePeerByID" if by_id else "Operator.RaftRemovePeerByAddress"
    return call.rpc(method, request.to_wire(), lambda _reply: None, timeout_s=_WRITE_TIMEOUT_S)


ROUTES = [
    Route("/v1/operator/raft/configuration", "GET", raft_configuration),
    Route("/v1/operator/raft/peer", "DELETE", remove_raft_peer),
]
