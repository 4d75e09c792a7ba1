"""Sockets of the DNS service: one UDP and one TCP socket per configured address."""

from __future__ import annotations

import contextlib
import errno
import socket
from typing import Any, Final

import trio

from services.dns_frontend.lane import Lane
from shared.config.runtime import split_host_port
from shared.log import get_logger
from shared.service import StartError

_log = get_logger("agent.dns")

_UDP_BUFFER_BYTES: Final = 4 << 20
_TCP_IDLE_S: Final = 8.0
_TCP_MAX_CLIENTS: Final = 1024
_TCP_MAX_QUERIES: Final = 128


def bind(address: str, kind: socket.SocketKind) -> socket.socket:
    """A bound socket, listening if it is TCP. Raises StartError that names the address and what to change."""
    host, port = split_host_port(address)
    network = "udp" if kind == socket.SOCK_DGRAM else "tcp"
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)
    try:
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _UDP_BUFFER_BYTES)
        if ":" in host:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
        if kind == socket.SOCK_STREAM:
            sock.listen(1024)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        advice = {
            errno.EADDRINUSE: "another program has this port: stop it, or choose another with -dns-port",
            errno.EADDRNOTAVAIL: "this host has no such address: change -client or addresses.dns",
            errno.EACCES: "ports below 1024 need CAP_NET_BIND_SERVICE: choose another with -dns-port",
        }.get(error.errno or 0, "change -client, -dns-port or addresses.dns")
        reason = (error.strerror or str(error)).lower()
        raise StartError(f"listen {network} {address}: bind: {reason} ({advice})") from None
    return sock


async def serve_tcp(lane: Lane, listener: socket.socket) -> None:
    """Accepts TCP clients until cancelled; beyond the limit new ones are closed at once."""
    clients = 0

    async def serve(sock: socket.socket, client: Any) -> None:
        nonlocal clients
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        try:
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await lane.serve_tcp(stream, client, _TCP_IDLE_S, _TCP_MAX_QUERIES)
        finally:
            clients -= 1
            with trio.move_on_after(1) as scope:
                scope.shield = True
                await stream.aclose()

    async with trio.open_nursery() as nursery:
        while True:
            await trio.lowlevel.wait_readable(listener)
            try:
                sock, client = listener.accept()
            except BlockingIOError:
                continue
            except OSError as error:
                # Out of descriptors: waiting a little is all that helps.
                _log.warn("cannot accept a TCP client", error=error.strerror)
                await trio.sleep(0.1)
                continue
            if clients >= _TCP_MAX_CLIENTS:
                sock.close()
                continue
            clients += 1
            sock.setblocking(False)
            nursery.start_soon(serve, sock, client)
