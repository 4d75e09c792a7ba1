"""A busy wait goes on while it pays, and leaves the event loop its turn."""

from __future__ import annotations

from services.http_gateway.lane.patience import Patience


class Poll:
    """Finds something at once, or never."""

    def __init__(self) -> None:
        self.finds, self.calls = True, 0

    def __call__(self, timeout: int) -> list[int]:
        assert timeout == 0
        self.calls += 1
        return [1] if self.finds else []


def test_others_of_the_process_get_their_turn() -> None:
    patience, poll = Patience(), Poll()
    found = [patience.finds(poll) for _ in range(100)]
    assert found.count(False) == 3
    assert all(found[:32])


def test_what_does_not_pay_pauses_and_is_tried_again_at_times() -> None:
    patience, poll = Patience(), Poll()
    poll.finds = False
    assert not any(patience.finds(poll) for _ in range(8))
    poll.calls = 0
    assert not any(patience.finds(poll) for _ in range(256))
    assert poll.calls == 0
    poll.finds = True
    assert sum(patience.finds(poll) for _ in range(10)) == 10
