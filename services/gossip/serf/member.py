"""A member as Serf sees it."""

from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Member:
    """One member, as a value: who was told of it is not touched by what happens later.

    vsn: memberlist protocol min, max, current, then Serf's. status_ltime: Lamport time of the last intent.
    left_at: when it left or failed, seconds."""

    name: str
    addr: bytes
    port: int
    tags: dict[str, str]
    vsn: bytes
    status: Status = Status.ALIVE
    status_ltime: int = 0
    left_at: float = 0.0

    @property
    def address(self) -> Address:
        return Address(self.addr, self.port)

    def record(self) -> MemberRecord:
        return MemberRecord(self.name, self.addr, self.port, self.tags, int(self.status), *self.vsn)
