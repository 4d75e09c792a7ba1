"""The nouns of the protocol: log entries, servers, configurations, hard state. Values only, no rules."""

from __future__ import annotations

from typing import Final, NamedTuple

# Types of a log entry, as hashicorp/raft numbers them on the wire and in the log.
COMMAND: Final = 0
NOOP: Final = 1
ADD_PEER: Final = 2
REMOVE_PEER: Final = 3
BARRIER: Final = 4
CONFIGURATION: Final = 5

VOTER: Final = 0
NON_VOTER: Final = 1
STAGING: Final = 2
_SUFFRAGE_NAMES: Final = ("Voter", "Nonvoter", "Staging")

FOLLOWER: Final = "Follower"
CANDIDATE: Final = "Candidate"
LEADER: Final = "Leader"


class Entry(NamedTuple):
    """One log entry. `data` and `extensions` are b"" where Consul's log has nil."""

    index: int  # type: ignore[assignment]  # hides tuple.index
    term: int
    type: int
    data: bytes
    extensions: bytes = b""


class Server(NamedTuple):
    """One member of a configuration. id: node ID; address: "ip:port" of its server RPC listener."""

    id: str
    address: str
    suffrage: int = VOTER

    @property
    def suffrage_name(self) -> str:
        return _SUFFRAGE_NAMES[self.suffrage] if 0 <= self.suffrage < 3 else "ServerSuffrage"

    def __str__(self) -> str:
        """As Go prints the struct in a log line."""
        return f"{{{self.suffrage_name} {self.id} {self.address}}}"


class Configuration(NamedTuple):
    """The servers of the cluster, in the order in which they were added."""

    servers: tuple[Server, ...] = ()

    def server(self, server_id: str) -> Server | None:
        return next((server for server in self.servers if server.id == server_id), None)

    def voter_ids(self) -> tuple[str, ...]:
        return tuple(server.id for server in self.servers if server.suffrage == VOTER)

    def has_vote(self, server_id: str) -> bool:
        server = self.server(server_id)
        return server is not None and server.suffrage == VOTER

    def id_of(self, address: str) -> str:
        """ID of the server at `address`, "" if no server has it."""
        return next((server.id for server in self.servers if server.address == address), "")

    @property
    def quorum(self) -> int:
        """Votes that decide: more than half of the voters."""
        return len(self.voter_ids()) // 2 + 1

    def __str__(self) -> str:
        """As Go prints the list of servers with %+v, which is how log lines and `consul info` show it."""
        inner = " ".join(
            f"{{Suffrage:{server.suffrage_name} ID:{server.id} Address:{server.address}}}" for server in self.servers
        )
        return f"[{inner}]"


class HardState(NamedTuple):
    """What must be on disk before a server answers or asks for anything (Raft paper, figure 2).

    vote_candidate: address of the candidate that got this server's vote in vote_term, "" if none ever did."""

    term: int = 0
    vote_term: int = 0
    vote_candidate: str = ""


class SnapshotMeta(NamedTuple):
    """What a snapshot covers: everything up to `index`, whose entry had `term`.

    id: directory name in Consul's layout; size: bytes of the state stream."""

    id: str
    index: int  # type: ignore[assignment]  # hides tuple.index
    term: int
    configuration: Configuration
    configuration_index: int
    size: int = 0


class Settings(NamedTuple):
    """How one server runs the protocol. Durations are seconds; each timer is drawn from [timeout, 2 * timeout).

    max_in_flight_bytes: data of log entries that one follower has been sent and has not answered."""

    node_id: str
    address: str
    heartbeat_timeout_s: float = 5.0
    election_timeout_s: float = 5.0
    leader_lease_timeout_s: float = 2.5
    commit_timeout_s: float = 0.05
    max_append_entries: int = 64
    pipeline_depth: int = 128
    trailing_logs: int = 10240
    max_append_bytes: int = 4 << 20
    max_in_flight_bytes: int = 16 << 20

    @property
    def lease_guard_s(self) -> float:
        """Silence of a leader after which its lease has ended, whoever measures it: a fifth more than the lease, for
        clocks that run differently."""
        return self.leader_lease_timeout_s * 1.2
