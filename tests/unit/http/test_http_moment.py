"""One state per batch: who may answer is looked at before what there is to answer."""

from __future__ import annotations

from typing import Any, cast

import pytest

from services.http_gateway.go_http import DateLine
from services.http_gateway.moment import Moment
from shared.state.errors import StateUnavailableError
from shared.state.leadership import FOREVER_NS, LEADER, Leadership, LeadershipPage
from shared.state.reader import StateReader


class Looks:
    """A page and a reader that note the order in which they were looked at."""

    def __init__(self) -> None:
        self.order: list[str] = []

    def read(self) -> Leadership:
        self.order.append("page")
        return Leadership(LEADER, 1, "id", "127.0.0.1:8300", FOREVER_NS, 0, 1, 1, True)

    def snapshot(self) -> Any:
        self.order.append("state")
        return self

    def close(self) -> None:
        self.order.append("closed")


def test_the_page_is_read_before_the_state_whatever_is_asked_for_first() -> None:
    """A batch may begin with a stale read, which does not care who leads."""
    looks = Looks()
    moment = Moment(cast(StateReader, looks), cast(LeadershipPage, looks), DateLine())
    moment.begin()
    moment.snapshot()
    assert moment.leads()
    moment.snapshot()
    moment.end()
    assert looks.order == ["page", "state", "closed"]
    moment.begin()
    assert moment.leads()
    moment.snapshot()
    assert looks.order[3:] == ["page", "state"]


def test_a_client_agent_has_no_state() -> None:
    moment = Moment(None, cast(LeadershipPage, Looks()), DateLine())
    with pytest.raises(StateUnavailableError):
        moment.snapshot()
