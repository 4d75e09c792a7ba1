"""The HTTP client against a scripted server: what goes over the wire, and what is said when it goes wrong."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.base.client import Client
from cli.base.errors import ApiError
from cli.base.http import Settings

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue"


class CutOff(bytes):
    """An answer after which the connection is closed."""


class ScriptedServer:
    """Answers each request with the next of `answers`; None closes the connection instead."""

    def __init__(self, answers: list[bytes | None], listener: socket.socket) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self._answers = list(answers)
        self._listener = listener
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while self._answers:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with connection:
                connection.settimeout(10)
                while self._answers and (request := _read_request(connection)):
                    self.requests.append(request)
                    answer = self._answers.pop(0)
                    if answer is None:
                        break
                    connection.sendall(answer)
                    if isinstance(answer, CutOff):
                        break


def _read_request(connection: socket.socket) -> bytes:
    data = b""
    with contextlib.suppress(OSError):
        while b"\r\n\r\n" not in data:
            if not (chunk := connection.recv(65536)):
                return b""
            data += chunk
        head, _, body = data.partition(b"\r\n\r\n")
        chunked = b"Transfer-Encoding: chunked" in head
        length = next((int(line[16:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length: ")), 0)
        while (not body.endswith(b"0\r\n\r\n")) if chunked else len(body) < length:
            body += connection.recv(65536)
        return head + b"\r\n\r\n" + body
    return b""


@contextlib.contextmanager
def serving(*answers: bytes | None) -> Iterator[tuple[ScriptedServer, Client]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings = Settings()
        settings.host = f"127.0.0.1:{listener.getsockname()[1]}"
        settings.resolve()
        yield ScriptedServer(list(answers), listener), Client(settings)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("ADDR", "TOKEN", "TOKEN_FILE", "AUTH", "SSL", "SSL_VERIFY"):
        monkeypatch.delenv(f"CONSUL_HTTP_{variable}", raising=False)


def test_requests_share_a_connection_and_parameters_are_sorted() -> None:
    with serving(OK, OK) as (server, client):
        assert client.put("/v1/kv/a b/ü!", {"cas": "1", "acquire": "x&y z"}, b"data") == b"true"
        assert client.get("/v1/x") is True
    assert server.requests[0].startswith(
        b"PUT /v1/kv/a%20b/%C3%BC%21?acquire=x%26y+z&cas=1 HTTP/1.1\r\nHost: 127.0.0.1"
    )
    assert b"\r\nContent-Length: 4\r\n" in server.requests[0]
    assert server.requests[0].endswith(b"\r\n\r\ndata")
    assert server.connections == 1


def test_a_kept_connection_that_was_closed_is_opened_again() -> None:
    with serving(OK, None, OK) as (server, client):
        client.get("/a")
        assert client.get("/b") is True
    assert [request.split(b" ")[1] for request in server.requests] == [b"/a", b"/b", b"/b"]


def test_a_body_may_last_until_the_connection_ends() -> None:
    with serving(CutOff(b"HTTP/1.0 200 OK\r\n\r\n[1]")) as (_, client):
        assert client.get("/a") == [1]


def test_status_and_text_of_a_refusal_are_shown() -> None:
    refusal = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 18\r\n\r\nNo cluster leader\n"
    with serving(refusal) as (_, client), pytest.raises(ApiError) as caught:
        client.put("/v1/kv/a")
    assert str(caught.value) == "Unexpected response code: 500 (No cluster leader\n)"


def test_not_found_is_none_where_that_is_an_answer() -> None:
    with serving(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n") as (_, client):
        assert client.get_or_none("/v1/kv/none") is None


def test_chunks_and_lines_are_put_together() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with serving(head + b"3\r\none\r\n6\r\n\ntwo\nt\r\n4\r\nhree\r\n0\r\n\r\n") as (_, client):
        assert list(client.stream_lines("/v1/agent/monitor")) == [b"one", b"two", b"three"]


def test_a_redirect_turns_a_write_into_a_read() -> None:
    moved = b"HTTP/1.1 301 Moved Permanently\r\nLocation: /v1/kv/a/b\r\nContent-Length: 0\r\n\r\n"
    with serving(moved, OK) as (server, client):
        client.put("/v1/kv/a//b", body=b"x")
    assert [request.split(b" HTTP")[0] for request in server.requests] == [b"PUT /v1/kv/a//b", b"GET /v1/kv/a/b"]


def test_redirects_end() -> None:
    moved = b"HTTP/1.1 301 Moved Permanently\r\nLocation: /a\r\nContent-Length: 0\r\n\r\n"
    with serving(*[moved] * 10) as (_, client), pytest.raises(ApiError, match="stopped after 10 redirects"):
        client.get("/a")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, r'Get "http://[0-9.:]+/x": EOF'),
        (b"SSH-2.0-x\r\n", r'Get ".*": .*malformed HTTP response "SSH-2\.0-x"'),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n<p", "invalid character '<' looking for beginning of value"),
    ],
)
def test_what_is_no_proper_answer_is_explained(answer: bytes | None, message: str) -> None:
    with serving(answer) as (_, client), pytest.raises(ApiError, match=message):
        client.get("/x")


def test_a_body_that_is_cut_off_is_an_unexpected_eof() -> None:
    cut = CutOff(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n[1,")
    with serving(cut) as (_, client), pytest.raises(ApiError, match=r"^unexpected EOF$"):
        client.get("/x")


def test_unix_sockets(tmp_path: Path) -> None:
    path = str(tmp_path / "http.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        settings = Settings()
        settings.host = f"unix://{path}"
        settings.resolve()
        server = ScriptedServer([OK], listener)
        assert Client(settings).get("/v1/x") is True
    assert b"\r\nHost: \r\n" in server.requests[0]


def test_token_and_basic_authentication_are_sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(" from-file\n")
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", "from-environment")
    monkeypatch.setenv("CONSUL_HTTP_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("CONSUL_HTTP_AUTH", "user:pass:word")
    with serving(OK) as (server, client):
        client.get("/x")
    assert b"\r\nX-Consul-Token: from-file\r\n" in server.requests[0]
    assert b"\r\nAuthorization: Basic dXNlcjpwYXNzOndvcmQ=\r\n" in server.requests[0]


def test_a_body_without_known_length_is_sent_in_chunks() -> None:
    with serving(OK) as (server, client):
        client.require_ok("PUT", "/v1/snapshot", body=iter([b"abc", b"", b"defg"])).read()
    assert server.requests[0].endswith(b"\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n")


@pytest.mark.parametrize("address", ["1:8500", "127.1:8500", "2130706433:8500", "0x7f.1:8500", "0:8500"])
def test_numbers_that_only_c_takes_for_addresses_reach_nobody(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """ "1" is 0.0.0.1 to a C library: a mistyped address must not carry a token to some other machine."""

    def contacted(*arguments: object, **options: object) -> None:
        raise AssertionError(f"contacted the network: {arguments}")

    settings = Settings()
    settings.host = address
    settings.resolve()
    client = Client(settings)
    monkeypatch.setattr(socket, "getaddrinfo", contacted)
    monkeypatch.setattr(socket, "socket", contacted)
    with pytest.raises(ApiError, match=rf"dial tcp: lookup {address.partition(':')[0]}: no such host"):
        client.get("/v1/status/leader")
