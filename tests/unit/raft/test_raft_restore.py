"""A snapshot from outside replaces the state of the cluster: the leader's rules, and the two halves of the store."""

from __future__ import annotations

import os
import threading
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from services.raft_node.core import events as ev
from services.raft_node.core import messages as msg
from services.raft_node.core.configuration import ADD_VOTER
from services.raft_node.core.state import NOT_LEADER, RESTORED
from services.raft_node.core.types import COMMAND, Configuration
from services.raft_node.fsm.errors import SnapshotError
from services.raft_node.fsm.machine import Fsm
from services.raft_node.log import FileSnapshots
from services.raft_node.log.disk import OsDisk
from services.raft_node.log.errors import StorageError
from services.raft_node.store_machine import StoreMachine
from services.raft_node.user_snapshots import SNAPSHOT_VERSION, UserSnapshots
from shared.ipc import RemoteError
from shared.state.errors import StateFullError
from shared.state.rebuilding import NewGeneration
from shared.state.store import StateStore
from shared.structs.wire import pack
from tests.unit.raft.core_under_test import A, B, core_of, make_leader, of, plain

ALONE = Configuration((A,))


def kinds(effects: list[ev.Effect]) -> list[str]:
    return [type(effect).__name__ for effect in plain(effects)]


def test_a_follower_restores_nothing() -> None:
    assert core_of().restore_problem() == NOT_LEADER


def test_a_sole_leader_begins_its_log_anew_behind_the_snapshot() -> None:
    core = core_of(configuration=ALONE)
    core.step(ev.Tick(), 5.0)
    last = core.log.last_index
    core.step(ev.Durable(last, core.term), 2.0)
    core.step(ev.Propose("waits", [(COMMAND, b"lost", b"")]), 2.0)
    assert core.restore_problem() == ""
    effects = core.step(ev.Restored(100), 2.1)
    assert kinds(effects) == ["Dropped", "RestoreSnapshot", "ResetLog"]
    dropped, restore, reset = plain(effects)
    assert isinstance(dropped, ev.Dropped)
    assert (dropped.error, dropped.unknown) == (RESTORED, True)
    assert (restore, reset) == (ev.RestoreSnapshot(100, core.term), ev.ResetLog(101))
    assert (core.commit_index, core.log.last_index, core.log.applied_index) == (100, 100, 100)
    accepted = plain(core.step(ev.Propose("next", [(COMMAND, b"x", b"")]), 2.2))[0]
    assert accepted == ev.Accepted("next", 101, core.term)
    assert not core.log.mark_durable(last + 1, core.term)  # what the disk still says of the old log is void


def test_followers_have_to_take_the_snapshot() -> None:
    core = core_of()
    appends = [send for send in of(ev.Send, make_leader(core)) if send.request.entries]
    assert {send.server.id for send in appends} == {"b", "c"}
    core.step(ev.Durable(core.log.last_index, core.term), 5.0)
    core.step(ev.Restored(50), 5.1)
    effects: list[ev.Effect] = []
    for send in appends:  # what was on its way arrives, and says nothing of the new state
        reply = msg.AppendEntriesReply(core.term, 2, True)
        effects += core.step(ev.RpcReply(send.request_id, send.server.id, reply), 5.2)
    assert {send.server.id for send in of(ev.SendSnapshot, effects)} == {"b", "c"}
    assert not of(ev.Commit, effects)
    for send in of(ev.SendSnapshot, effects):
        installed = msg.InstallSnapshotReply(core.term, True)
        core.step(ev.RpcReply(send.request_id, send.server.id, installed), 5.3)
    effects = core.step(ev.Propose("t", [(COMMAND, b"x", b"")]), 5.4)
    sent = [send for send in of(ev.Send, effects) if send.request.entries]
    assert [entry.index for send in sent for entry in send.request.entries] == [51, 51]


def test_a_configuration_that_is_not_committed_yet_has_to_wait() -> None:
    core = core_of(configuration=ALONE)
    core.step(ev.Tick(), 5.0)
    core.step(ev.Durable(core.log.last_index, core.term), 2.0)
    core.step(ev.ChangeConfiguration("t", ADD_VOTER, B.id, B.address), 2.0)
    assert core.restore_problem().startswith("cannot restore snapshot now, wait until the configuration entry at ")


KEY = 2


def stream(*keys: str) -> bytes:
    data = pack({"LastIndex": 9})
    for key in keys:
        entry = {"Key": key, "Value": "v", "Flags": 0, "LockIndex": 0, "CreateIndex": 3, "ModifyIndex": 9}
        data += bytes([KEY]) + pack(entry)
    return data


