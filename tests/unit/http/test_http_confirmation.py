"""One round of a leader's question to the other voters: when it begins, what confirms, and whether it stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from services.http_gateway.confirmation import Confirmation
from shared.state.leadership import CANDIDATE, FOLLOWER, LEADER, NOBODY, Leadership, LeadershipPage

SECOND, THIRD = "127.0.0.2:8300", "127.0.0.3:8300"
LEADS = Leadership(
    LEADER, 5, "id-1", "127.0.0.1:8300", 0, 0, 12, 12, True, confirmations=1, peers=f"id-2 {SECOND} id-3 {THIRD}"
)
"""Of three servers; the lease is over, and does not matter."""


@pytest.fixture
def page(tmp_path: Path) -> LeadershipPage:
    made = LeadershipPage.create(str(tmp_path / "leader.page"))
    made.write(LEADS)
    return made


def begun(page: LeadershipPage) -> Confirmation:
    made = Confirmation.begin(page)
    assert made is not None
    return made


# -- the question ------------------------------------------------------------------------------------


def test_a_leader_asks_the_peers_of_its_page(page: LeadershipPage) -> None:
    confirmation = begun(page)
    assert (confirmation.term, confirmation.missing) == (5, 1)
    assert confirmation.peers == {"id-2": SECOND, "id-3": THIRD}


@pytest.mark.parametrize(
    "shown",
    [
        LEADS._replace(role=FOLLOWER, peers=f"id-2 {SECOND}"),
        LEADS._replace(role=CANDIDATE),
        LEADS._replace(ready=False),
        LEADS._replace(confirmations=0),
        NOBODY,
    ],
    ids=["a follower", "a candidate", "not ready", "nobody to confirm it", "nobody"],
)
def test_others_than_a_ready_leader_with_voters_to_ask_ask_nobody(page: LeadershipPage, shown: Leadership) -> None:
    page.write(shown)
    assert Confirmation.begin(page) is None


def test_without_a_page_nobody_is_asked(tmp_path: Path) -> None:
    assert Confirmation.begin(LeadershipPage.open(str(tmp_path / "no" / "leader.page"))) is None


@pytest.mark.parametrize(("applied", "committed", "index"), [(12, 0, 12), (12, 11, 12), (12, 12, 12), (12, 14, 14)])
def test_the_state_has_to_be_as_far_as_anybody_can_have_seen(
    page: LeadershipPage, applied: int, committed: int, index: int
) -> None:
    """A follower may have applied what this leader has only committed so far."""
    page.write(LEADS._replace(applied_index=applied, commit_index=applied))
    page.write_committed(committed)
    assert begun(page).index == index


# -- the answers -------------------------------------------------------------------------------------


def test_each_server_counts_once(page: LeadershipPage) -> None:
    page.write(LEADS._replace(confirmations=2, peers=f"id-2 {SECOND} id-3 {THIRD} id-4 {SECOND}"))
    confirmation = begun(page)
    for _ in range(3):
        assert confirmation.answered("id-2", ["id-2", 5])
        assert confirmation.missing == 1
    assert confirmation.answered("id-4", ["id-4", 5])
    assert confirmation.missing == 0


@pytest.mark.parametrize(
    "answer",
    [
        ["id-3", 5],
        ["", 5],
        [None, 5],
        ["id-2", 4],
        ["id-2", 6],
        ["id-2", "5"],
        ["id-2", None],
        ["id-2"],
        ["id-2", 5, 5],
        [["id-2", 5]],
        [],
        {"id-2": 5},
        {},
        "id-2",
        b"id-2",
        5,
        None,
        True,
    ],
    ids=str,
)
def test_only_the_server_that_was_asked_confirms_and_only_this_term(page: LeadershipPage, answer: Any) -> None:
    confirmation = begun(page)
    assert not confirmation.answered("id-2", answer)
    assert confirmation.missing == 1
    assert confirmation.answered("id-2", ["id-2", 5])  # what it says later is another matter
    assert confirmation.missing == 0


# -- the outcome -------------------------------------------------------------------------------------


def test_a_round_stands_while_the_leader_goes_on_in_its_term(page: LeadershipPage) -> None:
    confirmation = begun(page)
    assert confirmation.stands(page)
    page.write(LEADS._replace(applied_index=20, commit_index=21, peers=f"id-4 {SECOND}", confirmations=2))
    page.write_committed(21)
    assert confirmation.stands(page)
    assert confirmation.index == 12  # of when the reads came


@pytest.mark.parametrize(
    "shown",
    [
        LEADS._replace(term=6),
        LEADS._replace(role=FOLLOWER),
        LEADS._replace(role=CANDIDATE),
        LEADS._replace(ready=False),
        LEADS._replace(confirmations=0),
        LEADS._replace(applied_index=11),
        LEADS._replace(applied_index=0, lease_end_ns=0, confirmations=0),
        NOBODY,
    ],
    ids=["another term", "a follower", "a candidate", "not ready", "nobody to confirm it", "less", "back", "nobody"],
)
def test_a_round_falls_with_the_office_or_the_state(page: LeadershipPage, shown: Leadership) -> None:
    """back: what raft_node writes when it begins anew."""
    confirmation = begun(page)
    page.write(shown)
    assert not confirmation.stands(page)


def test_what_was_committed_has_to_be_applied_first(page: LeadershipPage) -> None:
    page.write_committed(14)
    confirmation = begun(page)
    for applied, stands in ((12, False), (13, False), (14, True), (15, True)):
        page.write(LEADS._replace(applied_index=applied))
        assert confirmation.stands(page) is stands
