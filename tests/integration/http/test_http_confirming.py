"""Whom a leader asks, at their doors, before it answers consistent reads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from services.http_gateway import confirming
from services.http_gateway.confirming import Confirming
from shared.ipc import IpcError, Request
from shared.ipc.calls import OnDone
from shared.state.leadership import FOLLOWER, LEADER, NOBODY, Leadership, LeadershipPage
from tests.agents import PATIENCE_S
from tests.integration.http.door_server import DoorServer
from tests.integration.rpc.rpc_neighbours import until
from tests.loopback import LoopbackPool

FOR_EVER_S = 3600.0
Held = list[Request]
"""Calls that a door has taken and not answered yet."""


class Voter(DoorServer):
    """Says its term when it is asked. asked: calls; those of a voter that is `slow` wait for an answer."""

    def __init__(self, host: str, server_id: str, term: int = 5) -> None:
        super().__init__(host, Term=self._take)
        self.server_id, self.term = server_id, term
        self.asked: Held = []
        self.slow = False
        self.answer: Callable[[Request], None] = self.confirm

    def _take(self, request: Request) -> None:
        self.asked.append(request)
        if not self.slow:
            self.answer(request)

    def confirm(self, request: Request) -> None:
        request.reply([self.server_id, self.term])


class Leading:
    """A leader's questions: what came of each. asked_otherwise: who waits for raft_node."""

    def __init__(self, directory: Path, own: str, voters: list[Voter], needed: int) -> None:
        peers = " ".join(f"{one.server_id} {one.address}" for one in voters)
        self.shown = Leadership(LEADER, 5, "id-1", f"{own}:8300", 0, 0, 12, 12, True, needed, peers)
        self.page = LeadershipPage.create(str(directory / "leader.page"))
        self.page.write(self.shown)
        self.voters, self.up, self.batches = voters, True, 0
        self.asked_otherwise: list[OnDone] = []
        self.waiting: list[OnDone] = []
        self.outcomes: list[tuple[int, Any]] = []
        self.confirming = Confirming(
            self.page, self.asked_otherwise.append, lambda: self.up, own, lambda: self._after_batch()
        )
        self.pool = self.confirming._pool

    def _after_batch(self) -> None:
        self.batches += 1

    def shows(self, **changes: Any) -> None:
        self.page.write(self.shown._replace(**changes))

    def ask(self) -> int:
        """The number of the question."""
        number = len(self.waiting)

        def on_done(value: Any, error: IpcError | None) -> None:
            assert error is None
            self.outcomes.append((number, value))

        self.waiting.append(on_done)
        self.confirming.ask(on_done)
        self.confirming.flush()
        return number

    def others(self) -> list[int]:
        """Numbers of the questions that raft_node was asked, in their order."""
        return [self.waiting.index(one) for one in self.asked_otherwise]

    def counts(self) -> list[int]:
        return [len(one.asked) for one in self.voters]

    async def ready(self, *voters: Voter) -> None:
        """Waits for connections to these, which a first question leads to."""
        confirmations, self.shown = self.shown, self.shown._replace(confirmations=len(self.voters))
        self.shows()
        self.ask()
        self.shown = confirmations
        self.shows()
        for one in voters:
            await until(lambda one=one: self.pool.is_ready(one.address))  # type: ignore[misc]
        assert self.others() == [0]
        assert sum(self.counts()) == 0
        self.forget()

    def forget(self) -> None:
        """Of what was asked so far nothing is counted."""
        self.asked_otherwise.clear()
        self.waiting.clear()
        self.outcomes.clear()
        for one in self.voters:
            one.asked.clear()

    async def nothing_under_way(self) -> None:
        """Every answer has come in."""
        await until(lambda: not any(connection.calls for connection in self.pool._connections.values()))


