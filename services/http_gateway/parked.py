"""Calls that rpc_core parks until there is another answer than the one the client has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from services.http_gateway.call import LATER, Call, Later
from shared.ipc.errors import DeadlineError, IpcError


def wait(
    call: Call,
    method: str,
    known: dict[str, Any],
    nothing_known: dict[str, Any],
    wait_s: float,
    show: Callable[[Any], Any],
) -> Later:
    """Answer `call` with show(reply) as soon as the reply is another one than `known` tells; or, when its time is up
    or the client shuts down its side, with what there is, which is asked for with `nothing_known`."""
    request, link = call.request, call.gateway.rpc

    def answer_now() -> None:
        request.on_hurry = request.on_abandon = None
        link.cancel(call_id)
        call.rpc(method, nothing_known, show, retry_safe=True)

    def on_done(reply: Any, error: IpcError | None) -> None:
        if isinstance(error, DeadlineError):
            answer_now()
        elif error is not None:
            call.failed(error)
        else:
            call.run(lambda: show(reply))

    call_id = link.post(method, known, on_done, timeout_s=wait_s, retry_safe=True)
    request.on_abandon = lambda: link.cancel(call_id)
    request.on_hurry = answer_now
    return LATER
