"""What counts towards a commit: the match indexes of voters, which only grow."""

from __future__ import annotations

from services.raft_node.core.progress import PIPELINE, PROBE, InFlight, Progress
from services.raft_node.core.quorum import quorum_index
from services.raft_node.core.types import VOTER, Server


def progress() -> Progress:
    return Progress(Server("b", "b:8300", VOTER), next_index=10, now=0.0)


def test_a_match_index_never_goes_back() -> None:
    follower = progress()
    follower.accepted(InFlight(9, 12, 1.0, heartbeat=False))
    assert (follower.match_index, follower.next_index, follower.mode) == (12, 13, PIPELINE)
    follower.accepted(InFlight(9, 10, 0.5, heartbeat=False))  # an answer that was overtaken
    assert (follower.match_index, follower.next_index) == (12, 13)


def test_after_a_failure_replication_goes_on_behind_what_matches() -> None:
    follower = progress()
    follower.accepted(InFlight(9, 12, 1.0, heartbeat=False))
    follower.next_index = 40  # sent ahead
    follower.failed(now=2.0)
    assert (follower.match_index, follower.next_index, follower.mode) == (12, 13, PROBE)
    assert follower.retry_at > 2.0


def test_a_follower_that_answers_a_heartbeat_is_not_waited_for_any_longer() -> None:
    follower = progress()
    for _ in range(12):
        follower.failed(now=2.0)
    assert follower.retry_at > 10.0
    follower.reachable(now=2.5)
    assert (follower.retry_at, follower.failures) == (2.5, 0)


def test_only_voters_count() -> None:
    match = {"leader": 9, "voter": 4, "behind": 1, "non-voter": 99, "stranger": 99}
    assert quorum_index(match, ["leader", "voter", "behind"]) == 4