@asynccontextmanager
async def leading(
    directory: Path, loopback: LoopbackPool, *, voters: int = 2, needed: int = 1, running: int | None = None
) -> AsyncIterator[Leading]:
    """A leader of whose `voters` the first ones are running, and connected to; all of them by default."""
    made = Leading(directory, loopback(), [Voter(loopback(), f"id-{number + 2}") for number in range(voters)], needed)
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            for one in made.voters[:running]:
                await nursery.start(one.run)
            nursery.start_soon(made.confirming.run)
            await until(lambda: made.pool._nursery is not None)
            await made.ready(*made.voters[:running])
            yield made
            nursery.cancel_scope.cancel()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is late because the processor was busy."""
    monkeypatch.setattr(confirming, "PATIENCE_S", FOR_EVER_S)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(("voters", "needed"), [(1, 1), (2, 1), (3, 2), (4, 2)])
async def test_as_many_voters_are_asked_as_have_to_confirm(
    loopback: LoopbackPool, tmp_path: Path, voters: int, needed: int
) -> None:
    """The others sleep on."""
    async with leading(tmp_path, loopback, voters=voters, needed=needed) as leader:
        for questions in range(1, 6):
            leader.ask()
            await until(lambda questions=questions: len(leader.outcomes) == questions)  # type: ignore[misc]
            assert sum(leader.counts()) == questions * needed
        assert sorted(leader.counts(), reverse=True)[:needed] == [5] * needed  # always the same
        assert leader.outcomes == [(number, 12) for number in range(5)]
        assert not leader.others()
        assert leader.batches


@pytest.mark.usefixtures("patient")
async def test_questions_under_way_together_have_answers_of_their_own(loopback: LoopbackPool, tmp_path: Path) -> None:
    async with leading(tmp_path, loopback) as leader:
        leader.ask()
        leader.page.write_committed(15)
        leader.ask()
        leader.shows(applied_index=16)
        leader.ask()
        await until(lambda: len(leader.outcomes) == 3)
        assert leader.outcomes == [(0, 12), (1, 15), (2, 16)]
        assert not leader.others()


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    "changes",
    [{"role": FOLLOWER}, {"ready": False}, {"confirmations": 0}, {"confirmations": 3}, NOBODY._asdict()],
    ids=["no leader", "not ready", "nobody to ask", "more than there are", "no page yet"],
)
async def test_who_cannot_be_confirmed_leaves_it_to_raft_node(
    loopback: LoopbackPool, tmp_path: Path, changes: dict[str, Any]
) -> None:
    async with leading(tmp_path, loopback) as leader:
        leader.shows(**changes)
        leader.ask()
        assert leader.others() == [0]
        assert leader.counts() == [0, 0]


@pytest.mark.usefixtures("patient")
async def test_without_its_raft_node_a_leader_confirms_nothing(loopback: LoopbackPool, tmp_path: Path) -> None:
    async with leading(tmp_path, loopback) as leader:
        leader.up = False
        leader.ask()
        assert leader.others() == [0]
        assert leader.counts() == [0, 0]
        leader.up = True
        leader.ask()
        await until(lambda: leader.outcomes == [(1, 12)])
        assert leader.others() == [0]


@pytest.mark.usefixtures("patient")
async def test_without_enough_connections_nobody_is_asked(loopback: LoopbackPool, tmp_path: Path) -> None:
    async with leading(tmp_path, loopback, voters=2, needed=2, running=1) as leader:
        leader.ask()
        assert leader.others() == [0]
        assert leader.counts() == [0, 0]
        leader.shows(confirmations=1)  # the one that runs suffices
        leader.ask()
        await until(lambda: leader.outcomes == [(1, 12)])
        assert leader.counts() == [1, 0]


@pytest.mark.usefixtures("patient")
async def test_voters_are_connected_to_again_after_a_while(
    loopback: LoopbackPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confirming, "DIAL_PAUSE_S", 0.01)
    async with leading(tmp_path, loopback, voters=1) as leader:
        [voter] = leader.voters
        voter.cut()
        await until(lambda: not leader.pool.is_ready(voter.address))

        def is_back() -> bool:
            if not leader.pool.is_ready(voter.address):
                leader.ask()
            return leader.pool.is_ready(voter.address)

        await until(is_back)
        assert not voter.asked
        last = leader.ask()
        await until(lambda: leader.outcomes)
        assert leader.outcomes == [(last, 12)]
        assert leader.others() == list(range(last))


def other_term(voter: Voter, request: Request) -> None:
    request.reply([voter.server_id, voter.term + 1])


def other_id(voter: Voter, request: Request) -> None:
    request.reply(["id-9", voter.term])


def other_shape(voter: Voter, request: Request) -> None:
    request.reply({"id": voter.server_id, "term": voter.term})


def an_error(voter: Voter, request: Request) -> None:
    request.fail("unavailable", "no room")


def a_refusal(voter: Voter, request: Request) -> None:
    request.fail("unknown_method", "no such method")


def the_end(voter: Voter, request: Request) -> None:
    voter.cut()


FAILURES = [other_term, other_id, other_shape, an_error, a_refusal, the_end]


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("failure", FAILURES)
async def test_after_a_voter_that_fails_raft_node_is_asked_and_next_time_the_other_voter(
    loopback: LoopbackPool, tmp_path: Path, failure: Callable[[Voter, Request], None]
) -> None:
    async with leading(tmp_path, loopback) as leader:
        first, second = leader.voters
        first.answer = second.answer = partial(failure, first)
        leader.ask()
        await until(lambda: leader.others() == [0])
        assert (len(first.asked), len(second.asked)) == (1, 0)
        second.answer = second.confirm
        for number in (1, 2):  # and it remains the one who is asked
            leader.ask()
            await until(lambda number=number: len(leader.outcomes) == number)  # type: ignore[misc]
        await leader.nothing_under_way()
        assert (len(first.asked), len(second.asked)) == (1, 2)
        assert leader.outcomes == [(1, 12), (2, 12)]
        assert leader.others() == [0]


@pytest.mark.usefixtures("patient")
async def test_of_several_that_fail_only_the_first_makes_raft_node_asked(
    loopback: LoopbackPool, tmp_path: Path
) -> None:
    async with leading(tmp_path, loopback, voters=4, needed=2) as leader:
        for one, failure in zip(leader.voters, (an_error, other_term, an_error, other_term), strict=True):
            one.slow, one.answer = True, partial(failure, one)
        leader.ask()
        await until(lambda: sum(leader.counts()) == 2)
        asked = [one for one in leader.voters if one.asked]
        for one in asked:
            one.answer(one.asked[0])
        await leader.nothing_under_way()
        assert leader.others() == [0]
        for one in leader.voters:
            one.slow, one.answer = False, one.confirm
        leader.ask()  # of the two that have not failed
        await until(lambda: leader.outcomes == [(1, 12)])
        assert all(len(one.asked) == 1 for one in leader.voters)
        assert leader.others() == [0]


@pytest.mark.usefixtures("patient")
async def test_one_of_two_confirmations_is_not_enough(loopback: LoopbackPool, tmp_path: Path) -> None:
    async with leading(tmp_path, loopback, needed=2) as leader:
        first, second = leader.voters
        second.slow = True
        leader.ask()
        await until(lambda: leader.counts() == [1, 1])
        await until(lambda: leader.pool._connections[first.address].calls == 0)
        assert not leader.outcomes
        second.answer(second.asked[0])
        await until(lambda: leader.outcomes == [(0, 12)])
        assert not leader.others()


async def test_a_voter_that_is_late_is_heard_no_more(
    loopback: LoopbackPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confirming, "PATIENCE_S", 0.05)
    async with leading(tmp_path, loopback) as leader:
        first, second = leader.voters
        first.slow = second.slow = True
        leader.ask()
        await until(lambda: leader.others() == [0])
        assert leader.counts() == [1, 0]
        monkeypatch.setattr(confirming, "PATIENCE_S", FOR_EVER_S)
        leader.ask()  # of the other one
        await until(lambda: leader.counts() == [1, 1])
        first.answer(first.asked[0])
        await until(lambda: leader.pool._connections[first.address].calls == 0)
        assert not leader.outcomes
        second.answer(second.asked[0])
        await until(lambda: leader.outcomes == [(1, 12)])
        assert leader.others() == [0]


@pytest.mark.usefixtures("watched_closely")
async def test_a_voter_that_says_nothing_is_not_asked(
    loopback: LoopbackPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confirming, "PATIENCE_S", 0.01)
    async with leading(tmp_path, loopback, voters=1) as leader:
        [voter] = leader.voters
        voter.slow = True
        leader.ask()
        await until(lambda: leader.pool.is_silent(voter.address))
        assert leader.others() == [0]
        before = len(voter.asked)  # with a probe
        leader.ask()
        assert leader.others() == [0, 1]
        assert len(voter.asked) == before
        voter.slow = False
        voter.answer(voter.asked[0])
        await until(lambda: not leader.pool.is_silent(voter.address))
        monkeypatch.setattr(confirming, "PATIENCE_S", FOR_EVER_S)
        leader.ask()
        await until(lambda: leader.outcomes == [(2, 12)])
        assert leader.others() == [0, 1]


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    "changes",
    [
        {"term": 6},
        {"role": FOLLOWER},
        {"ready": False},
        {"confirmations": 0, "applied_index": 0},
        {"confirmations": 0},
        {"applied_index": 11},
    ],
    ids=["another term", "a follower", "not ready", "taken back", "nobody to ask", "less is applied"],
)
async def test_a_confirmation_that_comes_too_late_for_the_page_confirms_nothing(
    loopback: LoopbackPool, tmp_path: Path, changes: dict[str, Any]
) -> None:
    async with leading(tmp_path, loopback) as leader:
        first, _ = leader.voters
        first.slow = True
        leader.ask()
        await until(lambda: first.asked)
        leader.shows(**changes)
        first.answer(first.asked[0])
        await until(lambda: leader.others() == [0])
        leader.shows()
        leader.ask()
        await until(lambda: len(first.asked) == 2)  # it has done nothing wrong
        first.answer(first.asked[1])
        await until(lambda: leader.outcomes == [(1, 12)])
        assert leader.others() == [0]


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("is_applied", [True, False])
async def test_what_was_committed_when_the_question_came_has_to_be_applied_when_it_is_answered(
    loopback: LoopbackPool, tmp_path: Path, is_applied: bool
) -> None:
    async with leading(tmp_path, loopback) as leader:
        first, _ = leader.voters
        first.slow = True
        leader.page.write_committed(14)
        leader.ask()
        leader.page.write_committed(15)  # of later reads
        await until(lambda: first.asked)
        if is_applied:
            leader.shows(applied_index=14)
        first.answer(first.asked[0])
        await leader.nothing_under_way()
        assert (leader.outcomes, leader.others()) == (([(0, 14)], []) if is_applied else ([], [0]))
