"""Bodies that go into a file: complete ones are there, abandoned ones leave nothing behind."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.http_gateway.lane.connection import Connection, ConnectionLimits
from services.http_gateway.lane.head import HeadParser
from services.http_gateway.message import Request
from shared.spool import Spool

BODY = bytes(range(256)) * 40
PLAIN = b"PUT /v1/snapshot HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
CHUNKED = (
    b"PUT /v1/snapshot HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (BODY[:1], BODY[1:5000], BODY[5000:]))
    + b"0\r\n\r\n"
)
AFTER = b"PUT /v1/session/create HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"


class Harness:
    """A connection with a spool in `directory`; `bodies` are read from the files when their request comes out."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "spool" / "test"
        self.requests: list[Request] = []
        self.bodies: list[bytes] = []
        limits = ConnectionLimits(value_bytes_max=10, body_bytes_max=10, spool=Spool(str(directory), "test"))
        self.connection = Connection("1.2.3.4:5", limits, HeadParser(), self._dispatch, lambda _: None, 0.0)

    def _dispatch(self, request: Request) -> None:
        self.requests.append(request)
        spooled = getattr(request, "spooled", None)
        self.bodies.append(request.body if spooled is None else Path(spooled.path).read_bytes())
        self.connection.finish(request, b"done")

    def files(self) -> list[str]:
        return os.listdir(self.directory) if self.directory.exists() else []


@given(st.sampled_from([PLAIN, CHUNKED]), st.lists(st.integers(1, 5000), max_size=20))
def test_a_large_body_lies_in_a_file_however_it_came(
    tmp_path_factory: pytest.TempPathFactory, wire: bytes, cuts: list[int]
) -> None:
    harness = Harness(tmp_path_factory.mktemp("spool"))
    wire += AFTER
    while wire:
        size = cuts.pop() if cuts else len(wire)
        harness.connection.receive(wire[:size], 0.0)
        assert harness.connection.buffered_bytes < 5100  # of the body nothing stays in memory
        wire = wire[size:]
        harness.connection.advance(0.0)
    assert harness.bodies == [BODY, b"hello"]
    assert harness.requests[0].body == b""


@pytest.mark.parametrize("wire", [PLAIN, CHUNKED])
def test_a_body_that_breaks_off_leaves_no_file(tmp_path: Path, wire: bytes) -> None:
    harness = Harness(tmp_path)
    harness.connection.receive(wire[:4000], 0.0)
    assert len(harness.files()) == 1
    harness.connection.lost()
    assert harness.files() == []


def test_a_malformed_body_leaves_no_file(tmp_path: Path) -> None:
    harness = Harness(tmp_path)
    harness.connection.receive(CHUNKED[:100] + b"zz", 0.0)
    harness.connection.receive(b"\r\n" * 3000, 0.0)
    assert harness.files() == []


def test_the_file_goes_with_the_request(tmp_path: Path) -> None:
    harness = Harness(tmp_path)
    harness.connection.receive(PLAIN, 0.0)
    assert len(harness.files()) == 1
    harness.requests.clear()
    gc.collect()
    assert harness.files() == []


def test_a_slow_client_may_take_its_time_as_long_as_it_goes_on(tmp_path: Path) -> None:
    harness = Harness(tmp_path)
    head_and_some = PLAIN[:200]
    harness.connection.receive(head_and_some, 0.0)
    for second in range(50, 2000, 50):
        assert harness.connection.deadline > second
        harness.connection.receive(b"x", float(second))
    assert harness.connection.deadline < 2100


def test_a_body_that_finds_no_room_is_told_to_the_handler(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("in the way")
    requests: list[Request] = []
    limits = ConnectionLimits(spool=Spool(str(tmp_path), "test"))
    connection = Connection("1.2.3.4:5", limits, HeadParser(), requests.append, lambda _: None, 0.0)
    connection.receive(PLAIN, 0.0)
    assert requests[0].spooled.error == "Not a directory"


def test_files_of_a_process_that_was_killed_go_when_the_next_makes_its_first(tmp_path: Path) -> None:
    first = Spool(str(tmp_path), "rpc")
    left = first.create()
    assert os.stat(left.path).st_mode & 0o777 == 0o600
    assert os.stat(os.path.dirname(left.path)).st_mode & 0o777 == 0o700
    with Spool(str(tmp_path), "rpc").create() as new:
        assert os.listdir(os.path.dirname(new.path)) == [os.path.basename(new.path)]
