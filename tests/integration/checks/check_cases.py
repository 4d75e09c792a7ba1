"""Checks of every kind with what they look at, good and bad: the same cases for our runners and the real agent."""

from __future__ import annotations

import contextlib
import datetime
import gzip
import ipaddress
import select
import socket
import ssl
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.agents import PATIENCE_S
from tests.check_targets import (
    Container,
    GrpcReply,
    Talk,
    Target,
    docker_daemon,
    grpc_target,
    health_message,
    http_target,
    serving,
    tcp_listener,
)

Definition = dict[str, Any]
NO_SUCH_HOST = "no-such-host.invalid"


def reply(status: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


def _silent(connection: socket.socket, request: bytes) -> None:
    while connection.recv(65536):
        pass


def _closed(connection: socket.socket, request: bytes) -> None:
    connection.close()


def _reset(connection: socket.socket, request: bytes) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def _begun(connection: socket.socket, request: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun")
    _silent(connection, request)


_HELLO = reply("200 OK", b"hello\n")
_INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
REPLIES: dict[str, bytes | Talk] = {
    "/": reply("200 OK", b"root"),
    "/?a=b": reply("200 OK", b"root with query"),
    "/ok": _HELLO,
    "/ok?a=b": reply("200 OK", b"with query"),
    "/a%20b": reply("200 OK", b"with space"),
    "/204": reply("204 No Content"),
    "/199": reply("299 Odd", b"still good"),
    "/300": reply("300 Multiple Choices", b"choose"),
    "/404": reply("404 Not Found", b"nothing here"),
    "/429": reply("429 Too Many Requests", b"slow down"),
    "/500": reply("500 Own Words", b"broken"),
    "/no-reason": b"HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx",
    "/empty-reason": b"HTTP/1.1 200 \r\nContent-Length: 1\r\n\r\nx",
    "/odd-reason": reply("200 Very  Fine ", b"x"),
    "/bare-lf": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nhi",
    "/big": reply("200 OK", b"0123456789" * 1000),
    "/utf-8": reply("200 OK", "gr\u00fcn \u2603".encode()),
    "/no-utf-8": reply("200 OK", b"\xff\xfe\x00a"),
    "/chunked": _CHUNKED + b"3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nX: y\r\n\r\n",
    "/chunk-size-junk": _CHUNKED + b"3\r\nabc\r\nzz\r\n",
    "/chunk-end-junk": _CHUNKED + b"3\r\nabcdef",
    "/chunk-ends-early": _CHUNKED + b"9\r\nabc",
    "/body-ends-early": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc",
    "/until-close": b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
    "/http-1.0-chunked": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "/words": b"hello world\r\n\r\n",
    "/one-word": b"hello\r\n\r\n",
    "/status-letters": b"HTTP/1.1 abc OK\r\n\r\n",
    "/status-short": b"HTTP/1.1 20 OK\r\n\r\n",
    "/version-high": b"HTTP/9.9 200 OK\r\n\r\n",
    "/version-junk": b"FOO/1.1 200 OK\r\n\r\n",
    "/header-no-colon": b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
    "/header-first-folded": b"HTTP/1.1 200 OK\r\n folded\r\n\r\n",
    "/header-folded": b"HTTP/1.1 200 OK\r\nContent-Length:\r\n 2\r\n\r\nhi",
    "/header-space": b"HTTP/1.1 200 OK\r\nFoo : bar\r\nContent-Length: 0\r\n\r\n",
    "/length-negative": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
    "/length-twice": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
    "/length-two": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "/coding-unknown": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
    "/coding-two": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\nabc",
    "/head-too-large": b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: %s\r\n" % (i, b"y" * 9000) for i in range(1200)),
    "/head-ends-early": b"HTTP/1.1 200 OK\r\nFoo: b",
    "/closed": _closed,
    "/reset": _reset,
    "/silent": _silent,
    "/begun": _begun,
    "/100": b"HTTP/1.1 100 Continue\r\n\r\n" + _HELLO,
    "/101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
    "/interim-5": _INTERIM * 5 + _HELLO,
    "/interim-6": _INTERIM * 6 + _HELLO,
    "/gzip": reply("200 OK", gzip.compress(b"plain text", mtime=0), "Content-Encoding: gzip"),
    "/gzip-no-gzip": reply("200 OK", b"plain text", "Content-Encoding: gzip"),
    "/301": reply("301 Moved Permanently", b"", "Location: /ok"),
    "/302-relative": reply("302 Found", b"x", "Location: ok?a=b"),
    "/303": reply("303 See Other", b"", "Location: /ok"),
    "/307": reply("307 Temporary Redirect", b"", "Location: /ok"),
    "/308": reply("308 Permanent Redirect", b"", "Location: /ok"),
    "/302-loop": reply("302 Found", b"", "Location: /302-loop"),
    "/302-nowhere": reply("302 Found", b"x"),
    "/308-nowhere": reply("308 Permanent Redirect", b"x"),
    "/302-no-url": reply("302 Found", b"x", "Location: http://[::1"),
    "/302-ftp": reply("302 Found", b"x", "Location: ftp://127.0.0.1/x"),
    "/304": reply("304 Not Modified"),
}

_GRPC = [(":status", "200"), ("content-type", "application/grpc")]
_SERVING = health_message(1)
SERVICES: dict[str, GrpcReply | None] = {
    "": GrpcReply(data=_SERVING),
    "up": GrpcReply(data=_SERVING),
    "down": GrpcReply(data=health_message(2)),
    "unknown": GrpcReply(data=health_message(3)),
    "zero": GrpcReply(data=health_message(0)),
    "silent": None,
    "no-status": GrpcReply(data=_SERVING, trailers=[("foo", "bar")]),
    "failed": GrpcReply(trailers=[("grpc-status", "13"), ("grpc-message", "a%20b%E2%98%83")]),
    "failed-with-data": GrpcReply(data=_SERVING, trailers=[("grpc-status", "7"), ("grpc-message", "no")]),
    "code-99": GrpcReply(trailers=[("grpc-status", "99"), ("grpc-message", "x")]),
    "http-404": GrpcReply([(":status", "404"), ("content-type", "text/plain")], b"nope", None),
    "http-503": GrpcReply([(":status", "503")], b"", None),
    "http-418": GrpcReply([(":status", "418")], b"", None),
    "content-type": GrpcReply([(":status", "200"), ("content-type", "text/html")], b"", None),
    "content-subtype": GrpcReply([(":status", "200"), ("content-type", "application/grpc+proto")], _SERVING),
    "no-data": GrpcReply(),
    "no-message": GrpcReply(data=b"\0\0\0\0\x03\xff\xff\xff"),
    "short": GrpcReply(data=b"\0\0\0\0\x05\x08"),
    "compressed": GrpcReply(data=b"\x01\0\0\0\x02\x08\x01"),
    "huge": GrpcReply(data=b"\0\x7f\xff\xff\xff"),
    "no-trailers": GrpcReply(data=_SERVING, trailers=None),
    "status-junk": GrpcReply(trailers=[("grpc-status", "abc")]),
    "two-messages": GrpcReply(data=_SERVING * 2),
}

CONTAINERS = {
    "web": Container(0, b"all well"),
    "warn": Container(1, b"hm"),
    "crit": Container(2, b"no"),
    "big": Container(0, b"0123456789" * 1000),
    "negative": Container(-1),
    "paused": Container(create=409),
    "create-500": Container(create=500),
    "start-409": Container(start=409),
    "start-500": Container(start=500),
    "inspect-500": Container(inspect=500),
}

SHELL = "/bin/sh"
SCRIPTS: dict[str, Definition] = {
    "ok": {"ScriptArgs": ["/bin/echo", "hi"]},
    "warning": {"ScriptArgs": [SHELL, "-c", "echo out; echo err >&2; exit 1"]},
    "critical": {"ScriptArgs": [SHELL, "-c", "exit 2"]},
    "killed": {"ScriptArgs": [SHELL, "-c", "kill -9 $$"]},
    "big": {"ScriptArgs": [SHELL, "-c", "seq 1 3000"]},
    "limit": {"ScriptArgs": ["/bin/echo", "0123456789"], "OutputMaxSize": 4},
    "limit-exact": {"ScriptArgs": ["/bin/echo", "012"], "OutputMaxSize": 4},
    "no-utf-8": {"ScriptArgs": [SHELL, "-c", "printf '\\377\\376'"]},
    "not-there": {"ScriptArgs": ["/no/such"]},
    "not-on-path": {"ScriptArgs": ["no-such-program"]},
    "relative": {"ScriptArgs": ["./no-such"]},
    "directory": {"ScriptArgs": ["/tmp"]},
    "not-executable": {"ScriptArgs": ["/etc/passwd"]},
    "empty": {"ScriptArgs": [""]},
    "zero-byte": {"ScriptArgs": ["/bin/echo", "a\0b"]},
    "timeout": {"ScriptArgs": [SHELL, "-c", "echo begun; sleep 60"], "Timeout": "3s"},
    "timeout-quiet": {"ScriptArgs": [SHELL, "-c", "sleep 60"], "Timeout": "1500ms"},
    "background": {"ScriptArgs": [SHELL, "-c", "sleep 60 & echo parent done"], "Timeout": "3s"},
    "no-input": {"ScriptArgs": ["/bin/cat"]},
    "on-path": {"ScriptArgs": ["printf", "%s", "\u2603"]},
}


@dataclass
class Cases:
    """What to register, and where the targets are."""

    definitions: dict[str, Definition] = field(default_factory=dict)
    web: Target | None = None
    grpc: Target | None = None
    docker: Target | None = None
    masks: list[tuple[str, str]] = field(default_factory=list)

    def mask(self, text: str) -> str:
        for found, shown in self.masks:
            text = text.replace(found, shown)
        return text


def server_context(directory: Path, names: list[str], addresses: list[str], protocol: str) -> ssl.SSLContext:
    """A certificate that nobody signed but itself, for a server."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "target")])
    alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
    alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = directory / "target.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    context.set_alpn_protocols([protocol])
    return context


def _full_listener(address: str) -> tuple[socket.socket, list[socket.socket]]:
    """A listener whose queue is full: the next connection is never answered."""
    listener = socket.socket()
    listener.bind((address, 0))
    listener.listen(0)
    waiting = []
    for _ in range(4):
        client = socket.socket()
        client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            client.connect(listener.getsockname())
        waiting.append(client)
    assert select.select([], waiting, [], PATIENCE_S)[1], "the one that fits into the queue is connected"
    return listener, waiting


@contextlib.contextmanager
def targets(address: str, directory: Path) -> Iterator[Cases]:
    """Everything that the cases look at, and the cases."""
    cases = Cases()
    with contextlib.ExitStack() as stack:
        web = cases.web = stack.enter_context(http_target(address, REPLIES))
        grpc = cases.grpc = stack.enter_context(grpc_target(address, SERVICES))
        cases.docker = stack.enter_context(docker_daemon(directory / "docker.sock", CONTAINERS))
        # The real agent would take HTTP/2 if it could have it; ours speaks HTTP/1.1 with every web server.
        web_tls, grpc_tls = (server_context(directory, [], [address], name) for name in ("http/1.1", "h2"))
        secure_web = stack.enter_context(http_target(address, REPLIES, web_tls))
        secure_grpc = stack.enter_context(grpc_target(address, SERVICES, grpc_tls))

        def refuse(target: Target, connection: socket.socket) -> None:
            connection.recv(1)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass

        plain = stack.enter_context(serving(tcp_listener(address), refuse))
        full, waiting = _full_listener(address)
        for sock in (full, *waiting):
            stack.enter_context(sock)
        closed = tcp_listener(address)
        closed_port = closed.getsockname()[1]
        closed.close()
        places = {
            "WEB": web.port, "GRPC": grpc.port, "SECURE-WEB": secure_web.port, "SECURE-GRPC": secure_grpc.port,
            "PLAIN": plain.port, "FULL": full.getsockname()[1], "CLOSED": closed_port,
        }  # fmt: skip
        cases.masks = [(f"{address}:{port}", name) for name, port in places.items()]
        cases.masks += [(str(closed_port), "CLOSED-PORT"), (address, "ADDRESS")]
        at = {name: f"{address}:{port}" for name, port in places.items()}
        for kind, definitions in (
            ("http", _http(at, closed_port)),
            ("tcp", _tcp(at, address, closed_port)),
            ("grpc", _grpc(at)),
            ("script", SCRIPTS),
            ("docker", _docker()),
        ):
            for name, definition in definitions.items():
                cases.definitions[f"{kind} {name}"] = {"Interval": "1s", **definition}
        yield cases


def _http(at: dict[str, str], closed_port: int) -> dict[str, Definition]:
    url = f"http://{at['WEB']}"
    cases: dict[str, Definition] = {path: {"HTTP": url + path} for path in REPLIES}
    # Requests have to arrive in time, and the head of one that begins, also on a busy machine.
    cases["/silent"]["Timeout"] = cases["/begun"]["Timeout"] = "3s"
    bad_urls = {
        "no scheme": "localhost/x", "scheme is host": "localhost:80/x", "colon first": "127.0.0.1:80/x",
        "ftp": "ftp://127.0.0.1/x", "open bracket": "http://[::1/x", "port letters": "http://127.0.0.1:abc/",
        "port too high": "http://127.0.0.1:99999/", "bad escape": "http://127.0.0.1/%zz",
        "control": "http://127.0.0.1/\x01", "no host": "http:///x", "nothing after scheme": "http:",
        "host with space": "http://a b/", "host with escape": "http://a%41/", "userinfo junk": "http://a b@c/",
        "colon only": ":", "empty port": f"http://127.0.0.1:{closed_port}:/", "blank": " ",
        "unknown host": f"http://{NO_SUCH_HOST}/", "refused": f"http://{at['CLOSED']}/x",
        "refused with password": f"http://u:p@{at['CLOSED']}/x", "refused with user": f"http://u@{at['CLOSED']}/a b",
        "refused with query": f"http://{at['CLOSED']}/x?y=%20z#f",
    }  # fmt: skip
    cases |= {name: {"HTTP": bad} for name, bad in bad_urls.items()}
    ok = f"{url}/ok"
    cases |= {
        "never connected": {"HTTP": f"http://{at['FULL']}/", "Timeout": "700ms"},
        "space in path": {"HTTP": f"{url}/a b"},
        "no path": {"HTTP": url},
        "no path but query": {"HTTP": f"{url}?a=b"},
        "fragment": {"HTTP": f"{ok}#part"},
        "user": {"HTTP": f"http://u:p%40@{at['WEB']}/ok"},
        "lower case method": {"HTTP": f"{url}/ok?a=b", "Method": "get"},
        "bad method": {"HTTP": ok, "Method": "A B"},
        "head": {"HTTP": f"{url}/big", "Method": "HEAD"},
        "delete": {"HTTP": ok, "Method": "DELETE"},
        "get with body": {"HTTP": ok, "Body": "hello"},
        "post": {"HTTP": ok, "Method": "POST", "Body": "hello \u2603"},
        "post without body": {"HTTP": ok, "Method": "POST"},
        "headers": {
            "HTTP": ok,
            "Header": {"X-b": ["1", " 2 "], "X-A": ["z"], "Host": ["example.org"], "content-type": ["text/x"]},
        },
        "own user agent": {"HTTP": ok, "Header": {"User-Agent": ["me"], "Accept": ["x/y"]}},
        "own encoding": {"HTTP": f"{url}/gzip-no-gzip", "Header": {"Accept-Encoding": ["gzip"]}},
        "header name bad": {"HTTP": ok, "Header": {"X Y": ["1"]}},
        "header value bad": {"HTTP": ok, "Header": {"X": ["a\nb"]}},
        "post 301": {"HTTP": f"{url}/301", "Method": "POST", "Body": "hello"},
        "put 307": {"HTTP": f"{url}/307", "Method": "PUT", "Body": "hello"},
        "head 302": {"HTTP": f"{url}/302-relative", "Method": "HEAD"},
        "small limit": {"HTTP": f"{url}/big", "OutputMaxSize": 10},
        "tls unknown authority": {"HTTP": f"https://{at['SECURE-WEB']}/ok"},
        "tls unchecked": {"HTTP": f"https://{at['SECURE-WEB']}/ok", "TLSSkipVerify": True},
        "tls to plain": {"HTTP": f"https://{at['PLAIN']}/ok", "TLSSkipVerify": True},
    }
    return cases


def _tcp(at: dict[str, str], address: str, closed_port: int) -> dict[str, Definition]:
    found = {
        "ok": at["WEB"], "refused": at["CLOSED"], "no port": address, "unknown host": f"{NO_SUCH_HOST}:80",
        "port letters": "127.0.0.1:abc", "port too high": "127.0.0.1:99999", "port negative": "127.0.0.1:-1",
        "service name": f"{address}:ssh", "localhost": f"localhost:{closed_port}", "no host": f":{closed_port}",
        "IPv6": f"[::1]:{closed_port}", "IPv6 bare": f"::1:{closed_port}", "bracket open": f"[::1:{closed_port}",
        "bracket alone": "[::1]", "bracket junk": "[::1]x:80", "bracket inside": "a[b:80", "bracket end": "a]b:80",
        "port empty": f"{address}:", "scheme": "tcp://127.0.0.1:80", "blank": " ",
    }  # fmt: skip
    cases: dict[str, Definition] = {name: {"TCP": where} for name, where in found.items()}
    cases["never connected"] = {"TCP": at["FULL"], "Timeout": "700ms"}
    return cases


def _grpc(at: dict[str, str]) -> dict[str, Definition]:
    cases: dict[str, Definition] = {
        name or "server": {"GRPC": at["GRPC"] + (f"/{name}" if name else "")} for name in SERVICES
    }
    cases["silent"]["Timeout"] = "3s"
    found = {
        "no such service": f"{at['GRPC']}/nobody", "slash": f"{at['GRPC']}/", "two slashes": f"{at['GRPC']}/a/b",
        "refused": at["CLOSED"], "unknown host": f"{NO_SUCH_HOST}:1",
        "port letters": "127.0.0.1:abc",
    }  # fmt: skip
    cases |= {name: {"GRPC": where} for name, where in found.items()}
    cases |= {
        "never connected": {"GRPC": at["FULL"], "Timeout": "700ms"},
        "tls unchecked": {"GRPC": f"{at['SECURE-GRPC']}/up", "GRPCUseTLS": True, "TLSSkipVerify": True},
        "tls unknown authority": {"GRPC": at["SECURE-GRPC"], "GRPCUseTLS": True},
        "tls to plain": {"GRPC": at["GRPC"], "GRPCUseTLS": True, "TLSSkipVerify": True},
    }
    return cases


def _docker() -> dict[str, Definition]:
    names = [*CONTAINERS, "a b", "missing"]
    return {name: {"DockerContainerID": name, "ScriptArgs": ["/check", "-v"]} for name in names}
