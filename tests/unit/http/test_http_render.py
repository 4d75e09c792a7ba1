"""Answers in the bytes of Go's net/http: order of fields, framing, sniffed type, compression."""

from __future__ import annotations

import gzip

import pytest

from services.http_gateway.go_http import http_date, render
from services.http_gateway.message import Request, Response

DATE = "Date: Sat, 21 Nov 2026 02:38:27 GMT\r\n"


class Nowhere:
    def finish(self, request: Request, data: bytes) -> None:
        raise AssertionError

    stream = finish


def request(method: str = "GET", *, version: int = 11, keep_alive: bool = True, gzip: bool = False) -> Request:
    return Request(
        Nowhere(), method, "/v1/kv/a", {}, remote="1.2.3.4:5", version=version, keep_alive=keep_alive, gzip=gzip
    )


def test_fields_are_sorted_and_the_servers_own_come_last() -> None:
    made = render(
        request(), Response(200, {"X-B": "2", "Content-Type": "application/json", "Vary": "v"}, b"true"), DATE
    )
    assert made.decode() == (
        f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nVary: v\r\nX-B: 2\r\n{DATE}Content-Length: 4\r\n\r\ntrue"
    )


def test_a_text_without_a_type_is_called_plain_text_after_the_length() -> None:
    made = render(request(), Response(400, {}, b"Missing key name"), DATE)
    assert made.decode().endswith(
        f"{DATE}Content-Length: 16\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nMissing key name"
    )


@pytest.mark.parametrize(
    ("version", "keep_alive", "shown"),
    [(11, True, ""), (11, False, "Connection: close\r\n"), (10, True, "Connection: keep-alive\r\n"), (10, False, "")],
)
def test_connection_is_named_only_where_it_is_not_what_the_version_implies(
    version: int, keep_alive: bool, shown: str
) -> None:
    made = render(request(version=version, keep_alive=keep_alive), Response(200), DATE).decode()
    assert made == f"HTTP/1.{version - 10} 200 OK\r\n{DATE}Content-Length: 0\r\n{shown}\r\n"


def test_a_body_over_2048_bytes_is_chunked_unless_its_length_was_announced() -> None:
    body = b"x" * 2049
    assert render(request(), Response(200, {}, body[:2048]), DATE).count(b"Content-Length: 2048\r\n") == 1
    chunked = render(request(), Response(200, {}, body), DATE)
    assert b"Content-Length" not in chunked
    assert chunked.endswith(b"Transfer-Encoding: chunked\r\n\r\n801\r\n" + body + b"\r\n0\r\n\r\n")
    announced = render(request(), Response(200, {"Content-Length": "2049"}, body), DATE)
    assert b"chunked" not in announced


def test_http_1_0_gets_a_long_body_until_the_end_of_the_connection() -> None:
    old = request(version=10)
    made = render(old, Response(200, {}, b"x" * 3000), DATE)
    assert b"Content-Length" not in made
    assert made.endswith(b"\r\n\r\n" + b"x" * 3000)
    assert not old.keep_alive


def test_head_gets_the_fields_without_the_body() -> None:
    assert render(request("HEAD"), Response(405, {}, b"method"), DATE).endswith(
        b"Content-Length: 6\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
    )
    assert render(request("HEAD"), Response(404), DATE) == f"HTTP/1.1 404 Not Found\r\n{DATE}\r\n".encode()


def test_what_varies_by_encoding_is_compressed_for_who_asks() -> None:
    response = Response(200, {"Vary": "Accept-Encoding", "Content-Length": "5", "Content-Type": "text/plain"}, b"hello")
    made = render(request(gzip=True), response, DATE)
    head, _, body = made.partition(b"\r\n\r\n")
    assert b"Content-Encoding: gzip\r\n" in head
    assert b"Content-Length: %d" % len(body) in head
    assert gzip.decompress(body) == b"hello"
    assert b"gzip" not in render(request(gzip=True), Response(301, {}, b"hello"), DATE)
    assert b"gzip" not in render(request(gzip=True), Response(404, {"Vary": "Accept-Encoding"}), DATE)


def test_a_value_cannot_start_a_new_line() -> None:
    made = render(request(), Response(200, {"X": "a\r\nSet-Cookie: b"}), DATE)
    assert b"X: a  Set-Cookie: b\r\n" in made


def test_dates_are_those_of_http() -> None:
    assert http_date(0) == "Thu, 01 Jan 1970 00:00:00 GMT"
    assert http_date(1795228707) == "Sat, 21 Nov 2026 02:38:27 GMT"
