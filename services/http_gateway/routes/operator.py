"""/v1/operator: the Raft configuration."""

from __future__ import annotations

from typing import Any

from services.http_gateway.call import Call
from services.http_gateway.routes.table import Route
from shared.structs.operator import RaftConfigurationResponse


def raft_configuration(call: Call) -> Any:
    options = call.options()
    payload = {**options.to_wire(), "Datacenter": options.datacenter}

    def then(reply: Any) -> Any:
        return RaftConfigurationResponse.from_wire(reply).to_json()

    return call.rpc("Operator.RaftGetConfiguration", payload, then, retry_safe=True)


ROUTES = [Route("/v1/operator/raft/configuration", "GET", raft_configuration)]
