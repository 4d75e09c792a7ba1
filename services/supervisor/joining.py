"""Joining clusters at start: `start_join` once and in time, `retry_join` in the background until it succeeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import trio

from shared import log
from shared.config.runtime import RuntimeConfig
from shared.gotext.durations import format_duration_ns
from shared.ipc import IpcError, Link

JOIN_TIMEOUT_S = 60.0
DISCOVERY_METHODS = ""
"""Cloud providers that `provider=...` may name: none are built in."""

_log = log.get_logger("agent")


class RetriesExhaustedError(Exception):
    """A cluster could not be joined in as many attempts as the configuration allows; the agent ends."""


class Retry(NamedTuple):
    """One pool's part of the configuration. attempts_max: after the first one; 0 is no limit."""

    cluster: str
    addresses: tuple[str, ...]
    interval_s: float
    attempts_max: int

    @property
    def wan(self) -> bool:
        return self.cluster == "WAN"


def retries(config: RuntimeConfig) -> list[Retry]:
    """What is to be tried in the background. Only servers are in the WAN pool."""
    lan = Retry("LAN", config.retry_join, config.retry_interval_s, config.retry_max)
    wan = Retry("WAN", config.retry_join_wan, config.retry_interval_wan_s, config.retry_max_wan)
    if wan.addresses and not config.server:
        _log.warn("(WAN) couldn't join: Err: Must be a server to join WAN cluster")
        return [lan] if lan.addresses else []
    return [retry for retry in (lan, wan) if retry.addresses]


async def join_once(rpc: Link, config: RuntimeConfig, say: Callable[[str], None]) -> None:
    """`start_join` and `start_join_wan`: one attempt each. Raises IpcError."""
    for addresses, wan in ((config.start_join, False), (config.start_join_wan, True)):
        if addresses:
            kind = " -wan" if wan else ""
            say(f"==> Joining{kind} cluster...")
            count = await _join(rpc, addresses, wan=wan)
            _log.info(f"Join{kind} completed. Initial agents synced with", agent_count=count)


async def join_until_done(rpc: Link, retry: Retry) -> None:
    """Tries again and again at the interval. Raises RetriesExhaustedError. Addresses are looked up anew each time."""
    names = {"cluster": retry.cluster}
    _log.info(
        "Retry join is supported for the following discovery methods", **names, discovery_methods=DISCOVERY_METHODS
    )
    _log.info("Joining cluster...", **names)
    attempt = 0
    while True:
        addresses = _plain(retry)
        failure = "No servers to join"
        if addresses:
            try:
                count = await _join(rpc, addresses, wan=retry.wan)
            except IpcError as error:
                failure = str(error)
            else:
                _log.info("Join cluster completed. Synced with initial agents", **names, num_agents=count)
                return
        attempt += 1
        if 0 < retry.attempts_max < attempt:
            raise RetriesExhaustedError(f"agent: max join {retry.cluster} retry exhausted, exiting")
        interval = format_duration_ns(round(retry.interval_s * 1e9))
        _log.warn("Join cluster failed, will retry", **names, retry_interval=interval, error=failure)
        await trio.sleep(retry.interval_s)


def _plain(retry: Retry) -> list[str]:
    """The addresses that need no cloud provider to be asked."""
    plain = []
    for address in retry.addresses:
        if "provider=" in address:
            reason = "discover: no cloud providers are built in: list addresses or names instead"
            _log.error("Cannot discover address", cluster=retry.cluster, address=address, error=reason)
        else:
            plain.append(address)
    return plain


async def _join(rpc: Link, addresses: Sequence[str], *, wan: bool) -> int:
    """How many members were reached. Raises IpcError."""
    payload = {"addresses": list(addresses), "wan": wan}
    return int(await rpc.call("Agent.Join", payload, timeout_s=JOIN_TIMEOUT_S))