def keys_of(store: StateStore) -> list[bytes]:
    with store.snapshot() as snap:
        return [bytes(key) for key, _ in snap.scan(snap.tables.kvs)]


def test_a_state_is_filled_in_a_thread_and_seen_by_nobody_before_it_is_adopted(tmp_path: Path) -> None:
    store = StateStore.open(str(tmp_path))
    fsm = Fsm(store)
    fsm.restore([stream("old")], 5, 1)
    new = fsm.prepare()
    thread = threading.Thread(target=fsm.fill, args=(new, [stream("a", "b")]))
    thread.start()
    thread.join()
    assert len(keys_of(store)) == 1
    with store.write() as tx:  # the current state goes on meanwhile
        tx.set_applied(6, 1)
    generation = store.generation
    fsm.adopt(new, 70, 2)
    assert (len(keys_of(store)), store.applied_index, store.applied_term) == (2, 70, 2)
    assert store.generation > generation
    with store.write() as tx:
        tx.set_applied(71, 2)
    assert store.applied_index == 71
    assert len(list(tmp_path.glob("store-*"))) == 1


def test_a_malformed_state_is_discarded_and_leaves_nothing(tmp_path: Path) -> None:
    store = StateStore.open(str(tmp_path))
    fsm = Fsm(store)
    fsm.restore([stream("old")], 5, 1)
    new = fsm.prepare()
    with pytest.raises(SnapshotError):
        fsm.fill(new, [stream("a") + b"\xee\xc0"])
    fsm.discard(new)
    assert (len(keys_of(store)), store.applied_index) == (1, 5)
    assert len(list(tmp_path.glob("store-*"))) == 1


def test_two_states_can_be_built_at_a_time(tmp_path: Path) -> None:
    """A leader that has lost its office while it prepared gets the new leader's snapshot."""
    store = StateStore.open(str(tmp_path))
    fsm = Fsm(store)
    fsm.restore([stream("old")], 5, 1)
    new = fsm.prepare()
    fsm.fill(new, [stream("a", "b", "c")])
    fsm.restore([stream("x", "y")], 8, 2)
    assert len(keys_of(store)) == 2
    fsm.adopt(new, 9, 2)
    assert len(keys_of(store)) == 3


def test_a_snapshot_gets_its_index_when_it_is_finished(tmp_path: Path) -> None:
    snapshots = FileSnapshots(OsDisk(), str(tmp_path))
    writer = snapshots.create(1, 1, ALONE, 1, 1000)
    writer.write(b"state")
    writer.sync()
    made = snapshots.newest()
    assert made is None
    meta = writer.finish(snapshots.create(90, 4, ALONE, 1, 2000)._meta)
    assert (meta.index, meta.term, meta.size) == (90, 4, 5)
    newest = snapshots.newest()
    assert newest is not None
    assert newest.id == "4-90-2000"
    reader = snapshots.open(newest)
    assert reader.read() == b"state"
    reader.close()


def test_a_stream_of_a_state_that_was_replaced_ends_as_an_error_of_the_storage(tmp_path: Path) -> None:
    """Not as one nobody expects: a follower that takes a snapshot may get the leader's in the middle."""
    store = StateStore.open(str(tmp_path))
    machine = StoreMachine(store)
    machine.restore(BytesIO(stream(*(f"key-{number}" for number in range(5000)))), 5, 1)
    pieces = machine.stream()
    next(pieces)
    machine.restore(BytesIO(stream("new")), 9, 1)
    with pytest.raises(StorageError, match="the state was replaced"):
        list(pieces)
    assert list(machine.stream())


async def test_a_restore_that_finds_no_room_lets_go_of_what_it_began(tmp_path: Path) -> None:
    class FullStore(StateStore):
        def begin(self) -> NewGeneration:
            raise StateFullError("state", "no room")

    snapshots = FileSnapshots(OsDisk(), str(tmp_path / "raft"))
    core = core_of(configuration=ALONE)
    core.step(ev.Tick(), 5.0)
    core.step(ev.Durable(core.log.last_index, core.term), 5.0)
    machine = StoreMachine(FullStore.open(str(tmp_path / "state")))
    replica = SimpleNamespace(core=core, machine=machine, snapshots=snapshots)
    node: Any = SimpleNamespace(taking=trio.Lock(), replica=replica)
    request: Any = SimpleNamespace(payload={"path": "", "size": 0, "index": 1, "version": SNAPSHOT_VERSION})
    with pytest.raises(RemoteError, match=r"failed to restore snapshot: .*no room"):
        await UserSnapshots(node)._restore(request)
    left = [name for _, directories, _ in os.walk(tmp_path / "raft") for name in directories]
    assert not any(name.endswith(".tmp") for name in left)
    assert not node.taking.locked()
