"""Log lines as Consul 1.8.7 prints them. The expected texts are copied from runs of the real agent."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.supervisor.departure import SignalValue
from shared import log
from shared.log import DEBUG, ERROR, INFO, WARN, Record, format_json, format_plain

TIME_S = 1795228128.721362  # 2026-11-21T02:28:48.721362Z


@pytest.fixture
def zone(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = request.param
    time.tzset()
    log._last_second = (-1, "", "")
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()
    log._last_second = (-1, "", "")


utc = pytest.mark.parametrize("zone", ["UTC"], indirect=True)


@utc
@pytest.mark.parametrize(
    ("record", "line"),
    [
        (
            Record(TIME_S, INFO, "agent.server.serf.lan", "serf: EventMemberJoin: probe 127.9.0.1"),
            "2026-11-21T02:28:48.721Z [INFO]  agent.server.serf.lan: serf: EventMemberJoin: probe 127.9.0.1",
        ),
        (
            Record(
                TIME_S,
                INFO,
                "agent.server.raft",
                "entering follower state",
                ("follower", "Node at 127.9.0.1:8300 [Follower]", "leader", ""),
            ),
            "2026-11-21T02:28:48.721Z [INFO]  agent.server.raft: entering follower state: "
            'follower="Node at 127.9.0.1:8300 [Follower]" leader=',
        ),
        (
            Record(TIME_S, WARN, "agent.server.raft", "heartbeat timeout reached", ("last-leader", "")),
            "2026-11-21T02:28:48.721Z [WARN]  agent.server.raft: heartbeat timeout reached: last-leader=",
        ),
        (
            Record(TIME_S, DEBUG, "agent.server.raft", "vote granted", ("from", "b722", "term", 2, "tally", 1)),
            "2026-11-21T02:28:48.721Z [DEBUG] agent.server.raft: vote granted: from=b722 term=2 tally=1",
        ),
        (
            Record(TIME_S, DEBUG, "connect.ca.consul", "consul CA provider configured", ("is_primary", True)),
            "2026-11-21T02:28:48.721Z [DEBUG] connect.ca.consul: consul CA provider configured: is_primary=true",
        ),
        (
            Record(TIME_S, ERROR, "agent", "Error starting agent", ("error", OSError("2 errors:\n\t* a\n"))),
            '2026-11-21T02:28:48.721Z [ERROR] agent: Error starting agent: error="2 errors:\n\t* a\n"',
        ),
        (
            Record(TIME_S, INFO, "agent", "Caught", ("signal", SignalValue(15))),
            "2026-11-21T02:28:48.721Z [INFO]  agent: Caught: signal=terminated",
        ),
        (
            Record(TIME_S, INFO, "agent", "values", ("l", ["a", "b c"], "n", None, "f", 1.0, "g", 0.25, "q", 'a"b')),
            '2026-11-21T02:28:48.721Z [INFO]  agent: values: l=[a, "b c"] n=<nil> f=1 g=0.25 q=a"b',
        ),
        (Record(TIME_S, INFO, "", "bare"), "2026-11-21T02:28:48.721Z [INFO]  bare"),
    ],
)
def test_plain_lines(zone: None, record: Record, line: str) -> None:
    assert format_plain(record) == line


@utc
def test_json_lines_are_sorted_and_escaped_as_go_does(zone: None) -> None:
    record = Record(TIME_S, INFO, "agent", "Caught", ("signal", SignalValue(15), "a", "<b> & ü"))
    assert format_json(record) == (
        '{"@level":"info","@message":"Caught","@module":"agent","@timestamp":"2026-11-21T02:28:48.721362Z",'
        '"a":"\\u003cb\\u003e \\u0026 ü","signal":15}'
    )


@pytest.mark.parametrize("zone", ["Asia/Shanghai"], indirect=True)
def test_the_zone_has_no_colon_in_plain_and_one_in_json(zone: None) -> None:
    record = Record(TIME_S, INFO, "agent", "x")
    assert format_plain(record).startswith("2026-11-21T10:28:48.721+0800 [INFO]  agent: x")
    assert json.loads(format_json(record))["@timestamp"] == "2026-11-21T10:28:48.721362+08:00"


def test_levels_have_consuls_names() -> None:
    assert [log.parse_level(text) for text in ("TRACE", "debug", "Info", "WARN", "err", "error")] == [1, 2, 3, 4, 5, 5]
    with pytest.raises(ValueError, match="Unknown log level: loud"):
        log.parse_level("loud")


values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary(),
    st.lists(st.one_of(st.text(), st.integers()), max_size=3),
)  # fmt: skip
records = st.builds(
    Record,
    st.floats(0, 4e9),
    st.sampled_from([1, 2, 3, 4, 5]),
    st.text(max_size=20),
    st.text(),
    st.lists(st.tuples(st.text(min_size=1, max_size=10), values), max_size=4, unique_by=lambda pair: pair[0]).map(
        lambda pairs: tuple(part for pair in pairs for part in pair)
    ),
)


@given(records)
def test_any_record_has_a_line_in_both_formats(record: Record) -> None:
    format_plain(record)
    json.loads(format_json(record))


@given(st.lists(records, max_size=5), st.data())
def test_records_cross_the_socket_however_the_stream_is_cut(sent: list[Record], data: st.DataObject) -> None:
    wire = b"".join(log.pack(record) for record in sent)
    cut = data.draw(st.integers(0, len(wire)))
    reader = log.RecordReader()
    received = [*reader.feed(wire[:cut]), *reader.feed(wire[cut:])]
    assert [format_plain(record) for record in received] == [format_plain(record) for record in sent]


@given(st.binary(max_size=200))
def test_junk_on_the_log_socket_is_a_value_error_or_nothing(junk: bytes) -> None:
    reader = log.RecordReader()
    try:
        for record in reader.feed(junk):
            format_plain(record)
    except ValueError:
        pass
