"""/v1/operator: the Raft configuration, the removal of a peer from it, a change of its leader; autopilot's settings and
its view of the servers."""

from __future__ import annotations

from typing import Any

from services.http_gateway.call import Call
from services.http_gateway.errors import BadRequestError
from services.http_gateway.message import Response
from services.http_gateway.routes.table import Route
from shared.gotext.numbers import parse_uint
from shared.structs.errors import JsonError
from shared.structs.operator import (
    AutopilotConfig,
    AutopilotSetConfigRequest,
    AutopilotSettings,
    OperatorHealthReply,
    RaftConfigurationResponse,
    RaftRemovePeerRequest,
    RaftTransferLeaderRequest,
)

_WRITE_TIMEOUT_S = 30.0
_UNHEALTHY_STATUS = 429


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


def autopilot_configuration(call: Call) -> Any:
    if call.request.method == "PUT":
        return _set_autopilot_configuration(call)
    options = call.options()
    payload = {**options.to_wire(), "Datacenter": options.datacenter}

    def then(reply: Any) -> Any:
        return AutopilotSettings.of(AutopilotConfig.from_wire(reply)).shown()

    return call.rpc("Operator.AutopilotGetConfiguration", payload, then, retry_safe=True)


def _set_autopilot_configuration(call: Call) -> Any:
    try:
        body = call.json_body()
        if isinstance(body, dict):  # null leaves a setting unset, durations included: they are pointers in Consul
            body = {name: value for name, value in body.items() if value is not None}
        settings = AutopilotSettings.from_json(body)
    except JsonError as error:
        raise BadRequestError(f"Bad request: Error parsing autopilot config: {error}") from None
    request = AutopilotSetConfigRequest(datacenter=call.datacenter(), token=call.token(), config=settings.to_config())
    if "cas" in call.request.query:
        try:
            request.config.modify_index = parse_uint(call.request.first("cas"))
        except ValueError as error:
            raise BadRequestError(f"Bad request: Error parsing cas value: {error}") from None
        request.cas = True

    def then(reply: Any) -> Any:
        return reply if request.cas else True

    return call.rpc("Operator.AutopilotSetConfiguration", request.to_wire(), then, timeout_s=_WRITE_TIMEOUT_S)


def transfer_leadership(call: Call) -> Any:
    """Our addition, in the form in which later versions of Consul have it."""
    request = RaftTransferLeaderRequest(datacenter=call.datacenter(), id=call.request.first("id"), token=call.token())
    return call.rpc("Operator.RaftTransferLeader", request.to_wire(), lambda reply: reply, timeout_s=_WRITE_TIMEOUT_S)


def server_health(call: Call) -> Any:
    """All servers as the leader sees them; the status is 429 unless all are healthy."""
    options = call.options()
    payload = {**options.to_wire(), "Datacenter": options.datacenter}

    def then(reply: Any) -> Any:
        health = OperatorHealthReply.from_wire(reply)
        if health.healthy:
            return health.shown()
        # Consul sends the status before it knows the type, which is then guessed from the text, except in a
        # compressed answer.
        kind = "application/json" if call.request.gzip else "text/plain; charset=utf-8"
        return Response(_UNHEALTHY_STATUS, {"Content-Type": kind}, call.json_text(health.shown()))

    return call.rpc("Operator.ServerHealth", payload, then, retry_safe=True)


ROUTES = [
    Route("/v1/operator/autopilot/configuration", "GET PUT", autopilot_configuration),
    Route("/v1/operator/autopilot/health", "GET", server_health),
    Route("/v1/operator/raft/configuration", "GET", raft_configuration),
    Route("/v1/operator/raft/peer", "DELETE", remove_raft_peer),
    Route("/v1/operator/raft/transfer-leader", "POST PUT", transfer_leadership),
]
