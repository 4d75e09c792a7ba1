"""What checked services send, cut anywhere and made of junk; URLs and addresses."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.rpc_core.local.checks.address import AddressError, split_host_port
from services.rpc_core.local.checks.grpc_call import GrpcError, HealthCall, NoMessageError
from services.rpc_core.local.checks.http_client import FetchError, Request, encode, new_request
from services.rpc_core.local.checks.response import HEAD_BYTES_MAX, ResponseError, ResponseReader
from services.rpc_core.local.checks.url import UrlError, parse, resolve

CHUNKED = (
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 Very Fine\r\nTransfer-Encoding: chunked\r\nX: a\r\n b\r\n\r\n"
    b"3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\nTrailer: x\r\n\r\n"
)
SIZED = b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 5\r\n\r\nabcdeXXX"
UNSIZED = b"HTTP/1.0 503 Busy\r\n\r\nuntil the end"


def read(pieces: list[bytes], method: str = "GET") -> tuple[str, bytes, bool, str]:
    """Status text, body, whether it was complete before the end, what is wrong with the body."""
    reader = ResponseReader(method)
    body = b"".join([reader.feed(piece) for piece in pieces])
    complete = reader.done
    reader.end()
    assert reader.head is not None
    return reader.head.status_text, body, complete, reader.broken


@given(st.sampled_from([CHUNKED, SIZED, UNSIZED]), st.lists(st.integers(0, 200), max_size=8))
def test_the_reader_does_not_care_where_a_response_is_cut(data: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    pieces = [data[start:end] for start, end in itertools.pairwise(edges)]
    assert read(pieces) == read([data])


def test_whole_responses() -> None:
    assert read([CHUNKED]) == ("200 Very Fine", b"abcde", True, "")
    assert read([SIZED]) == ("429 Too Many Requests", b"abcde", True, "")
    assert read([UNSIZED]) == ("503 Busy", b"until the end", False, "")
    assert read([SIZED], "HEAD") == ("429 Too Many Requests", b"", True, "")
    assert read([SIZED[:-5]]) == ("429 Too Many Requests", b"abc", False, "unexpected EOF")


_LINES = st.lists(
    st.one_of(
        st.binary(max_size=30),
        st.sampled_from(
            [b"HTTP/1.1 200 OK", b"", b"Content-Length: 3", b"Transfer-Encoding: chunked", b" folded", b"3", b"abc"]
        ),
    ),
    max_size=12,
)


@given(_LINES, st.sampled_from([b"\r\n", b"\n"]))
def test_junk_gives_a_response_or_a_response_error(lines: list[bytes], end: bytes) -> None:
    reader = ResponseReader("GET")
    try:
        reader.feed(end.join(lines) + end)
        reader.end()
    except ResponseError:
        return
    assert reader.done


def feed_for_ever(reader: ResponseReader, data: bytes) -> None:
    for _ in range(1000):
        reader.feed(data)


def test_a_head_without_end_is_cut_off_without_being_kept() -> None:
    reader = ResponseReader("GET")
    reader.feed(b"HTTP/1.1 200 OK\r\nX: y\r\n")
    with pytest.raises(ResponseError, match=f"headers exceeded {HEAD_BYTES_MAX} bytes"):
        feed_for_ever(reader, b" folded on and on\r\n" * 3450)
    assert len(reader._buffer) + len(reader._line or "") < 200_000


def test_a_line_without_end_is_cut_off() -> None:
    reader = ResponseReader("GET")
    with pytest.raises(ResponseError, match="headers exceeded"):
        feed_for_ever(reader, b"x" * 65536)


# -- URLs --------------------------------------------------------------------------------------------


@given(st.text(max_size=40) | st.from_regex(r"https?://[a-z\[\]:@%/?#0-9 .]{0,30}", fullmatch=True))
def test_a_text_is_a_url_or_a_url_error(text: str) -> None:
    try:
        url = parse(text)
    except UrlError:
        return
    if not url.host.endswith(":"):  # of several colons at its end a host loses one each time
        assert parse(str(url)) == url


@pytest.mark.parametrize(
    ("text", "address", "target", "hostname"),
    [
        ("http://h/a?b#c", "h:80", "/a?b", "h"),
        ("https://h", "h:443", "/", "h"),
        ("https://h:1/", "h:1", "/", "h"),
        ("http://h:/", "h:80", "/", "h"),
        ("http://[::1]:8/x", "[::1]:8", "/x", "::1"),
        ("http://[::1]/x", "[::1]:80", "/x", "::1"),
        ("HTTP://H/\u2603 %41", "H:80", "/%E2%98%83%20A", "H"),
    ],
)
def test_the_parts_of_a_url(text: str, address: str, target: str, hostname: str) -> None:
    url = parse(text)
    assert (url.address, url.target, url.hostname) == (address, target, hostname)


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("/x", "http://u:p@h:1/x"),
        ("x?q", "http://u:p@h:1/a/x?q"),
        ("../x", "http://u:p@h:1/x"),
        ("//other/x", "http://other/x"),
        ("https://other", "https://other"),
        ("?q", "http://u:p@h:1/a/b?q"),
    ],
)
def test_where_a_redirect_leads(reference: str, expected: str) -> None:
    assert str(resolve(parse("http://u:p@h:1/a/b"), reference)) == expected


@given(st.text(alphabet="[]:ab1.%", max_size=14))
def test_an_address_is_split_or_refused(text: str) -> None:
    try:
        host, port = split_host_port(text)
    except AddressError:
        return
    assert text in (f"{host}:{port}", f"[{host}]:{port}")
    assert ":" not in port


_HEADERS = st.dictionaries(st.text(max_size=8), st.lists(st.text(max_size=8), max_size=2), max_size=3)


@given(_HEADERS, st.text(max_size=6), st.text(max_size=12))
def test_no_check_smuggles_a_second_request(headers: dict[str, list[str]], method: str, path: str) -> None:
    """Whatever a definition holds, one request leaves, or none."""
    from services.rpc_core.local.checks.http_client import _refuse_bad, _RefusedError

    try:
        request = new_request(method, f"http://h/{path}", headers)
        _refuse_bad(request)
    except (FetchError, _RefusedError):
        return
    head, _, body = encode(request).partition(b"\r\n\r\n")
    assert body == b""
    assert b"\n" not in head.replace(b"\r\n", b"")
    assert head.count(b"\r\nHost: ") == 1


def test_credentials_do_not_replace_a_header() -> None:
    url = parse("http://u:p@h/")
    assert b"Authorization: Basic dTpw\r\n" in encode(Request("GET", url, {}))
    own = encode(Request("GET", url, {"Authorization": ["mine"]}))
    assert b"Authorization: mine\r\n" in own
    assert b"Basic" not in own


# -- gRPC --------------------------------------------------------------------------------------------


@given(st.lists(st.binary(min_size=1, max_size=60), max_size=6))
def test_junk_ends_a_call_with_a_grpc_error(pieces: list[bytes]) -> None:
    call = HealthCall("h:1", "web", secure=False, timeout_s=1.0)
    call.start()
    with pytest.raises((GrpcError, NoMessageError)):
        receive_all(call, [*pieces, b""])


def receive_all(call: HealthCall, pieces: list[bytes]) -> None:
    for piece in pieces:
        call.receive(piece)
