"""One question to the leader is shared by all reads that came before it."""

from __future__ import annotations

from typing import Any

from services.http_gateway.rounds import Rounds, is_answered_elsewhere
from shared.ipc.calls import OnDone
from shared.ipc.errors import DeadlineError, RemoteError

LATE = DeadlineError("rpc_core", "Proconsul.ReadIndex", sent=True)


class Moment:
    in_batch = False


class FakeGateway:
    """Batches as the gateway's, and the questions that were asked."""

    def __init__(self) -> None:
        self.moment = Moment()
        self.asked: list[OnDone] = []
        self.sent = 0
        self.rounds = Rounds(self, self.asked.append, self.flush)  # type: ignore[arg-type]

    def flush(self) -> None:
        """The link's: what was asked leaves now."""
        self.sent = len(self.asked)

    def begin_batch(self) -> None:
        self.moment.in_batch = True

    def end_batch(self) -> None:
        self.moment.in_batch = False
        self.rounds.start()

    def batch(self, reads: int) -> list[Any]:
        """That many reads in one batch; their answers get into the list."""
        answers: list[Any] = []
        self.begin_batch()
        for _ in range(reads):
            self.rounds.join(lambda index, error: answers.append((index, error)))
        self.end_batch()
        return answers


def test_a_batch_asks_once() -> None:
    gateway = FakeGateway()
    answers = gateway.batch(16)
    assert len(gateway.asked) == 1
    assert not answers
    gateway.asked[0](7, None)
    assert answers == [(7, None)] * 16


def test_the_next_question_leaves_before_the_answers_to_the_last_are_worked_on() -> None:
    gateway = FakeGateway()
    sent: list[int] = []
    gateway.begin_batch()
    gateway.rounds.join(lambda _index, _error: sent.append(gateway.sent))
    gateway.end_batch()
    gateway.batch(1)
    gateway.asked[0](7, None)
    assert sent == [2]


def test_who_comes_while_a_question_is_under_way_is_not_answered_by_it() -> None:
    gateway = FakeGateway()
    early = gateway.batch(1)
    late = gateway.batch(2)
    assert len(gateway.asked) == 1
    gateway.asked[0](7, None)
    assert early == [(7, None)]
    assert not late
    gateway.asked[1](8, None)
    assert late == [(8, None)] * 2
    assert len(gateway.asked) == 2


def test_out_of_a_batch_the_question_leaves_at_once() -> None:
    gateway = FakeGateway()
    answers: list[Any] = []
    gateway.rounds.join(lambda index, error: answers.append((index, error)))
    gateway.asked[0](None, LATE)
    assert answers == [(None, LATE)]


def test_a_leader_without_rounds_and_one_that_leads_no_more_have_the_read_passed_on() -> None:
    unknown = "rpc error making call: rpc: can't find service Proconsul.ReadIndex"
    assert is_answered_elsewhere(RemoteError("rpc", unknown))
    assert is_answered_elsewhere(RemoteError("not_leader", "not the leader"))
    assert not is_answered_elsewhere(RemoteError("rpc", "No cluster leader"))
    assert not is_answered_elsewhere(LATE)
