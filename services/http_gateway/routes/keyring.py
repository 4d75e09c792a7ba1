"""/v1/operator/keyring: list (GET), install (POST), use (PUT) and remove (DELETE) keys of gossip encryption."""

from __future__ import annotations

from typing import Any

from services.http_gateway.call import Call, decode_failed
from services.http_gateway.errors import BadRequestError, HttpError
from services.http_gateway.routes.table import Route
from shared.config.error_list import error_list
from shared.gotext.numbers import parse_atoi, parse_bool
from shared.structs.errors import JsonError
from shared.structs.keyring import (
    INSTALL,
    LIST,
    RELAY_FACTOR_MAX,
    REMOVE,
    USE,
    KeyringBody,
    KeyringRequest,
    KeyringResponse,
    KeyringResponses,
)

_OPERATIONS = {"GET": LIST, "POST": INSTALL, "PUT": USE, "DELETE": REMOVE}
_TIMEOUT_S = 180.0
"""One query after the other in two pools and those of other datacenters, each as long as its slowest member."""


def keyring(call: Call) -> Any:
    request = KeyringRequest(operation=_OPERATIONS[call.request.method])
    if request.operation != LIST:
        try:
            body = KeyringBody.from_json(call.json_body())
        except JsonError as error:
            raise BadRequestError(f"Bad request: {decode_failed(error)}") from None
        request.key, request.relay_factor = body.key, body.relay_factor
    request.token = call.token()
    _take_parameters(call, request)
    if not call.gateway.config.server:
        raise HttpError("keyring operations must run against a server node")

    def then(reply: Any) -> Any:
        responses = KeyringResponses.from_wire(reply).responses or []
        problems = [line for response in responses if response.error for line in _problems(response)]
        if problems:
            raise HttpError(error_list(problems))
        return [response.to_json() for response in responses] if request.operation == LIST else None

    return call.rpc("Internal.KeyringOperation", request.to_wire(), then, timeout_s=_TIMEOUT_S)


def _take_parameters(call: Call, request: KeyringRequest) -> None:
    """?relay-factor and ?local-only. Raises BadRequestError."""
    relay_factor, local_only = call.request.first("relay-factor"), call.request.first("local-only")
    if relay_factor:
        try:
            request.relay_factor = parse_atoi(relay_factor)
        except ValueError as error:
            raise BadRequestError(f"Bad request: Error parsing relay factor: {error}") from None
        if not 0 <= request.relay_factor <= RELAY_FACTOR_MAX:
            text = f"Relay factor must be in range: [0, {RELAY_FACTOR_MAX}]"
            raise BadRequestError(f"Bad request: Invalid relay-factor: {text}")
    if local_only:
        try:
            request.local_only = parse_bool(local_only)
        except ValueError as error:
            raise BadRequestError(f"Bad request: Error parsing local-only: {error}") from None
        if request.local_only and request.operation != LIST:
            text = "local-only can only be set for list requests"
            raise BadRequestError(f"Bad request: Invalid use of local-only: {text}")


def _problems(response: KeyringResponse) -> list[str]:
    """Why the operation failed in one pool, and what single members say to it."""
    pool = "WAN" if response.wan else f"{response.datacenter} (LAN)"
    messages = response.messages or {}
    return [f"{pool} error: {response.error}", *(f"{node}: {messages[node]}" for node in sorted(messages))]


ROUTES = [Route("/v1/operator/keyring", "GET POST PUT DELETE", keyring)]
