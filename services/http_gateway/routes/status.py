"""/v1/status: the Raft leader and its peers."""

from __future__ import annotations

from typing import Any

from services.http_gateway.call import Call
from services.http_gateway.routes.table import Route


def leader(call: Call) -> Any:
    options = call.options()
    gateway = call.gateway
    if options.datacenter == gateway.config.datacenter and gateway.config.server:
        known = gateway.moment.leadership()
        if known.role != "unknown":
            return known.leader_address
    payload = {**options.to_wire(), "Datacenter": options.datacenter}
    return call.rpc("Status.Leader", payload, lambda reply: reply, retry_safe=True)


def peers(call: Call) -> Any:
    options = call.options()
    payload = {**options.to_wire(), "Datacenter": options.datacenter}
    return call.rpc("Status.Peers", payload, lambda reply: reply or [], retry_safe=True)


ROUTES = [
    Route("/v1/status/leader", "GET", leader),
    Route("/v1/status/peers", "GET", peers),
]
