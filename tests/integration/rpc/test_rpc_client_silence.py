"""rpc_core of a client beside servers that say nothing, as over links that lose all: who waits, and who goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from shared.ipc import DeadlineError
from shared.server_rpc import hearing
from shared.server_rpc import pool as server_pool
from shared.server_rpc.connection import ServerConnection
from shared.wire import rpc
from tests.agents import PATIENCE_S
from tests.integration.rpc.test_rpc_client_core import READ, World, found, world
from tests.integration.rpc.test_rpc_server_pool import Other
from tests.loopback import LoopbackPool


class Doubtful:
    """A server whose connections are made, and which can be silent: it takes all that is sent and says nothing until
    `speaks`, as over a link that loses what it sends."""

    def __init__(self, address: str, answer: Callable[[rpc.Request], Any]) -> None:
        self.host, self.speaks, self.served = address, trio.Event(), Other(address, answer)

    async def run(self, task_status: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED) -> None:
        listeners = await trio.open_tcp_listeners(8300, host=self.host)
        await trio.serve_listeners(self._serve, listeners, task_status=task_status)

    async def _serve(self, stream: trio.SocketStream) -> None:
        await self.speaks.wait()
        await self.served._serve(stream)


REAP_INTERVAL_S, PROBE_AFTER_S, PROBE_TIMEOUT_S = 0.02, 0.1, 0.8
"""The good servers live in the test's process, too: where it gets no processor for as long, they are silent."""
LOOKS = 2 * round((PROBE_AFTER_S + PROBE_TIMEOUT_S) / REAP_INTERVAL_S)
"""After so many a connection that is silent has been found so."""
KEEPALIVE_S = 25.0
"""The connection itself would end a little later than this: who goes on sooner has not waited for that."""
Watch = Counter[str]


@pytest.fixture
def watched_closely(monkeypatch: pytest.MonkeyPatch) -> Watch:
    """Connections are looked at often; how often has been counted under "looks"."""
    monkeypatch.setattr(server_pool, "REAP_INTERVAL_S", REAP_INTERVAL_S)
    for name, value in (("PROBE_AFTER_S", PROBE_AFTER_S), ("PROBE_TIMEOUT_S", PROBE_TIMEOUT_S)):
        monkeypatch.setattr(hearing, name, value)
    watch: Watch = Counter()
    listen = ServerConnection.listen

    def counted(connection: ServerConnection, now: float) -> None:
        watch["looks"] += 1
        listen(connection, now)

    monkeypatch.setattr(ServerConnection, "listen", counted)
    return watch


async def silent_and_good(made: World, nursery: trio.Nursery, loopback: LoopbackPool) -> Doubtful:
    """Two servers, of which the first to be asked, which is returned, is silent; the other is called "good"."""
    silent = Doubtful(loopback(), made.server("silent", found))
    good = Other(loopback(), made.server("good", found))
    for name, one in (("silent", silent), ("good", good)):
        await nursery.start(one.run)
        await made.comes(name, one.host)
    return silent


@pytest.mark.usefixtures("watched_closely")
async def test_reads_leave_a_server_that_does_not_even_answer_pings(loopback: LoopbackPool, tmp_path: Path) -> None:
    """A link that is half open: nothing ends the connection, and gossip finds other ways to the server."""
    async with world(tmp_path, loopback()) as (made, nursery):
        silent = await silent_and_good(made, nursery, loopback)
        written: list[Any] = []

        async def write() -> None:
            written.append(await made.call("Session.Apply", READ))

        nursery.start_soon(write)
        with trio.fail_after(KEEPALIVE_S):
            assert (await made.call("KVS.Get", READ))["Index"] == 7
            assert (await made.call("Session.Apply", READ))["Index"] == 7  # what comes now goes elsewhere
        assert made.asked == ["good KVS.Get", "good Session.Apply"]
        assert not written  # it may have arrived: only its own server can tell
        silent.speaks.set()
        await made.until(lambda: written)
        assert "silent Session.Apply" in made.asked[2:]


