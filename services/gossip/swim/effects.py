"""What the cores ask their shell to do, in the order it has to happen."""

from dataclasses import dataclass
from typing import Literal

from services.gossip.codec.messages import Ping
from services.gossip.swim.address import Address


@dataclass(frozen=True, slots=True)
class SendPacket:
    """Send these encoded messages in one datagram; crc: the receiver understands checksums."""

    to: Address
    parts: tuple[bytes, ...]
    crc: bool = False


@dataclass(frozen=True, slots=True)
class TcpPing:
    """Ping over a stream, until `deadline`; tell the core with tcp_ping_done."""

    node: str
    to: Address
    ping: Ping
    deadline: float


@dataclass(frozen=True, slots=True)
class StartPushPull:
    """Exchange states with this member; `join` as sent on the wire."""

    node: str
    to: Address
    join: bool = False


@dataclass(frozen=True, slots=True)
class Log:
    """A log line of the library that Consul embeds at this place."""

    area: Literal["memberlist", "serf"]
    level: Literal["debug", "info", "warn", "error"]
    text: str


@dataclass(frozen=True, slots=True)
class Metric:
    kind: Literal["incr", "sample", "gauge"]
    name: str
    value: float = 1.0


Effect = SendPacket | TcpPing | StartPushPull | Log | Metric
