"""What a leader tells the other processes before it has applied what earlier leaders have acknowledged."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from services.raft_node.core import events as ev
from services.raft_node.core.types import COMMAND, LEADER, Entry
from services.raft_node.machine import Applied, NoRoomError
from services.raft_node.opening import open_storage
from services.raft_node.shell import RaftNode
from services.raft_node.store_machine import StoreMachine
from shared.config.runtime import RuntimeConfig
from shared.state.leadership import FILE, LeadershipPage
from shared.structs.commands import KVS
from shared.structs.kv import DirEntry, KVSRequest
from shared.structs.wire import pack
from tests.unit.raft.core_under_test import append

SET = KVSRequest(datacenter="dc1", op="set", dir_ent=DirEntry(key="k", value=b"v"))


class Waiter:
    """Whoever asked for a read. answers: the index, or the code of the failure."""

    def __init__(self) -> None:
        self.answers: list[Any] = []

    def reply(self, value: Any) -> None:
        self.answers.append(value)

    def fail(self, code: str, _text: str, _data: Any = None) -> None:
        self.answers.append(code)


async def test_a_leader_whose_state_has_no_room_answers_no_reads_before_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    """Entry 2 came from another leader, which may have told a client that it is done. Entry 3 is the first of its own:
    that it is committed says that entry 2 is, too, and not that it is applied."""
    config = RuntimeConfig.dev(tmp_path)
    storage = open_storage(config)
    apply_batch, full = StoreMachine.apply_batch, [True]

    def apply_if_there_is_room(machine: StoreMachine, entries: Sequence[Entry]) -> Applied:
        if full:
            raise NoRoomError("no room")
        return apply_batch(machine, entries)

    monkeypatch.setattr(StoreMachine, "apply_batch", apply_if_there_is_room)
    node = RaftNode(config, storage, random.Random(1))
    page = LeadershipPage.open(os.path.join(config.state_dir, FILE))
    core = node.replica.core
    node.peers.active = True  # other servers have been heard of: the page is written after each event
    node.guarded(node.replica.start)
    earlier = Entry(2, 2, COMMAND, KVS + pack(SET.to_wire()))
    slot = SimpleNamespace(answer=lambda reply, error: None)
    node.feed(ev.RpcRequest(slot, append(2, (1, 1), (earlier,))))
    while core.role != LEADER:
        await trio.sleep_until(core.deadline)
        node.feed(ev.Tick())
    assert (core.commit_index, node.replica.applied_index) == (3, 0)
    seen = page.read()
    assert (seen.role, seen.commit_index, seen.applied_index, seen.ready) == ("leader", 3, 0, False)
    waiter: Any = Waiter()
    node.replica.read(waiter)
    assert waiter.answers == ["unavailable"]

    full.clear()
    node.guarded(node.replica.retry_apply)
    seen = page.read()
    assert (seen.applied_index, seen.ready) == (3, True)
    node.replica.read(waiter)
    assert waiter.answers[1:] == [3]
    storage.close()


async def test_the_page_never_says_more_than_a_state_that_begins_anew_holds(tmp_path: Path) -> None:
    """Followers answer confirmed reads by it while the rest of the event, with its waits for the disk, is performed."""
    config = RuntimeConfig.dev(tmp_path)
    storage = open_storage(config)
    node = RaftNode(config, storage, random.Random(1))
    page = LeadershipPage.open(os.path.join(config.state_dir, FILE))
    node.replica.applied_index = 50
    node.guarded(lambda: node.applied(50, None))
    assert page.read().applied_index == 50
    node.replica.applied_index = 0
    node.applied(0, None)
    assert page.read().applied_index == 0
    storage.close()
