"""fresh_id: a random UUID for what is about to be stored."""

from __future__ import annotations

from collections.abc import Callable

from services.rpc_core.core import Core
from services.rpc_core.local.user_event import new_id
from shared.state.snapshot import Snapshot


def fresh_id(core: Core, find: Callable[[Snapshot, str], object | None]) -> str:
    """One that `find` finds nothing under. Raises RpcError without a state.

    Made before the log: what is in the log must come out the same on every server."""
    with core.snapshot() as snap:
        while find(snap, made := new_id(core.rng)) is not None:
            pass
        return made
