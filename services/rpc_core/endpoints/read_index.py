"""Proconsul.ReadIndex: how far a server's state has to be to answer reads as the leader would now.

Our own addition: a follower asks once for all reads that wait, and answers them itself (Raft, section 6.4 of Ongaro's
thesis). Consul's servers do not know the method and say so."""

from __future__ import annotations

import time
from typing import Any

from services.rpc_core.core import Core
from shared.structs.query import DCSpecificRequest

METHOD = "Proconsul.ReadIndex"


async def read_index(core: Core, body: Any) -> int:
    """The index of all that could be read at the leader at a moment after the call came. RequireConsistent: the
    leadership is confirmed by a round of heartbeats, otherwise by the leader's lease."""
    args = DCSpecificRequest.from_wire(body)
    await core.router.answer_here(METHOD, args.datacenter)
    if args.require_consistent:
        return max(await core.confirm_leadership(), _readable(core))
    if not core.router.leadership().may_serve_default(time.monotonic_ns()):
        raise core.router.elsewhere()
    return _readable(core)


def _readable(core: Core) -> int:
    """The state's own word counts as well as the leadership page's: between the commit of a batch to the store and the
    page that says so, somebody may have read the batch here, and must not find less at a follower afterwards."""
    with core.snapshot() as snap:
        return max(snap.applied()[0], core.router.leadership().applied_index)


METHODS = {METHOD: read_index}
