"""Sessions: what they need, and what follows when they end."""

from __future__ import annotations

import pytest

from services.raft_node.fsm import sessions
from shared.state.errors import StateLookupError
from shared.state.queries import kv, session
from shared.structs.kv import DirEntry
from shared.structs.session import Session, SessionRequest
from tests.unit.fsm.fsm_driver import S1, S2, Driver

DELAY_NS = 15_000_000_000


@pytest.fixture
def held(fsm: Driver) -> Driver:
    """A node with a check, and a session that depends on it and holds two keys."""
    fsm.register("n")
    fsm.register_check("n", "c")
    fsm.session(S1, "n", node_checks=["C"], lock_delay=DELAY_NS)
    fsm.kv("lock", "k1", b"v", session=S1)
    fsm.kv("lock", "k2", b"v", session=S1)
    return fsm


def entry(fsm: Driver, key: str) -> DirEntry | None:
    return fsm.ask(lambda snap: kv.get(snap, key)).value


def test_a_new_session_is_found_in_every_way(held: Driver) -> None:
    found = held.ask(lambda snap: session.get(snap, S1)).value
    assert found is not None
    assert (found.behavior, found.create_index, found.modify_index) == (
        "release",
        found.create_index,
        found.create_index,
    )
    assert held.ask(lambda snap: session.get(snap, S1.upper())).value == found
    assert held.ask(session.all_sessions).value == [found]
    assert held.ask(lambda snap: session.node_sessions(snap, "N")).value == [found]


def test_what_a_session_needs(fsm: Driver) -> None:
    fsm.register("n")
    fsm.register_check("n", "bad", "critical")
    assert str(fsm.session("", "n")) == "Missing session ID"
    assert str(fsm.session(S1, "nope")) == "Missing node registration"
    assert str(fsm.session(S1, "n", node_checks=["x"])) == "Missing check 'x' registration"
    assert str(fsm.session(S1, "n", checks=["bad"])) == "Check 'bad' is in critical state"
    assert str(fsm.session(S1, "n", behavior="forget")) == "Invalid session behavior: forget"
    assert fsm.row("sessions") is None
    assert fsm.session(S1, "n") == S1


def test_a_text_that_is_no_uuid_cannot_be_looked_up(fsm: Driver) -> None:
    with pytest.raises(StateLookupError, match="failed session lookup: index error: UUID must be 36 characters"):
        fsm.ask(lambda snap: session.get(snap, "nonsense"))
    assert str(fsm.destroy("nonsense")) == "failed session lookup: index error: UUID must be 36 characters"


def test_release_frees_the_keys_and_notes_the_delay(held: Driver) -> None:
    held.destroy(S1)
    for key in ("k1", "k2"):
        found = entry(held, key)
        assert found is not None
        assert (found.session, found.lock_index, found.modify_index) == ("", 1, held.index)
    with held.store.snapshot() as snap:
        assert kv.lock_delay_until(snap, "k1") == held.now_ns + DELAY_NS
        assert kv.lock_delay_until(snap, "other") == 0


def test_delete_deletes_the_keys(fsm: Driver) -> None:
    fsm.register("n")
    fsm.session(S1, "n", behavior="delete", lock_delay=10**12)
    fsm.kv("lock", "k", session=S1)
    fsm.destroy(S1)
    assert entry(fsm, "k") is None
    assert fsm.row("tombstones") == fsm.index
    with fsm.store.snapshot() as snap:
        assert kv.lock_delay_until(snap, "k") == fsm.now_ns + 60_000_000_000  # a minute at most


@pytest.mark.parametrize("how", ["critical", "check deleted", "node deleted"])
def test_a_session_ends_with_what_it_depends_on(held: Driver, how: str) -> None:
    if how == "critical":
        held.register_check("n", "c", "critical")
    elif how == "check deleted":
        held.deregister("n", "", "c")
    else:
        held.deregister("n")
    assert held.ask(session.all_sessions).value == []
    found = entry(held, "k1")
    assert found is not None
    assert found.session == ""
    assert ["session", S1] in held.topics
    assert ["kv", "k1"] in held.topics


def test_a_warning_does_not_end_a_session(held: Driver) -> None:
    held.register_check("n", "c", "warning")
    assert len(held.ask(session.all_sessions).value) == 1


def test_an_unknown_session_is_no_error(held: Driver) -> None:
    at = held.row("sessions")
    assert held.destroy(S2) is None
    assert held.row("sessions") == at


def test_the_next_holder_raises_the_lock_counter(held: Driver) -> None:
    held.destroy(S1)
    held.session(S2, "n")
    held.kv("lock", "k1", b"mine", session=S2)
    found = entry(held, "k1")
    assert found is not None
    assert (found.session, found.lock_index) == (S2, 2)


def test_an_unknown_operation_is_refused(fsm: Driver) -> None:
    refused = fsm.command(3, SessionRequest("dc1", "renew", Session(id=S1)))
    assert str(refused) == "Invalid Session operation 'renew'"


def test_an_id_in_use_moves_to_its_new_node(fsm: Driver) -> None:
    """Leaders pick fresh ids, but the log may hold anything: no lookup keeps the old place."""
    for node in ("n", "m"):
        fsm.register(node)
    fsm.session(S1, "n")
    fsm.session(S1, "m")
    assert ["node-sessions", "n"] in fsm.topics
    assert fsm.ask(lambda snap: session.node_sessions(snap, "n")).value == []
    assert [one.node for one in fsm.ask(session.all_sessions).value] == ["m"]
    fsm.deregister("n")
    assert len(fsm.ask(session.all_sessions).value) == 1


def test_delays_that_are_over_are_swept_when_many_have_gathered(fsm: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "_DELAYS_KEPT", 2)
    fsm.register("n")
    for number in range(4):
        fsm.session(S1, "n", lock_delay=1_000_000_000)
        fsm.kv("lock", f"k{number}", session=S1)
        fsm.destroy(S1)
        fsm.now_ns += 600_000_000
    with fsm.store.snapshot() as snap:
        noted = [key for key, _row in snap.scan(snap.tables.lock_delays)]
        assert kv.lock_delay_until(snap, "k3") == fsm.now_ns + 400_000_000
    assert noted == [b"k2", b"k3"]
