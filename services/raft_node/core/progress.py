"""Progress: what the leader knows about one follower, and when to send it something next."""

from __future__ import annotations

from typing import Final, NamedTuple

from services.raft_node.core.types import Server

PROBE: Final = "probe"
PIPELINE: Final = "pipeline"
SNAPSHOT: Final = "snapshot"

FAILURE_WAIT_S: Final = 0.01
MAX_FAILURE_SCALE: Final = 12


def backoff_s(failures: int) -> float:
    """Wait after `failures` failures in a row: 10 ms, doubling from the third on, at most 10.24 s."""
    return FAILURE_WAIT_S * float(1 << max(0, min(failures, MAX_FAILURE_SCALE) - 2))


class InFlight(NamedTuple):
    """One request without an answer yet."""

    prev_index: int
    last_index: int
    sent_at: float
    heartbeat: bool
    size: int = 0
    """Bytes of the entries' data."""


class Progress:
    """mode: PROBE sends one request at a time to find where the logs agree, PIPELINE does not wait for answers,
    SNAPSHOT waits until one was installed. Times are the core's clock, in seconds."""

    __slots__ = (
        "acked_request",
        "commit_due",
        "failures",
        "heartbeat_due",
        "heartbeat_failures",
        "in_flight",
        "last_contact",
        "lease_from",
        "log_bytes",
        "log_requests",
        "match_index",
        "mode",
        "next_index",
        "retry_at",
        "server",
        "snapshot_request",
    )

    def __init__(self, server: Server, next_index: int, now: float) -> None:
        self.server = server
        self.next_index = next_index
        self.match_index = 0
        self.mode = PROBE
        self.in_flight: dict[int, InFlight] = {}
        self.log_requests = 0
        self.log_bytes = 0
        self.failures = 0
        self.retry_at = now
        self.heartbeat_due = now
        self.heartbeat_failures = 0
        self.commit_due = now
        self.last_contact = now
        self.lease_from = float("-inf")
        """When the latest request was sent that was answered: until lease_from + heartbeat timeout the follower
        votes for nobody else."""
        self.acked_request = 0
        """The highest request id that was answered: what was asked before it was confirmed, too."""
        self.snapshot_request = 0

    def sent(self, request_id: int, flight: InFlight) -> None:
        self.in_flight[request_id] = flight
        if not flight.heartbeat:
            self.log_requests += 1
            self.log_bytes += flight.size

    @property
    def heartbeats_in_flight(self) -> int:
        return len(self.in_flight) - self.log_requests

    def was_asked_since(self, request_id: int) -> bool:
        """Whether this request or a later one has been answered or may still be."""
        return self.acked_request >= request_id or any(flying >= request_id for flying in self.in_flight)

    def take(self, request_id: int) -> InFlight | None:
        """The request with this id, which is now answered; None if it was given up before."""
        flight = self.in_flight.pop(request_id, None)
        if flight is not None and not flight.heartbeat:
            self.log_requests -= 1
            self.log_bytes -= flight.size
        return flight

    def answered(self, request_id: int, flight: InFlight, now: float) -> None:
        self.last_contact = now
        self.lease_from = max(self.lease_from, flight.sent_at)
        self.acked_request = max(self.acked_request, request_id)

    def give_up_log_requests(self) -> None:
        """Forgets log requests on the way; their answers will say nothing new."""
        for request_id in [key for key, flight in self.in_flight.items() if not flight.heartbeat]:
            del self.in_flight[request_id]
        self.log_requests = self.log_bytes = 0

    def reachable(self, now: float) -> None:
        """A heartbeat was answered: what failed before may be tried again at once."""
        self.heartbeat_failures = 0
        if self.failures:
            self.failures = 0
            self.retry_at = min(self.retry_at, now)

    def failed(self, now: float) -> None:
        """A log request failed: start over from what is known to match, after a pause."""
        self.failures += 1
        self.retry_at = now + backoff_s(self.failures)
        self.mode = PROBE
        if self.match_index:
            self.next_index = self.match_index + 1
        self.give_up_log_requests()

    def rejected(self, flight: InFlight, last_log: int, no_backoff: bool, now: float) -> None:
        """The follower does not have the entry before the ones sent: go back, at most to what it has."""
        self.mode = PROBE
        self.next_index = max(1, min(flight.prev_index, last_log + 1))
        self.give_up_log_requests()
        if no_backoff:
            self.failures = 0
            self.retry_at = now
        else:
            self.failures += 1
            self.retry_at = now + backoff_s(self.failures)

    def accepted(self, flight: InFlight) -> None:
        self.match_index = max(self.match_index, flight.last_index)
        self.next_index = max(self.next_index, self.match_index + 1)
        self.failures = 0
        self.mode = PIPELINE
