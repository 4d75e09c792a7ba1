"""A member as Serf sees it."""

from enum import IntEnum

from services.gossip.codec.serf_messages import MemberRecord
from services.gossip.swim.address import Address


class Status(IntEnum):
    """Serf's numbers, which Consul's API shows."""

    NONE = 0
    ALIVE = 1
    LEAVING = 2
    LEFT = 3
    FAILED = 4


class Member:
    """One member. `status_ltime`: Lamport time of the last intent; `left_at`: when it left or failed, seconds.

    vsn: memberlist protocol min, max, current, then Serf's."""

    __slots__ = ("addr", "left_at", "name", "port", "status", "status_ltime", "tags", "vsn")

    def __init__(self, name: str, addr: bytes, port: int, tags: dict[str, str], vsn: bytes) -> None:
        self.name = name
        self.addr = addr
        self.port = port
        self.tags = tags
        self.vsn = vsn
        self.status = Status.ALIVE
        self.status_ltime = 0
        self.left_at = 0.0

    @property
    def address(self) -> Address:
        return Address(self.addr, self.port)

    def snapshot(self) -> "Member":
        """A copy that later changes do not touch."""
        copy = Member(self.name, self.addr, self.port, self.tags, self.vsn)
        copy.status, copy.status_ltime, copy.left_at = self.status, self.status_ltime, self.left_at
        return copy

    def record(self) -> MemberRecord:
        return MemberRecord(self.name, self.addr, self.port, self.tags, int(self.status), *self.vsn)
