"""Internal.EventFire: any server hands a user event to gossip, which carries it to all nodes of the datacenter."""

from __future__ import annotations

from typing import Any

from services.rpc_core.core import Core
from services.rpc_core.errors import RpcError, from_neighbour
from services.rpc_core.event_request import SERF_PREFIX, EventFireRequest
from shared.ipc import IpcError, RemoteError

CALL_TIMEOUT_S = 10.0


async def _fire(core: Core, args: EventFireRequest) -> None:
    core.router.check_datacenter("Internal.EventFire", args.datacenter)
    event = {"name": SERF_PREFIX + args.name, "payload": args.payload or b"", "coalesce": False}
    try:
        await core.gossip.call("Gossip.UserEvent", event, timeout_s=CALL_TIMEOUT_S)
    except RemoteError as error:
        text = f'error broadcasting event to segment "": {error}'
        raise RpcError(f"1 error occurred:\n\t* {text}\n\n") from None
    except IpcError as error:
        raise from_neighbour(error) from None


async def _event_fire(core: Core, body: Any) -> dict[str, Any]:
    await _fire(core, EventFireRequest.from_wire(body))
    return core.query_meta(0).to_wire()


METHODS = {"Internal.EventFire": _event_fire}
