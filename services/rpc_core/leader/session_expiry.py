"""The end of sessions whose time has run out, as long as this server leads.

Many may run out together, after an outage of their clients: they are ended in groups that share a commit, and
nothing else of the leader's work waits for them."""

from __future__ import annotations

import trio

from services.rpc_core.core import Core
from services.rpc_core.errors import RpcError
from shared import metrics
from shared.log import get_logger
from shared.structs.session import DESTROY, Session, SessionRequest

_log = get_logger("agent.server")

LOOK_INTERVAL_S = 1.0
"""A session can be made with a deadline before the one that is waited for: so late it may be noticed at most."""
AT_ONCE_MAX = 256


async def expire_for_ever(core: Core) -> None:
    """Until cancelled: when the leadership is lost.

    Without raft_node no renewal can be served, and no session is ended: when it is back, in a new term, all timers
    start again."""
    timers, places = core.session_timers, trio.CapacityLimiter(AT_ONCE_MAX)
    term = core.router.leadership().term
    async with trio.open_nursery() as nursery:
        while True:
            now = trio.current_time()
            metrics.gauge("consul.session_ttl.active", len(timers))
            wake_at = now + LOOK_INTERVAL_S
            if core.raft.connected and core.router.leadership().term == term:
                for session_id in timers.expire(now):
                    nursery.start_soon(_end, core, session_id, places)
                if timers.deadline is not None:
                    wake_at = min(wake_at, timers.deadline)
            await trio.sleep_until(wake_at)


async def _end(core: Core, session_id: str, places: trio.CapacityLimiter) -> None:
    started = trio.current_time()
    request = SessionRequest(datacenter=core.config.datacenter, op=DESTROY, session=Session(id=session_id))
    async with places:
        try:
            await core.apply(request)
        except RpcError as error:
            _log.error("Invalidation failed", error=str(error))
            if not core.session_timers.invalidation_failed(session_id, trio.current_time()):
                _log.error("maximum revoke attempts reached for session", error=session_id)
        else:
            _log.debug("Session TTL expired", session=session_id)
    metrics.sample("consul.session_ttl.invalidate", (trio.current_time() - started) * 1000)
