"""What checks look at in tests: a web server, a gRPC server and a Docker daemon that answer as told, on loopback.

    with http_target("127.0.0.1", {"/ok": b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok"}) as target: ...

Each runs in threads of the test's process and keeps what it was asked in `requests`. Replies are raw bytes, so that
they may be as wrong as a test wants them."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import h2.exceptions

Talk = Callable[[socket.socket, bytes], None]
"""What to do with a connection after its request head has been read."""


@dataclass
class Target:
    """A listening socket and what came in."""

    listener: socket.socket
    requests: list[bytes] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])


@contextlib.contextmanager
def serving(listener: socket.socket, talk: Callable[[Target, socket.socket], None]) -> Iterator[Target]:
    """Accepts until the block ends, one thread per connection; all connections are closed at the end."""
    target = Target(listener)
    connections: list[socket.socket] = []

    def one(connection: socket.socket) -> None:
        with contextlib.suppress(OSError, ssl.SSLError, h2.exceptions.ProtocolError), connection:
            talk(target, connection)

    def accept() -> None:
        while not target.stopping.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connections.append(connection)
            threading.Thread(target=one, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield target
    finally:
        target.stopping.set()
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()


def tcp_listener(address: str) -> socket.socket:
    return socket.create_server((address, 0), backlog=64)


def read_head(connection: socket.socket) -> bytes:
    """A request with its body, b"" if the client said nothing."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return data
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name == b"content-length":
            while len(body) < int(value):
                body += _more(connection)
        elif name == b"transfer-encoding":
            while not body.endswith(b"0\r\n\r\n"):
                body += _more(connection)
    return head + b"\r\n\r\n" + body


def _more(connection: socket.socket) -> bytes:
    """What comes next. Raises ConnectionError if the client has gone instead."""
    data = connection.recv(65536)
    if not data:
        raise ConnectionError("the client has gone in the middle of a body")
    return data


@contextlib.contextmanager
def http_target(address: str, replies: dict[str, bytes | Talk], tls: ssl.SSLContext | None = None) -> Iterator[Target]:
    """Replies by path (the query included); unknown paths get 404."""

    def talk(target: Target, connection: socket.socket) -> None:
        if tls is not None:
            connection = tls.wrap_socket(connection, server_side=True)
        request = read_head(connection)
        if not request:
            return
        target.requests.append(request)
        path = request.split(b" ", 2)[1].decode("latin-1")
        reply = replies.get(path, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        if callable(reply):
            reply(connection, request)
        else:
            connection.sendall(reply)
            if isinstance(connection, ssl.SSLSocket):
                connection.unwrap()
                return
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):  # a reset would take what was sent with it
                pass

    with serving(tcp_listener(address), talk) as target:
        yield target


@dataclass
class GrpcReply:
    """What the health service answers: `headers`, then `data`, then `trailers` (None: the stream ends before)."""

    headers: list[tuple[str, str]] = field(
        default_factory=lambda: [(":status", "200"), ("content-type", "application/grpc")]
    )
    data: bytes = b""
    trailers: list[tuple[str, str]] | None = field(default_factory=lambda: [("grpc-status", "0")])


def health_message(status: int) -> bytes:
    """A HealthCheckResponse in gRPC's framing."""
    message = bytes([0x08, status]) if status else b""
    return struct.pack(">BI", 0, len(message)) + message


@contextlib.contextmanager
def grpc_target(
    address: str, replies: dict[str, GrpcReply | None], tls: ssl.SSLContext | None = None
) -> Iterator[Target]:
    """Replies by service name; None never answers. `requests` holds b"path service" of each call."""

    def talk(target: Target, connection: socket.socket) -> None:
        if tls is not None:
            connection = tls.wrap_socket(connection, server_side=True)
        server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        server.initiate_connection()
        connection.sendall(server.data_to_send())
        paths: dict[int, str] = {}
        bodies: dict[int, bytes] = {}
        while data := connection.recv(65536):
            for event in server.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    paths[event.stream_id] = dict(event.headers)[":path"]  # type: ignore[index]
                elif isinstance(event, h2.events.DataReceived):
                    bodies[event.stream_id] = bodies.get(event.stream_id, b"") + event.data
                elif isinstance(event, h2.events.StreamEnded):
                    body = bodies.get(event.stream_id, b"")[5:]
                    service = body[2:].decode() if body else ""
                    target.requests.append(f"{paths[event.stream_id]} {service}".encode())
                    _answer_call(server, event.stream_id, replies.get(service, _UNKNOWN_SERVICE))
            connection.sendall(server.data_to_send())

    with serving(tcp_listener(address), talk) as target:
        yield target


_UNKNOWN_SERVICE = GrpcReply(
    [(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "5"),
     ("grpc-message", "unknown service")],
    trailers=None,
)  # fmt: skip


def _answer_call(server: h2.connection.H2Connection, stream: int, reply: GrpcReply | None) -> None:
    if reply is None:
        return
    server.send_headers(stream, reply.headers, end_stream=not reply.data and reply.trailers is None)
    if reply.data:
        server.send_data(stream, reply.data, end_stream=reply.trailers is None)
    if reply.trailers is not None:
        server.send_headers(stream, reply.trailers, end_stream=True)


@dataclass
class Container:
    """What an exec in a container gives: exit code and output; or the HTTP status that refuses it."""

    exit_code: int = 0
    output: bytes = b""
    create: int = 201
    start: int = 200
    inspect: int = 200


@contextlib.contextmanager
def docker_daemon(path: Path, containers: dict[str, Container]) -> Iterator[Target]:
    """The three calls of Docker's API that exec consists of, on a Unix socket."""
    started: dict[str, Container] = {}

    def reply(connection: socket.socket, status: int, body: bytes, kind: str = "application/json") -> None:
        reason = {200: "OK", 201: "Created", 404: "Not Found", 409: "Conflict"}.get(status, "Internal Server Error")
        head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)

    def talk(target: Target, connection: socket.socket) -> None:
        while request := read_head(connection):
            target.requests.append(request)
            head, _, _body = request.partition(b"\r\n\r\n")
            _, path, _ = head.decode().split("\r\n")[0].split(" ")
            parts = path.strip("/").split("/")
            if parts[0] == "containers":
                container = containers.get(parts[1])
                if container is None:
                    reply(connection, 404, b'{"message":"No such container: %s"}' % parts[1].encode())
                elif container.create != 201:
                    reply(connection, container.create, b'{"message":"cannot do that"}\n')
                else:
                    exec_id = f"{parts[1]}-{len(started)}"
                    started[exec_id] = container
                    reply(connection, 201, json.dumps({"Id": exec_id}).encode())
                continue
            container = started.get(parts[1])
            if container is None:
                reply(connection, 404, b'{"message":"No such exec instance"}')
            elif parts[2] == "start":
                good = container.start == 200
                output = container.output if good else b'{"message":"not now"}\n'
                reply(connection, container.start, output, "application/vnd.docker.raw-stream")
            elif container.inspect == 200:
                reply(connection, 200, json.dumps({"ExitCode": container.exit_code, "Running": False}).encode())
            else:
                reply(connection, container.inspect, b'{"message":"inspect broke"}\n')

    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.fspath(path))
    listener.listen(64)
    with serving(listener, talk) as target:
        yield target
