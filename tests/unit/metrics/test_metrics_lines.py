"""What statsd and its kin are sent."""

from __future__ import annotations

import socket

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from shared import metrics
from shared.config.sections import Telemetry
from shared.metrics import Registry, sinks
from shared.metrics.batch import SERIES_MAX, VALUES_MAX, Batch
from shared.metrics.lines import PACKET_BYTES_MAX, dogstatsd_lines, packets, statsd_lines
from tests.agents import PATIENCE_S
from tests.loopback import LoopbackPool


def batch() -> Batch:
    made = Batch()
    made.incr(("consul.client.api.kv", (("node", "n 1"),)), 2)
    made.incr(("consul.client.api.kv", (("node", "n 1"),)), 1)
    made.gauge(("consul.host1.runtime.alloc:bytes", ()), 1.5)
    made.sample(("consul.kvs.apply", ()), 0.25, 2)
    return made


def test_statsd_has_the_values_of_labels_in_names() -> None:
    assert list(statsd_lines(batch())) == [
        "consul.client.api.kv.n_1:3.000000|c\n",
        "consul.host1.runtime.alloc_bytes:1.500000|g\n",
        "consul.kvs.apply:0.250000|ms\n",
        "consul.kvs.apply:0.250000|ms\n",
    ]


def test_dogstatsd_has_labels_as_tags_and_no_host_in_names() -> None:
    assert list(dogstatsd_lines(batch(), ["a:b", "c"], "host1")) == [
        "consul.client.api.kv:3|c|#a:b,c,node:n_1\n",
        "consul.runtime.alloc_bytes:1.500000|g|#a:b,c\n",
        "consul.kvs.apply:0.250000|ms|#a:b,c\n",
        "consul.kvs.apply:0.250000|ms|#a:b,c\n",
    ]
    assert next(dogstatsd_lines(Batch(counters={("x", ()): 1}), [], "")) == "x:1|c\n"


def test_of_many_values_some_stand_for_all() -> None:
    made = Batch()
    for value in range(4 * VALUES_MAX):
        made.sample(("x", ()), value, 1)
    lines = list(statsd_lines(made))
    assert len(lines) == VALUES_MAX
    assert all(line.endswith("|ms|@0.250000\n") for line in lines)
    assert sorted(made.samples["x", ()].kept) == list(range(3 * VALUES_MAX, 4 * VALUES_MAX))


def test_a_batch_is_bounded() -> None:
    made = Batch()
    for number in range(SERIES_MAX + 10):
        made.incr((f"x{number}", ()), 1)
    assert (len(made.counters), made.dropped) == (SERIES_MAX, 10)


@given(st.lists(st.text(alphabet="abc\u2603", max_size=900), max_size=12))
def test_packets_hold_all_lines_in_order_and_little_more_than_they_should(lines: list[str]) -> None:
    lines = [f"{line}\n" for line in lines]
    made = list(packets(lines))
    assert b"".join(made).decode() == "".join(lines)
    for packet in made:
        assert len(packet) <= PACKET_BYTES_MAX or packet.count(b"\n") == 1


def test_batches_are_kept_only_between_the_first_and_the_last_look() -> None:
    registry = Registry()
    registry.incr("consul.before")
    assert not registry.take_batch().counters
    registry.incr("consul.within")
    registry.sample("consul.s", 1.0, times=3)
    registry.gauge("consul.g", 4)
    taken = registry.take_batch()
    assert taken.counters == {("consul.within", ()): 1}
    assert taken.samples["consul.s", ()].count == 3
    assert taken.gauges == {("consul.g", ()): 4}
    registry.end_batches()
    registry.incr("consul.after")
    assert not registry.take_batch().counters


@pytest.mark.parametrize(
    ("fields", "hidden"),
    [
        ({}, True),
        ({"statsd_address": "h:1"}, False),
        ({"statsd_address": "h:1", "disable_hostname": True}, True),
        ({"prometheus_retention_time_s": 60.0}, False),
    ],
)
def test_gauges_name_the_host_only_where_somebody_else_sees_them(
    fields: dict[str, object], hidden: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {}
    monkeypatch.setattr(metrics, "configure", lambda *args: found.update(prefix=args[0], hidden=args[1]))
    metrics.apply(Telemetry(**fields))
    assert found == {"prefix": "consul", "hidden": hidden}


async def test_everybody_gets_what_was_measured(loopback: LoopbackPool) -> None:
    address = loopback()
    statsd, dogstatsd = (trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    for sock in (statsd, dogstatsd):
        await sock.bind((address, 0))
    (listener,) = await trio.open_tcp_listeners(0, host=address)
    ports = [sock.getsockname()[1] for sock in (statsd, dogstatsd, listener.socket)]
    telemetry = Telemetry(
        statsd_address=f"{address}:{ports[0]}",
        dogstatsd_addr=f"{address}:{ports[1]}",
        statsite_address=f"{address}:{ports[2]}",
        dogstatsd_tags=("a:b",),
    )
    assert metrics.has_sinks(telemetry)
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: sinks.run(telemetry, whole_agent=True))
            stream = await listener.accept()
            metrics.incr("consul.test.sent", 2, (("x", "y"),))
            await _until(b"consul.test.sent.y:2.000000|c\n", lambda: statsd.recv(65536))
            await _until(b"consul.test.sent:2|c|#a:b,x:y\n", lambda: dogstatsd.recv(65536))
            await _until(b"consul.test.sent.y:2.000000|c\n", lambda: stream.receive_some(65536))
            nursery.cancel_scope.cancel()
    for sock in (statsd, dogstatsd):
        sock.close()
    await listener.aclose()


async def _until(wanted: bytes, receive: object) -> None:
    data = b""
    while wanted not in data:
        data += await receive()  # type: ignore[operator]


async def test_a_server_that_is_not_there_is_tried_again(
    loopback: LoopbackPool, autojump_clock: trio.testing.MockClock
) -> None:
    tried = 0

    class Absent(sinks.Sink):
        async def _connect_and_send(self) -> None:
            nonlocal tried
            tried += 1
            raise OSError("nobody there")

    sink = Absent("statsd", "h:1", lambda batch: packets(statsd_lines(batch)))
    with trio.move_on_after(10 * sinks.RECONNECT_S - 1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sink.run)
            for _ in range(100):
                sink.offer(batch())  # never waits
    assert tried == 10


async def test_a_connection_that_is_never_answered_is_given_up(
    loopback: LoopbackPool, autojump_clock: trio.testing.MockClock
) -> None:
    listener = socket.create_server((loopback(), 0), backlog=0)
    host, port = listener.getsockname()
    tried = 0

    class Counted(sinks.StreamSink):
        async def _connect_and_send(self) -> None:
            nonlocal tried
            tried += 1
            await super()._connect_and_send()

    sink = Counted("statsite", f"{host}:{port}", lambda batch: packets(statsd_lines(batch)))
    with listener, socket.create_connection((host, port)):  # the only one there is room for
        with trio.move_on_after(3 * (sinks.CONNECT_TIMEOUT_S + sinks.RECONNECT_S) - 1):
            await sink.run()
    assert tried == 3
