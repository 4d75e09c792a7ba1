"""Who founds a cluster with whom, and which entries of the Raft configuration are in a newcomer's way."""

from __future__ import annotations

from typing import Any

import pytest

from services.rpc_core.bootstrapping import Conflict, founders
from services.rpc_core.leader.raft_server import RaftServer, stale_entries
from services.rpc_core.members import Member, MemberStatus


def member(number: int, status: int = MemberStatus.ALIVE, **tags: Any) -> Member:
    """A server that expects three, unless `tags` say something else; None takes a tag away."""
    all_tags: dict[str, Any] = {
        "role": "consul",
        "dc": "dc1",
        "id": f"id-{number}",
        "port": "8300",
        "vsn": "2",
        "raft_vsn": "3",
        "build": "1.8.7:",
        "expect": "3",
        **tags,
    }
    kept = {name: value for name, value in all_tags.items() if value is not None}
    return Member(f"n{number}", f"10.0.0.{number}", 8301, kept, status, 1, 5, 2)


def names(members: list[Member]) -> list[str] | None:
    found = founders(members, "dc1", 3)
    assert not isinstance(found, Conflict)
    return None if found is None else [server.name for server in found]


def test_as_many_voters_as_expected_are_waited_for() -> None:
    two = [member(1), member(2)]
    assert names(two) is None
    assert names([*two, member(3)]) == ["n1", "n2", "n3"]
    assert names([*two, member(3, nonvoter="1")]) is None
    assert names([*two, member(3, nonvoter="1"), member(4)]) == ["n1", "n2", "n3", "n4"]
    assert names([*two, member(3, expect=None)]) == ["n1", "n2", "n3"]  # one without the flag joins in


@pytest.mark.parametrize(
    "other",
    [
        member(3, MemberStatus.FAILED),
        member(3, MemberStatus.LEFT),
        member(3, role="node"),
        member(3, dc="dc2"),
        member(3, port="none"),
    ],
    ids=["failed", "left", "client", "elsewhere", "unreadable"],
)
def test_who_does_not_count(other: Member) -> None:
    assert names([member(1), member(2), other]) is None


def test_nobody_founds_anything_with_who_wants_something_else() -> None:
    others = [member(1), member(2), member(3)]
    odd = founders([*others, member(4, expect="5")], "dc1", 3)
    text = "Member has a conflicting expect value. All nodes should expect the same number."
    assert odd == Conflict(text, "n4")
    alone = founders([*others, member(4, expect=None, bootstrap="1")], "dc1", 3)
    assert alone == Conflict("Member has bootstrap mode. Expect disabled.", "n4")


def test_a_server_with_another_address_keeps_its_entry() -> None:
    configured = [RaftServer("a", "10.0.0.1:8300", True), RaftServer("b", "10.0.0.2:8300", True)]
    assert stale_entries(configured, "a", "10.0.0.1:8300") is None
    assert stale_entries(configured, "a", "10.0.0.9:8300") == []
    assert stale_entries(configured, "c", "10.0.0.3:8300") == []
    assert stale_entries(configured, "c", "10.0.0.2:8300") == [configured[1]]
    assert stale_entries(configured, "a", "10.0.0.2:8300") == [configured[1]]
