"""What SIGUSR1 asks for: the measurements of the last finished interval of all processes, as go-metrics prints them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import trio

from shared import metrics
from shared.config.runtime import RuntimeConfig
from shared.ipc import IpcError, Link, SocketPathError

TIMEOUT_S = 2.0
_UNSAFE = str.maketrans(" :", "__")


async def gather(config: RuntimeConfig, components: Iterable[str]) -> dict[str, Any]:
    """The report of this process and of those components that answer in time."""
    dumps = [metrics.dump()]

    async def ask(component: str) -> None:
        try:
            link = Link(config.socket_path(component.partition("_")[0]), name="supervisor")
        except SocketPathError:
            return
        async with trio.open_nursery() as nursery:
            await nursery.start(link.run)
            with contextlib.suppress(IpcError):
                dumps.append(await link.call("Metrics.Dump", None, timeout_s=TIMEOUT_S))
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for component in components:
            nursery.start_soon(ask, component)
    return metrics.merge(dumps)


def lines(report: dict[str, Any]) -> Iterator[str]:
    """One line per series. When each was measured last is not kept, so that is not said."""
    time = report["Timestamp"]
    for gauge in report["Gauges"]:
        yield f"[{time}][G] '{_flat(gauge)}': {gauge['Value']:.3f}\n"
    for mark, kind in (("C", "Counters"), ("S", "Samples")):
        for item in report[kind]:
            yield f"[{time}][{mark}] '{_flat(item)}': {_aggregate(item)}\n"


def _flat(item: dict[str, Any]) -> str:
    return ".".join([item["Name"], *(value.translate(_UNSAFE) for value in item["Labels"].values())])


def _aggregate(item: dict[str, Any]) -> str:
    if item["Stddev"] == 0:
        return f"Count: {item['Count']} Sum: {item['Sum']:.3f}"
    spread = " ".join(f"{name}: {item[name]:.3f}" for name in ("Min", "Mean", "Max", "Stddev", "Sum"))
    return f"Count: {item['Count']} {spread}"
