"""Errors of handlers, and what a client gets to see of each: status and text are Consul's."""

from __future__ import annotations

from services.http_gateway.message import Response
from shared.ipc.errors import IpcError, RemoteError
from shared.state.errors import StateUnavailableError

NO_LEADER = "No cluster leader"
_RATE_EXCEEDED = "RPC rate limit exceeded"
_RATE_REACHED = "Rate limit reached, try again later"


class HttpError(Exception):
    """A request that fails. The text is the body; `headers` are added to the answer."""

    status = 500

    def __init__(self, text: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(text)
        self.headers = headers or {}


class BadRequestError(HttpError):
    status = 400


class UnauthorizedError(HttpError):
    """Nobody may use what is switched off."""

    status = 401


class ForbiddenError(HttpError):
    """Permission denied, unknown token, or a write from an address that may not write."""

    status = 403


class NotFoundError(HttpError):
    status = 404


class BareNotFoundError(NotFoundError):
    """Not found, and nothing said about the read that did not find it."""


class MethodNotAllowedError(HttpError):
    status = 405

    def __init__(self, method: str, allowed: str) -> None:
        super().__init__(f"method {method} not allowed", {"Allow": allowed})


class TooLargeError(HttpError):
    status = 413


class TooManyRequestsError(HttpError):
    status = 429


def as_http_error(error: Exception) -> HttpError:
    """The error a client sees for a failure in a neighbour or in the state store."""
    if isinstance(error, HttpError):
        return error
    if isinstance(error, RemoteError):
        return _from_remote(error)
    if isinstance(error, IpcError | StateUnavailableError):
        return HttpError(str(error))
    raise error


def _from_remote(error: RemoteError) -> HttpError:
    text = str(error)
    if error.code in ("not_leader", "no_leader"):
        return HttpError(NO_LEADER)
    if error.code == "rate_limited" or _RATE_EXCEEDED in text:
        return TooManyRequestsError("")  # Consul sends no text with this one
    if text == _RATE_REACHED:
        return TooManyRequestsError(text)
    if "Permission denied" in text or "ACL not found" in text:
        return ForbiddenError(text)
    if error.code == "bad_request":
        return BadRequestError(text)
    return HttpError(text)


def error_response(error: HttpError) -> Response:
    return Response(error.status, dict(error.headers), str(error).encode("utf-8", "surrogateescape"))
