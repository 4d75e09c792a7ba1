"""What the leader thinks of each server: healthy or not, and since when.

Two sources have to agree: Serf says that the server lives, and the server's own Raft figures say that it hears of
the leader and keeps up with the log. Rules and numbers are Consul's; times are the caller's monotonic seconds and,
for what people see, nanoseconds since 1970."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from services.rpc_core.leader.raft_server import RaftServer
from services.rpc_core.members import Member, MemberStatus, Server, server_of
from shared.gotext.durations import DurationError, parse_duration_ns
from shared.structs.gotime import ZERO_TIME, time_from_unix_ns
from shared.structs.operator import AutopilotConfig, OperatorHealthReply, ServerHealth

NEVER: Final = "never"
"""What a server says that has not heard of any leader yet."""
NO_CONTACT_NS: Final = -1


class StatsError(Exception):
    """A server's figures cannot be read; the text says why."""


@dataclass(frozen=True, slots=True)
class RaftStats:
    """A server's own Raft figures. last_contact: a Go duration, or "never"."""

    last_contact: str
    last_term: int
    last_index: int

    @classmethod
    def from_wire(cls, wire: Any) -> RaftStats:
        """From a reply of Status.RaftStats. Raises StatsError if it is none."""
        try:
            contact, term, index = (wire.get(name) for name in ("LastContact", "LastTerm", "LastIndex"))
            return cls(str(contact or ""), int(term or 0), int(index or 0))
        except (AttributeError, TypeError, ValueError) as error:
            raise StatsError(str(error)) from None


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at the cluster. members: of the LAN pool, in any state; stats: of those servers that answered, by
    server id; leader_index, leader_term: the end of the leader's own log, read before and after the others were
    asked."""

    configured: Sequence[RaftServer]
    members: Iterable[Member]
    stats: Mapping[str, RaftStats]
    leader_address: str
    leader_index: int
    leader_term: int
    now: float
    now_unix_ns: int


@dataclass(frozen=True, slots=True)
class Judgement:
    """What came of a sample. stable_since: by server id, when its health changed last; problems: servers whose
    figures made no sense, with the reason."""

    reply: OperatorHealthReply = field(default_factory=OperatorHealthReply)
    stable_since: Mapping[str, float] = field(default_factory=dict)
    problems: Sequence[tuple[RaftServer, str]] = ()

    def of(self, server_id: str) -> ServerHealth | None:
        """The health of one server, None for one that was never seen."""
        return next((one for one in self.reply.servers or () if one.id == server_id), None)


def judge(sample: Sample, config: AutopilotConfig, before: Judgement) -> Judgement:
    """The health of every server in the Raft configuration. before: the last judgement."""
    known = _servers_by_id(sample.members)
    healths: list[ServerHealth] = []
    stable_since: dict[str, float] = {}
    problems: list[tuple[RaftServer, str]] = []
    for server in sample.configured:
        health = ServerHealth(
            id=server.server_id,
            address=server.address,
            leader=server.address == sample.leader_address,
            last_contact=NO_CONTACT_NS,
            voter=server.voter,
            stable_since=ZERO_TIME,
        )
        healths.append(health)
        if server.server_id not in known:
            continue
        member, found = known[server.server_id]
        health.name, health.serf_status, health.version = found.name, member.status, found.build
        stats = sample.stats.get(server.server_id)
        if stats is None:
            continue
        try:
            _fill_in(health, stats, sample, config)
        except StatsError as error:
            problems.append((server, str(error)))
            continue
        since = _unchanged_since(before, health)
        if since is None:
            stable_since[health.id], health.stable_since = sample.now, time_from_unix_ns(sample.now_unix_ns)
        else:
            stable_since[health.id], health.stable_since = since
    reply = OperatorHealthReply(servers=healths or None)
    reply.healthy = all(health.healthy for health in healths)
    reply.failure_tolerance = _failure_tolerance(healths)
    return Judgement(reply, stable_since, problems)


def _servers_by_id(members: Iterable[Member]) -> dict[str, tuple[Member, Server]]:
    known = {}
    for member in members:
        server = server_of(member)
        if server is not None and member.status != MemberStatus.LEFT:
            known[server.node_id] = (member, server)
    return known


def _fill_in(health: ServerHealth, stats: RaftStats, sample: Sample, config: AutopilotConfig) -> None:
    """Raises StatsError."""
    health.last_term, health.last_index = stats.last_term, stats.last_index
    if stats.last_contact != NEVER:
        try:
            health.last_contact = parse_duration_ns(stats.last_contact)
        except DurationError as error:
            raise StatsError(f"error parsing last_contact duration: {error}") from None
    health.healthy = is_healthy(health, sample.leader_term, sample.leader_index, config)


def is_healthy(health: ServerHealth, leader_term: int, leader_index: int, config: AutopilotConfig) -> bool:
    """Whether a server lives, hears of the leader and keeps up with it."""
    return (
        health.serf_status == MemberStatus.ALIVE
        and 0 <= health.last_contact <= config.last_contact_threshold
        and health.last_term == leader_term
        and health.last_index + config.max_trailing_logs >= leader_index
    )


def _unchanged_since(before: Judgement, health: ServerHealth) -> tuple[float, bytes] | None:
    last = before.of(health.id)
    since = before.stable_since.get(health.id)
    if last is None or since is None or last.healthy != health.healthy:
        return None
    return since, last.stable_since


def _failure_tolerance(healths: Sequence[ServerHealth]) -> int:
    """How many healthy voters can be lost before there is no quorum."""
    voters = [health for health in healths if health.voter]
    healthy = sum(health.healthy for health in voters)
    return max(0, healthy - (len(voters) // 2 + 1))
