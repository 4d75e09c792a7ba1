"""A writer and a reader in processes of their own: kills in mid-batch, restarts, rebuilds under the reader."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.state.errors import StateUnavailableError
from shared.state.kvrow import modify_index
from shared.state.reader import StateReader
from shared.state.snapshot import Snapshot

# Every batch sets ten keys to the same number. It prints where it resumed, then writes until it is killed;
# a line on stdin makes it rebuild the store from its own snapshot, or close properly and end.
WRITER = """
import os, select, sys
from services.raft_node.fsm.machine import Entry, Fsm
from shared.state.store import StateStore
from shared.structs import wire
from shared.structs.kv import DirEntry, KVSRequest

store = StateStore.open(sys.argv[1])
fsm = Fsm(store)
print("trusted" if store.trusted else "fresh", store.applied_index, flush=True)
index = store.applied_index

def command(key, value):
    return b"\\x02" + wire.pack(KVSRequest("dc1", "set", DirEntry(key=key, value=value)).to_wire())

while True:
    value = str(index).encode() * 50
    batch = []
    for key in range(10):
        index += 1
        batch.append(Entry(index, 1, command(f"k{key}", value)))
    fsm.apply_batch(batch, 0)
    if select.select([0], [], [], 0)[0]:
        order = os.read(0, 100).decode().strip()
        if order == "rebuild":
            fsm.restore(list(fsm.write_snapshot()), index, 1)
            print("rebuilt", index, flush=True)
        else:
            store.close()
            print("closed", index, flush=True)
            break
"""

DEADLINE_S = 60


@contextmanager
def writer(directory: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return process.stdout.readline().split()


def order(process: subprocess.Popen[str], what: str) -> list[str]:
    assert process.stdin is not None
    process.stdin.write(what + "\n")
    process.stdin.flush()
    return line(process)


def look(snap: Snapshot) -> int:
    """Checks that a view holds whole batches only; the index it was applied to."""
    applied, _term = snap.applied()
    rows = [snap.get(f"k{key}".encode(), None, snap.tables.kvs) for key in range(10)]
    if applied == 0:
        assert rows == [None] * 10
        return 0
    indexes = [modify_index(row) for row in rows if row is not None]
    assert indexes == list(range(applied - 9, applied + 1))
    assert len({row[37:] for row in rows if row is not None}) == 1
    assert snap.index("kvs") == applied
    return applied


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "waited too long"


def current(reader: StateReader) -> int:
    try:
        with reader.snapshot() as snap:
            return look(snap)
    except StateUnavailableError:
        return -1


def test_a_reader_opened_first_finds_the_store_when_it_comes(tmp_path: Path) -> None:
    reader = StateReader(str(tmp_path))
    assert current(reader) == -1
    with writer(tmp_path) as process:
        assert line(process)[0] == "fresh"
        until(lambda: current(reader) > 0)


def test_kills_in_mid_batch_lose_nothing_and_leave_whole_batches(tmp_path: Path) -> None:
    reader = StateReader(str(tmp_path))
    seen = 0
    pause = random.Random(4711)
    for round_number in range(8):
        with writer(tmp_path) as process:
            state, resumed = line(process)
            assert state == ("trusted" if round_number else "fresh")
            assert int(resumed) >= seen
            generation = reader._generation
            stop_at = time.monotonic() + 0.05 + pause.random() * 0.1
            until(lambda floor=int(resumed): current(reader) > floor)
            while time.monotonic() < stop_at:
                now_seen = current(reader)
                assert now_seen >= seen
                seen = now_seen
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert not round_number or reader._generation == generation
        assert current(reader) >= seen


def test_readers_follow_a_rebuild_and_old_views_stay_whole(tmp_path: Path) -> None:
    reader = StateReader(str(tmp_path))
    with writer(tmp_path) as process:
        line(process)
        until(lambda: current(reader) > 0)
        for _round in range(3):
            held = reader.snapshot()
            before = look(held)
            generation = held.generation
            answer, rebuilt_at = order(process, "rebuild")
            assert answer == "rebuilt"
            until(lambda floor=int(rebuilt_at): current(reader) > floor)
            assert look(held) == before
            held.close()
            with reader.snapshot() as snap:
                assert snap.generation > generation
        closed, last = order(process, "close")
        assert closed == "closed"
        process.wait()
    assert current(reader) == int(last)
    assert len(list(tmp_path.glob("store-*"))) == 1


def test_two_readers_in_other_processes_count_their_own_slots(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from shared.state.reader import StateReader\n"
        "reader = StateReader(sys.argv[1])\n"
        "held = reader.snapshot()\n"
        "print('up', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with writer(tmp_path) as process:
        line(process)
        reader = StateReader(str(tmp_path))
        until(lambda: current(reader) > 0)
        others = [
            subprocess.Popen(
                [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for _ in range(3)
        ]
        for other in others:
            assert line(other) == ["up"]
            other.kill()  # with a view open: its slot stays behind
            other.communicate()
        assert order(process, "close")[0] == "closed"
        process.wait()
    with writer(tmp_path) as process:
        assert line(process)[0] == "trusted"
        until(lambda: current(reader) > 0)
        assert reader._environment.reader_check() == 0  # the writer has cleared them
