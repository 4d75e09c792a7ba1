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
    """The leader's applied index, of a moment after the call came. RequireConsistent: confirmed by a round of
    heartbeats, otherwise by the leader's lease."""
    args = DCSpecificRequest.from_wire(body)
    await core.router.answer_here(METHOD, args.datacenter)
    if args.require_consistent:
        await core.confirm_leadership()
        return core.router.leadership().applied_index
    leadership = core.router.leadership()
    if not leadership.may_serve_default(time.monotonic_ns()):
        raise core.router.elsewhere()
    return leadership.applied_index


METHODS = {METHOD: read_index}
