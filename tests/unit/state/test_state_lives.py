"""The store through any sequence of lives: batches, rebuilds, kills, closes, reboots, damage, against a model.

Whatever happens, what it shows is a state that was once complete, and it is trusted exactly when it is the newest."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from shared.state.generation import environment_path
from shared.state.store import StateStore

KEYS = st.sampled_from([b"a", b"b", b"c"])
VALUES = st.binary(min_size=1, max_size=3)


class Lives(RuleBasedStateMachine):
    """Model: `rows` and `applied` of the newest complete state, or of none."""

    def __init__(self) -> None:
        super().__init__()
        self._scratch = tempfile.TemporaryDirectory()
        self.directory = self._scratch.name
        self.boot = 1
        self.rows: dict[bytes, bytes] = {}
        self.applied = (0, 0)
        self.shown = False
        """Whether readers see a state."""
        self.store: StateStore | None = None

    @initialize()
    def first_start(self) -> None:
        self.start()

    def start(self) -> None:
        self.store = StateStore.open(self.directory, f"boot-{self.boot}")

    def forget(self) -> None:
        self.rows, self.applied, self.shown = {}, (0, 0), False

    def commit(self, tx: Any, key: bytes, value: bytes) -> None:
        tx.put(key, value, db=tx.tables.settings)
        tx.set_applied(self.applied[0] + 1, self.boot)

    @rule(key=KEYS, value=VALUES)
    def write(self, key: bytes, value: bytes) -> None:
        assert self.store is not None
        with self.store.write() as tx:
            self.commit(tx, key, value)
        self.rows[key] = value
        self.applied, self.shown = (self.applied[0] + 1, self.boot), True

    @rule(key=KEYS, value=VALUES)
    def write_and_fail(self, key: bytes, value: bytes) -> None:
        assert self.store is not None
        with contextlib.suppress(InterruptedError), self.store.write() as tx:
            self.commit(tx, key, value)
            raise InterruptedError

    @rule(key=KEYS, value=VALUES)
    def rebuild(self, key: bytes, value: bytes) -> None:
        assert self.store is not None
        with self.store.rebuild() as tx:
            self.commit(tx, key, value)
        self.rows = {key: value}
        self.applied, self.shown = (self.applied[0] + 1, self.boot), True

    @rule(key=KEYS, value=VALUES)
    def rebuild_and_fail(self, key: bytes, value: bytes) -> None:
        assert self.store is not None
        with contextlib.suppress(InterruptedError), self.store.rebuild() as tx:
            self.commit(tx, key, value)
            raise InterruptedError

    @rule()
    def reset(self) -> None:
        assert self.store is not None
        self.store.reset()
        self.forget()

    @rule()
    def kill_and_start(self) -> None:
        """The process dies: its pages stay in the page cache."""
        assert self.store is not None
        self.store._close_environment()
        self.start()

    @rule()
    def close_and_start(self) -> None:
        assert self.store is not None
        self.store.close()
        self.start()

    @rule()
    def reboot_after_a_close(self) -> None:
        """Everything was synced: only what had become visible counts."""
        assert self.store is not None
        self.store.close()
        self.boot += 1
        self.start()

    @rule()
    def power_cut(self) -> None:
        assert self.store is not None
        self.store._close_environment()
        self.boot += 1
        self.start()
        self.forget()

    @precondition(lambda self: self.shown)
    @rule()
    def the_file_is_lost(self) -> None:
        assert self.store is not None
        number = self.store.generation
        self.store._close_environment()
        Path(environment_path(self.directory, number), "data.mdb").unlink()
        self.start()
        self.forget()

    @invariant()
    def shows_the_newest_complete_state(self) -> None:
        if self.store is None:
            return
        assert self.store.trusted == self.shown
        assert (self.store.applied_index, self.store.applied_term) == self.applied
        with self.store.snapshot() as snap:
            assert dict(snap.scan(snap.tables.settings)) == self.rows
            assert snap.applied() == self.applied
        visible = self.store._page.read()
        assert visible == (self.store.generation if self.shown else 0)
        kept = {path.name for path in Path(self.directory).glob("store-*")}
        assert Path(environment_path("", self.store.generation)).name in kept

    def teardown(self) -> None:
        if self.store is not None:
            self.store._close_environment()
        self._scratch.cleanup()


Lives.TestCase.settings = settings(max_examples=40, stateful_step_count=25)
TestLives = Lives.TestCase