@pytest.mark.usefixtures("watched_closely")
async def test_calls_leave_a_server_that_cannot_even_be_connected_to(
    loopback: LoopbackPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packets to it vanish. Whoever asks is less patient than a dial, as look-ups are; one dial goes on for all."""
    dials: Counter[str] = Counter()
    dialed = trio.open_tcp_stream

    async def open_tcp_stream(host: str, *arguments: Any, **options: Any) -> trio.SocketStream:
        dials[host] += 1
        if host == gone:
            await trio.sleep_forever()
        return await dialed(host, *arguments, **options)

    monkeypatch.setattr(trio, "open_tcp_stream", open_tcp_stream)
    async with world(tmp_path, loopback()) as (made, nursery):
        good = Other(loopback(), made.server("good", found))
        await nursery.start(good.run)
        gone = loopback()
        for name, host in (("gone", gone), ("good", good.host)):
            await made.comes(name, host)
        for method in ("KVS.Get", "Session.Apply"):
            with pytest.raises(DeadlineError):
                await made.call(method, READ, timeout_s=0.1)
        with trio.fail_after(PATIENCE_S):
            for method in ("KVS.Get", "Session.Apply"):  # nothing was sent, so that a write may go on as well
                assert (await made.call(method, READ))["Index"] == 7
        assert dials == {gone: 1, good.host: 1}


@pytest.mark.usefixtures("watched_closely")
async def test_calls_that_wait_for_a_stream_of_a_silent_server_leave_it(loopback: LoopbackPool, tmp_path: Path) -> None:
    """A session opens 256 streams ahead of their acknowledgement."""
    async with world(tmp_path, loopback()) as (made, nursery):
        await silent_and_good(made, nursery, loopback)
        with trio.fail_after(KEEPALIVE_S):
            async with trio.open_nursery() as callers:
                for _ in range(300):
                    callers.start_soon(made.call, "KVS.Get", READ)
        assert made.asked == ["good KVS.Get"] * 300


async def test_while_every_server_is_silent_calls_wait_for_whoever_speaks_first(
    loopback: LoopbackPool, tmp_path: Path, watched_closely: Watch
) -> None:
    async with world(tmp_path, loopback()) as (made, nursery):
        servers = {name: Doubtful(loopback(), made.server(name, found)) for name in "abc"}
        for name, one in servers.items():
            await nursery.start(one.run)
            await made.comes(name, one.host)
        answers: list[Any] = []

        async def read() -> None:
            answers.append(await made.call("KVS.Get", READ))

        pool = made.core.core.servers
        nursery.start_soon(read)
        await made.until(lambda: all(pool.is_silent(f"{one.host}:8300") for one in servers.values()))
        looks = watched_closely["looks"]
        await made.until(lambda: watched_closely["looks"] >= looks + LOOKS)
        assert not answers
        servers["a"].speaks.set()
        await made.until(lambda: answers)
        assert answers[0]["Index"] == 7
        assert not pool.is_silent(f"{servers['a'].host}:8300")


async def test_a_silent_server_under_two_names_is_not_two(
    loopback: LoopbackPool, tmp_path: Path, watched_closely: Watch
) -> None:
    """One that was renamed, until gossip gives its old name up."""
    async with world(tmp_path, loopback()) as (made, nursery):
        silent = Doubtful(loopback(), made.server("silent", found))
        await nursery.start(silent.run)
        for name in ("old", "new"):
            await made.comes(name, silent.host)
        answers: list[Any] = []

        async def read() -> None:
            answers.append(await made.call("KVS.Get", READ))

        nursery.start_soon(read)
        await made.until(lambda: made.core.core.servers.is_silent(f"{silent.host}:8300"))
        looks = watched_closely["looks"]
        await made.until(lambda: watched_closely["looks"] >= looks + 3)  # it was told to be silent, again and again
        silent.speaks.set()
        await made.until(lambda: answers)


async def test_a_server_that_thinks_for_long_is_not_silent(
    loopback: LoopbackPool, tmp_path: Path, watched_closely: Watch
) -> None:
    go_on = trio.Event()

    async def thinks(call: rpc.Request) -> object:
        await go_on.wait()
        return await found(call)

    async with world(tmp_path, loopback()) as (made, nursery):
        for name, answer in (("thinks", thinks), ("good", found)):
            other = Other(loopback(), made.server(name, answer))
            await nursery.start(other.run)
            await made.comes(name, other.host)
        answers: list[Any] = []

        async def read() -> None:
            answers.append(await made.call("KVS.Get", READ))

        nursery.start_soon(read)
        await made.until(lambda: made.asked and watched_closely["looks"] >= LOOKS)
        assert made.asked == ["thinks KVS.Get"]
        go_on.set()
        await made.until(lambda: answers)
        assert made.asked == ["thinks KVS.Get"]
