"""run: sends what this process measures to the servers that the `telemetry` section names.

Each process sends its own part: no other one need be alive for it, and the servers add the parts up. Only what is
measured of the agent as a whole, its memory, is sent by one process for all."""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

import trio

from shared import metrics
from shared.config.sections import Telemetry
from shared.log import get_logger
from shared.metrics.batch import Batch
from shared.metrics.lines import dogstatsd_lines, packets, statsd_lines
from shared.metrics.runtime import agent_pids, memory_gauges

_log = get_logger("agent")

FLUSH_S = 1.0
LOOK_UP_EVERY = 10
"""Sizes of queues and of the agent's memory are looked at once in so many flushes."""
RECONNECT_S = 3.0
CONNECT_TIMEOUT_S = WRITE_TIMEOUT_S = 5.0


async def run(telemetry: Telemetry, *, whole_agent: bool) -> None:
    """Sends until cancelled. whole_agent: whether this process speaks for the agent as a whole."""
    sinks = list(_sinks(telemetry))
    metrics.take_batch()
    turn = 0
    try:
        async with trio.open_nursery() as nursery:
            for sink in sinks:
                nursery.start_soon(sink.run)
            while True:
                await trio.sleep(FLUSH_S)
                if turn % LOOK_UP_EVERY == 0:
                    metrics.look_up()
                    for name, value in memory_gauges(agent_pids()).items() if whole_agent else ():
                        metrics.gauge(name, value)
                turn += 1
                batch = metrics.take_batch()
                for sink in sinks:
                    sink.offer(batch)
    finally:
        metrics.end_batches()


def _sinks(telemetry: Telemetry) -> Iterator[Sink]:
    if telemetry.statsite_address:
        yield StreamSink("statsite", telemetry.statsite_address, lambda batch: packets(statsd_lines(batch)))
    if telemetry.statsd_address:
        yield PacketSink("statsd", telemetry.statsd_address, lambda batch: packets(statsd_lines(batch)))
    if telemetry.dogstatsd_addr:
        tags, host = telemetry.dogstatsd_tags, socket.gethostname()
        yield PacketSink(
            "dogstatsd", telemetry.dogstatsd_addr, lambda batch: packets(dogstatsd_lines(batch, tags, host))
        )


class Sink(ABC):
    """One server. What it does not take in time is dropped: measurements are not worth waiting for."""

    def __init__(self, name: str, address: str, encode: Callable[[Batch], Iterator[bytes]]) -> None:
        self._name, self._address, self._encode = name, address, encode
        self._send, self._receive = trio.open_memory_channel[Batch](1)
        self._failing = False

    def offer(self, batch: Batch) -> None:
        """Takes a batch to be sent, or drops it while the last one is still on its way."""
        try:
            self._send.send_nowait(batch)
        except trio.WouldBlock:
            return

    async def run(self) -> None:
        """Connects again and again."""
        while True:
            try:
                await self._connect_and_send()
            except (OSError, trio.BrokenResourceError, trio.TooSlowError, ValueError) as error:
                if not self._failing:
                    _log.error(f"Error connecting to {self._name}", address=self._address, error=str(error))
                self._failing = True
            await trio.sleep(RECONNECT_S)

    @abstractmethod
    async def _connect_and_send(self) -> None:
        """Sends batches as they come, until the connection fails with one of the errors that `run` takes."""

    async def _batches(self) -> Iterator[bytes]:
        """The packets of the next batch."""
        return self._encode(await self._receive.receive())


class PacketSink(Sink):
    """A server that takes packets: host:port, or unix:// and a path."""

    async def _connect_and_send(self) -> None:
        path = self._address.removeprefix("unix://")
        family: int = socket.AF_UNIX
        where: str | tuple[str, int] = path
        if path == self._address:
            family, where = await _resolve(self._address, socket.SOCK_DGRAM)
        with trio.socket.socket(family, socket.SOCK_DGRAM) as sock:
            await sock.connect(where)
            while True:
                for packet in await self._batches():
                    with trio.fail_after(WRITE_TIMEOUT_S):
                        await sock.send(packet)
                self._failing = False


class StreamSink(Sink):
    """A server that takes a stream over TCP."""

    async def _connect_and_send(self) -> None:
        host, _, port = self._address.rpartition(":")
        with trio.fail_after(CONNECT_TIMEOUT_S):
            stream = await trio.open_tcp_stream(host.strip("[]"), int(port))
        async with stream:
            while True:
                for packet in await self._batches():
                    with trio.fail_after(WRITE_TIMEOUT_S):
                        await stream.send_all(packet)
                self._failing = False


async def _resolve(address: str, kind: int) -> tuple[int, tuple[str, int]]:
    """Raises OSError, ValueError."""
    host, _, port = address.rpartition(":")
    found = await trio.socket.getaddrinfo(host.strip("[]"), int(port), type=kind)
    family, _, _, _, where = found[0]
    return family, where  # type: ignore[return-value]  # with scope and flow of IPv6
