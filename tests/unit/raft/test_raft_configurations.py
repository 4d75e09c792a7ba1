"""Changes of the configuration, one server at a time."""

from __future__ import annotations

import random
from typing import Any

import pytest

from services.raft_node.core import RaftCore, bootstrap_entry
from services.raft_node.core import events as ev
from services.raft_node.core import messages as msg
from services.raft_node.core.configuration import (
    ADD_NON_VOTER,
    ADD_VOTER,
    DEMOTE_VOTER,
    REMOVE_SERVER,
    ConfigurationError,
    next_configuration,
)
from services.raft_node.core.types import (
    NON_VOTER,
    Configuration,
    HardState,
    Server,
    Settings,
)
from services.raft_node.log import MemoryLog
from tests.unit.raft.core_under_test import THREE, A, B, C, alone, append, ask, core_of, make_leader, of, perform, sends


def test_changes_go_one_at_a_time() -> None:
    core = alone()
    effects = core.step(ev.ChangeConfiguration("c", ADD_NON_VOTER, "b", B.address), 5.0)
    assert ev.Accepted("c", 3, 2) in effects
    assert core.state.configurations.latest == Configuration((A, B._replace(suffrage=NON_VOTER)))
    [refused] = of(ev.Refused, core.step(ev.ChangeConfiguration("d", ADD_VOTER, "c", C.address), 5.0))
    assert "in progress" in refused.error
    assert of(ev.Commit, perform(core, effects)) == [ev.Commit(3)]  # a non-voter does not count
    effects = core.step(ev.ChangeConfiguration("e", ADD_VOTER, "b", B.address), 5.0)
    assert ev.Accepted("e", 4, 2) in effects
    assert of(ev.Commit, perform(core, effects)) == []  # now it does


def test_no_change_begins_before_an_entry_of_the_own_term_is_committed() -> None:
    """An older leader's change may still be on its way in other logs: two changes at once have no quorum in common."""
    core = core_of()
    ask(core, append(1, (1, 1), commit=1))
    assert core.state.configurations.committed == THREE
    [probe] = sends(make_leader(core), B)
    change = ev.ChangeConfiguration("c", REMOVE_SERVER, "c")
    assert [type(effect) for effect in core.step(change, 5.0)] == [ev.Refused]
    core.step(ev.Durable(2, 2), 5.0)
    core.step(ev.RpcReply(probe.request_id, "b", msg.AppendEntriesReply(2, 1, True)), 5.0)
    assert ev.Accepted("c", 3, 2) in core.step(change, 5.0)


def test_a_change_that_is_not_committed_keeps_the_next_one_from_beginning() -> None:
    core = core_of()
    [probe] = sends(make_leader(core), B)
    core.step(ev.Durable(2, 2), 5.0)
    core.step(ev.RpcReply(probe.request_id, "b", msg.AppendEntriesReply(2, 1, True)), 5.0)
    [sent] = sends(core.step(ev.ChangeConfiguration("c", REMOVE_SERVER, "c"), 5.0), B)
    core.step(ev.Durable(3, 2), 5.0)
    [refused] = of(ev.Refused, core.step(ev.ChangeConfiguration("d", ADD_VOTER, "d", "d:1"), 5.0))
    assert "in progress" in refused.error
    core.step(ev.RpcReply(sent.request_id, "b", msg.AppendEntriesReply(2, 2, True)), 5.0)
    assert ev.Accepted("d", 4, 2) in core.step(ev.ChangeConfiguration("d", ADD_VOTER, "d", "d:1"), 5.0)


@pytest.mark.parametrize(
    ("command_name", "server_id", "address", "expected"),
    [
        (ADD_VOTER, "c", "c:1", (A, B, Server("c", "c:1"))),
        (ADD_NON_VOTER, "c", "c:1", (A, B, Server("c", "c:1", NON_VOTER))),
        (ADD_NON_VOTER, "b", "b:9", (A, Server("b", "b:9"))),
        (DEMOTE_VOTER, "b", "", (A, B._replace(suffrage=NON_VOTER))),
        (DEMOTE_VOTER, "zzz", "", (A, B)),
        (REMOVE_SERVER, "b", "", (A,)),
        (REMOVE_SERVER, "zzz", "", (A, B)),
    ],
)
def test_next_configuration(command_name: str, server_id: str, address: str, expected: tuple[Server, ...]) -> None:
    assert next_configuration(Configuration((A, B)), 5, command_name, server_id, address, 5).servers == expected


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((ADD_VOTER, "c", A.address), "Found duplicate address in configuration: a:8300"),
        ((ADD_VOTER, "", "x:1"), "Empty ID in configuration"),
        ((ADD_VOTER, "c", ""), "Empty address in configuration"),
        ((REMOVE_SERVER, "a"), "Need at least one voter in configuration"),
        ((REMOVE_SERVER, "a", "", 3), r"Configuration changed since 3 \(latest is 5\)"),
        (("Dance", "a"), "unknown configuration change"),
    ],
)
def test_invalid_changes_are_refused(arguments: tuple[Any, ...], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        next_configuration(Configuration((A,)), 5, *arguments)


def test_a_new_server_can_be_bootstrapped_once() -> None:
    core = core_of(snapshot=None, configuration=THREE)
    assert core.step(ev.Bootstrap("b", THREE), 0.1) == [ev.Refused("b", "bootstrap only works on new clusters")]
    log = MemoryLog()
    fresh = RaftCore(Settings("a", A.address), log, HardState(), rng=random.Random(1), now=0.0)
    effects = fresh.step(ev.Bootstrap("b", THREE), 0.1)
    assert effects == [
        ev.SaveHardState(HardState(1)),
        ev.Accepted("b", 1, 1),
        ev.AppendLog([bootstrap_entry(THREE)]),
    ]
    assert fresh.state.configurations.latest == THREE
