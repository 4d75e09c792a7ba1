"""dial: a TCP connection as Go opens one: addresses one after the other, and its words when that fails."""

from __future__ import annotations

import os
import socket

import trio

from services.rpc_core.local.checks.address import AddressError, split_host_port

_SHARE_S_MIN = 2.0
"""Time for one of several addresses, if that much is left."""
_RESOLV_CONF = "/etc/resolv.conf"


class DialError(Exception):
    """No connection. The text is the one that users of Consul see."""


def os_reason(error: OSError) -> str:
    """The system's reason as Go writes it."""
    return os.strerror(error.errno).lower() if error.errno else str(error)


async def dial_tcp(address: str, timeout_s: float) -> trio.SocketStream:
    """Connects to "host:port", both names or numbers. Raises DialError, after `timeout_s` at the latest."""
    deadline = trio.current_time() + timeout_s
    try:
        host, service = split_host_port(address)
        port = _port(service)
    except AddressError as error:
        raise DialError(f"dial tcp: {error}") from None
    targets: list[_Target] = []
    with trio.move_on_at(deadline) as resolving:
        targets = await _resolve(host, port)
    if resolving.cancelled_caught:
        raise DialError(f"dial tcp: lookup {host}: i/o timeout")
    return await _connect_any(targets, deadline, host)


async def dial_unix(path: str, timeout_s: float) -> trio.SocketStream:
    """Connects to a Unix socket. Raises DialError."""
    sock = trio.socket.socket(socket.AF_UNIX)
    try:
        with trio.fail_after(timeout_s):
            await sock.connect(path)
        return trio.SocketStream(sock)
    except (OSError, trio.TooSlowError) as error:
        sock.close()
        reason = f"connect: {os_reason(error)}" if isinstance(error, OSError) else "i/o timeout"
        raise DialError(f"dial unix {path}: {reason}") from None
    except BaseException:
        sock.close()
        raise


_Target = tuple[int, tuple[str, int]]  # family, socket address


def _port(service: str) -> int:
    digits = service.lstrip("+-") if service[:1] in ("+", "-") else service
    if not service:
        return 0
    if digits.isascii() and digits.isdigit():
        port = -1 if len(digits) > 9 else int(service)
        if not 0 <= port <= 65535:
            raise AddressError(f"address {service}: invalid port")
        return port
    try:
        return socket.getservbyname(service.lower(), "tcp")
    except (OSError, ValueError):
        raise AddressError(f"address tcp/{service}: unknown port") from None


async def _resolve(host: str, port: int) -> list[_Target]:
    """Raises DialError."""
    if not host:  # nobody's address is our own
        return [(socket.AF_INET, ("127.0.0.1", port))]
    try:
        found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        numeric = host.replace(".", "").isdigit() or ":" in host
        server = "" if numeric else _name_server()
        code = error.errno if isinstance(error, socket.gaierror) else None
        reason = "server misbehaving" if code == socket.EAI_AGAIN else "no such host"
        raise DialError(f"dial tcp: lookup {host}{server}: {reason}") from None
    targets: list[_Target] = []
    for family, _, _, _, where in found:
        if family in (socket.AF_INET, socket.AF_INET6):
            targets.append((family, where))  # type: ignore[arg-type]  # with scope and flow of IPv6
    return targets


def _name_server() -> str:
    """The server that was asked, as errors name it: " on 10.0.0.1:53"."""
    try:
        with open(_RESOLV_CONF, encoding="utf-8", errors="replace") as file:
            for line in file:
                words = line.split()
                if len(words) > 1 and words[0] == "nameserver":
                    server = f"[{words[1]}]" if ":" in words[1] else words[1]
                    return f" on {server}:53"
    except OSError:
        pass
    return " on 127.0.0.1:53"


async def _connect_any(targets: list[_Target], deadline: float, host: str) -> trio.SocketStream:
    """Tries all addresses; the failure of the first one is what is told."""
    first_error: DialError | None = None
    for position, (family, where) in enumerate(targets):
        left_s = deadline - trio.current_time()
        share_s = max(left_s / (len(targets) - position), min(left_s, _SHARE_S_MIN))
        ip = f"[{where[0]}]" if family == socket.AF_INET6 else where[0]
        shown = f"dial tcp {ip if host else ''}:{where[1]}"
        sock = trio.socket.socket(family, socket.SOCK_STREAM)
        try:
            with trio.move_on_after(share_s):
                await sock.connect(where)
                return trio.SocketStream(sock)
            error = DialError(f"{shown}: i/o timeout")
        except OSError as os_error:
            error = DialError(f"{shown}: connect: {os_reason(os_error)}")
        except BaseException:
            sock.close()
            raise
        sock.close()
        first_error = first_error or error
    raise first_error or DialError(f"dial tcp: lookup {host}: no such host")
