"""The log socket: batches, never blocks, drops and says so, takes levels."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import msgpack
import pytest

from shared import log
from shared.log import BUFFER_BYTES_MAX, DEBUG, INFO, WARN, Record, RecordReader, SocketSink


@pytest.fixture
def pair() -> Iterator[tuple[SocketSink, socket.socket]]:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    yield SocketSink(ours), theirs
    ours.close()
    theirs.close()


@pytest.fixture
def level() -> Iterator[None]:
    before = log.level()
    yield
    log.set_level(before)


def read_all(connection: socket.socket, reader: RecordReader) -> list[Record]:
    records: list[Record] = []
    while True:
        try:
            data = connection.recv(1 << 16)
        except BlockingIOError:
            return records
        if not data:
            return records
        records += reader.feed(data)


def test_records_of_one_turn_leave_together(pair: tuple[SocketSink, socket.socket]) -> None:
    sink, theirs = pair
    woken: list[int] = []
    sink.on_pending = lambda: woken.append(1)
    for number in range(10):
        sink(Record(0.0, INFO, "a", str(number)))
    assert woken == [1]
    with pytest.raises(BlockingIOError):
        theirs.recv(1)
    assert sink.flush()
    assert [record.message for record in read_all(theirs, RecordReader())] == [str(n) for n in range(10)]


def test_a_warning_leaves_at_once(pair: tuple[SocketSink, socket.socket]) -> None:
    sink, theirs = pair
    sink.on_pending = lambda: None
    sink(Record(0.0, INFO, "a", "first"))
    sink(Record(0.0, WARN, "a", "second"))
    assert [record.message for record in read_all(theirs, RecordReader())] == ["first", "second"]


def test_a_supervisor_that_does_not_read_costs_records_not_time(pair: tuple[SocketSink, socket.socket]) -> None:
    sink, theirs = pair
    text = "x" * 10_000
    for _ in range(1000):
        sink(Record(0.0, WARN, "a", text))
    dropped = sink.dropped
    assert 0 < dropped < 1000
    reader = RecordReader()
    received = read_all(theirs, reader)
    while not sink.flush():
        received += read_all(theirs, reader)
    received += read_all(theirs, reader)
    assert len(received) == 1000 - dropped
    assert len(received) * len(text) >= BUFFER_BYTES_MAX
    sink(Record(0.0, WARN, "a", "after"))
    report, after = read_all(theirs, reader)
    assert (report.message, report.fields) == ("log records dropped", ("count", dropped))
    assert after.message == "after"


def test_a_huge_message_is_cut(pair: tuple[SocketSink, socket.socket]) -> None:
    sink, theirs = pair
    sink(Record(0.0, WARN, "a", "x" * 1_000_000, ("k", "y" * 1_000_000)))
    (record,) = read_all(theirs, RecordReader())
    assert len(record.message) < 40_000
    assert record.message.endswith("... (cut)")
    assert len(record.fields[1]) < 40_000


def test_levels_come_back_and_the_end_is_seen(pair: tuple[SocketSink, socket.socket], level: None) -> None:
    sink, theirs = pair
    logger = log.get_logger("agent.test")
    theirs.send(msgpack.packb(DEBUG))
    assert sink.read_levels()
    assert logger.enabled(DEBUG)
    theirs.send(msgpack.packb(WARN) + msgpack.packb(INFO))
    assert sink.read_levels()
    assert (logger.enabled(DEBUG), logger.enabled(INFO)) == (False, True)
    theirs.close()
    assert not sink.read_levels()


def test_a_dead_supervisor_is_no_error(pair: tuple[SocketSink, socket.socket]) -> None:
    sink, theirs = pair
    theirs.close()
    sink(Record(0.0, WARN, "a", "x"))
    assert sink.closed
    sink(Record(0.0, WARN, "a", "y"))
    assert sink.flush()
