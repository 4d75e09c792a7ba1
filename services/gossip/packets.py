"""The UDP side of a pool: drains what has arrived in bounded batches, sends without waiting."""

import socket
import struct
from collections.abc import Callable

import trio

from services.gossip.codec import limits
from services.gossip.swim.address import Address
from shared import metrics
from shared.service import StartError

_BATCH = 64  # datagrams per turn of the loop, so that a flood starves nobody
_RECEIVE_BUFFER = 2 * 1024 * 1024  # asked of the kernel, which may grant less
_SO_RXQ_OVFL = 40  # Linux: tells with each packet how many were dropped so far
_ANCILLARY = socket.CMSG_SPACE(4)

OnPacket = Callable[[bytes, Address, float], None]


class PacketSocket:
    """One bound UDP socket."""

    def __init__(self, host: str, port: int) -> None:
        """Raises StartError naming the address."""
        self._family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._sock = socket.socket(self._family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._dropped = 0
        try:
            self._sock.bind((host, port))
        except OSError as error:
            self._sock.close()
            raise StartError(bind_error("UDP", host, port, error)) from None
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self._sock.setsockopt(socket.SOL_SOCKET, _SO_RXQ_OVFL, 1)

    async def serve(self, on_packet: OnPacket) -> None:
        """Hand every datagram to on_packet(data, source, arrival time) until cancelled.

        What comes faster than it is handled stays in the kernel's buffer, and beyond that is dropped and counted."""
        while True:
            await trio.lowlevel.wait_readable(self._sock)
            for _ in range(_BATCH):
                try:
                    data, ancillary, _, name = self._sock.recvmsg(limits.UDP_RECEIVE, _ANCILLARY)
                except BlockingIOError:
                    break
                except OSError:
                    metrics.incr("consul.memberlist.udp.receive_error")
                    break
                metrics.incr("consul.memberlist.udp.received", len(data))
                for _, kind, value in ancillary:
                    if kind == _SO_RXQ_OVFL:
                        self._count_drops(value)
                on_packet(data, self._address(name), trio.current_time())

    def send(self, to: Address, data: bytes) -> str | None:
        """Send or drop; an error text if the kernel refused."""
        family = socket.AF_INET if len(to.ip) == 4 else socket.AF_INET6
        host = socket.inet_ntop(family, to.ip)
        if family == socket.AF_INET and self._family == socket.AF_INET6:
            host = f"::ffff:{host}"
        try:
            self._sock.sendto(data, (host, to.port))
        except BlockingIOError:
            metrics.incr("consul.memberlist.udp.send_dropped")
        except OSError as error:
            return f"write udp -> {to}: {(error.strerror or str(error)).lower()}"
        else:
            metrics.incr("consul.memberlist.udp.sent", len(data))
        return None

    def close(self) -> None:
        self._sock.close()

    def _count_drops(self, value: bytes) -> None:
        (total,) = struct.unpack("=I", value[:4])
        if total != self._dropped:
            metrics.incr("consul.memberlist.udp.dropped", (total - self._dropped) & 0xFFFFFFFF)
            self._dropped = total

    def _address(self, name: tuple[str, int]) -> Address:
        host = name[0].partition("%")[0]
        packed = socket.inet_pton(self._family, host)
        if packed.startswith(b"\0" * 10 + b"\xff\xff"):
            packed = packed[12:]
        return Address(packed, name[1])


def bind_error(protocol: str, host: str, port: int, error: OSError) -> str:
    """Why a listener could not be opened, in Go's words, with what to do about it."""
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    reason = (error.strerror or str(error)).lower()
    advice = {
        98: "stop the process that uses it or choose another port with -serf-lan-port or -serf-wan-port",
        99: "the address belongs to no interface of this host, choose another one with -bind",
        13: "ports below 1024 need privileges, choose another port",
    }.get(error.errno or 0, "choose another address or port")
    return (
        f'Failed to start {protocol} listener on "{host}" port {port}: '
        f"listen {protocol.lower()} {where}: bind: {reason} ({advice})"
    )
