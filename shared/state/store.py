"""StateStore: the one writer's side.

LMDB writes without fsync here. After a kill of the process the committed pages are all in the page cache, so
the store is as good as before; after a power cut or reboot any part of it may be missing. The generation page
tells the two apart: it names the boot and the file (a copy is not the original) it was published for. Besides
there is a clean mark, left after everything was synced on close. A store that is not trusted is reset and
rebuilt from the Raft snapshot and log; it becomes visible to readers with its first complete commit."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lmdb

from shared.state.errors import StateBrokenError, StateFullError
from shared.state.generation import GenerationPage, environment_path, file_identity, read_boot_id
from shared.state.rebuilding import NewGeneration, write_transaction
from shared.state.snapshot import Snapshot
from shared.state.tables import SCHEMA, Tables, as_state_error, open_environment, pack_u64
from shared.state.transaction import WriteTransaction

_CLEAN = "clean"
"""File that says which generation a proper close has synced: number and inode of its data file."""


class StateStore:
    """The store of one server agent, open for writing. Create it with `StateStore.open`.

    trusted             whether what was found may be resumed; if not: reset() and rebuild
    applied_index/term  the last log entry contained
    with store.write() as tx: ...       one batch; raises StateFullError, StateBrokenError
    with store.snapshot() as snap: ...  read in this process (StateReader's snapshot API)
    with store.rebuild() as tx: ...     replaces everything; readers see the old state until it is complete
    store.begin() .adopt() .discard()   the same in steps, the work between them in another thread
    store.close()                       syncs and marks clean, so that even a reboot keeps it trusted"""

    def __init__(self, directory: str, page: GenerationPage, boot_id: str) -> None:
        self._directory, self._page, self._boot_id = directory, page, boot_id
        self._environment: Any = None
        self._tables: Tables | None = None
        self._reserved = 0
        self._being_built: dict[int, str] = {}
        self.generation = 0
        self.trusted = False
        self.applied_index = 0
        self.applied_term = 0

    @classmethod
    def open(cls, directory: str, boot_id: str | None = None) -> StateStore:
        """Opens the store in `directory`, which is made if need be.

        The result is `trusted` and resumes at `applied_index`, or is not and holds an empty new generation
        that readers do not see before the first `write` or `rebuild` commits."""
        Path(directory).mkdir(mode=0o700, parents=True, exist_ok=True)
        store = cls(directory, GenerationPage.create(directory), boot_id or read_boot_id())
        if not store._resume():
            store.reset()
        store._remove_other_generations()
        return store

    # Opening ---------------------------------------------------------------------------------------------

    def _resume(self) -> bool:
        """Takes over the generation that was current if it can be trusted. LMDB does not get to see a file
        that is not: it has no checksums and believes what it maps."""
        number = self._page.read()
        if not self._page.vouches_for(environment_path(self._directory, number), self._boot_id):
            number = self._clean_generation()
        self._forget_clean_mark()
        if number == 0:
            return False
        self.generation = number
        path = environment_path(self._directory, number)
        try:
            environment = open_environment(path, write=True)
            tables = Tables(environment, create=True)
            with environment.begin() as txn:
                schema = txn.get(b"schema", db=tables.meta)
                applied = Snapshot(txn, tables, number).applied()
        except (lmdb.Error, StateBrokenError):
            return False
        if schema != pack_u64(SCHEMA):
            environment.close()
            return False
        environment.reader_check()
        self._environment, self._tables = environment, tables
        (self.applied_index, self.applied_term), self.trusted = applied, True
        self._publish()
        return True

    def _clean_generation(self) -> int:
        """The generation a proper close has left complete on disk, 0 if there is none."""
        try:
            number, inode = (int(part) for part in Path(self._directory, _CLEAN).read_text().split())
            matches = file_identity(environment_path(self._directory, number))[1] == inode
        except (FileNotFoundError, ValueError):
            return 0
        return number if matches else 0

    def _forget_clean_mark(self) -> None:
        """Before the first write: a later power cut must not find the mark over half written pages."""
        with contextlib.suppress(FileNotFoundError):
            Path(self._directory, _CLEAN).unlink()
            _sync_directory(self._directory)

    def reset(self) -> None:
        """Throws everything away and starts an empty generation; readers see it from its first commit on."""
        self._close_environment()
        self.generation = self._next_number()
        self._page.withdraw(self.generation)
        path = self._fresh_directory(self.generation)
        self._environment, self._tables = self._create(path)
        self.trusted, self.applied_index, self.applied_term = False, 0, 0

    def _next_number(self) -> int:
        return max(self._page.last_number(), self._page.read(), self.generation, self._reserved) + 1

    def _fresh_directory(self, number: int) -> str:
        path = environment_path(self._directory, number)
        shutil.rmtree(path, ignore_errors=True)
        Path(path).mkdir(mode=0o700)
        return path

    def _create(self, path: str) -> tuple[Any, Tables]:
        try:
            environment = open_environment(path, write=True)
            tables = Tables(environment, create=True)
            with environment.begin(write=True) as txn:
                txn.put(b"schema", pack_u64(SCHEMA), db=tables.meta)
        except lmdb.Error as error:
            raise as_state_error(self._directory, error) from error
        return environment, tables

    # Reading and writing ---------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """A view of what is committed, for the writer's own process."""
        assert self._tables is not None
        return Snapshot(self._environment.begin(), self._tables, self.generation)

    @contextlib.contextmanager
    def write(self) -> Iterator[WriteTransaction]:
        """One batch: commits at the end of the block, undoes everything if the block raises.

        Raises StateFullError when there is no room (retry when there is), StateBrokenError when only a
        rebuild helps."""
        assert self._tables is not None
        with write_transaction(self._environment, self._tables, self.generation, self._directory) as tx:
            yield tx
            applied = tx.applied()
        self.applied_index, self.applied_term = applied
        if not self.trusted:
            self._publish()

    @contextlib.contextmanager
    def rebuild(self) -> Iterator[WriteTransaction]:
        """Replaces the whole state with what the block writes into an empty store.

        Readers go on with the old state and switch when the block has ended; if it raises, nothing changed."""
        new = self.begin()
        try:
            with new.write() as tx:
                yield tx
        except BaseException:
            self.discard(new)
            raise
        self.adopt(new)

    def begin(self) -> NewGeneration:
        """An empty state, to be filled and then adopted or discarded. There may be several at a time.

        Raises StateFullError, StateBrokenError."""
        number = self._reserved = self._next_number()
        path = self._fresh_directory(number)
        self._being_built[number] = path
        try:
            return NewGeneration(number, path, *self._create(path))
        except BaseException:
            del self._being_built[number]
            shutil.rmtree(path, ignore_errors=True)
            raise

    def adopt(self, new: NewGeneration) -> None:
        """From now on `new`, which is complete and says how far it goes (`set_applied`), is the state."""
        old_environment = self._environment
        self._environment, self._tables, self.generation = new.environment, new.tables, new.number
        del self._being_built[new.number]
        with self.snapshot() as snap:
            self.applied_index, self.applied_term = snap.applied()
        self._publish()
        if old_environment is not None:
            old_environment.close()
        self._remove_other_generations()

    def discard(self, new: NewGeneration) -> None:
        """`new` is not wanted after all."""
        self._being_built.pop(new.number, None)
        new.environment.close()
        shutil.rmtree(new.path, ignore_errors=True)

    def _publish(self) -> None:
        """Points readers at this generation; from now on it is the store."""
        self._page.publish(self.generation, environment_path(self._directory, self.generation), self._boot_id)
        self.trusted = True

    # Ending ----------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Syncs everything to disk and marks the store clean. It cannot be used afterwards."""
        if self._environment is None or self._tables is None:
            return
        if self.trusted:
            with contextlib.suppress(lmdb.Error, OSError):  # no mark: not trusted after the next boot
                self._environment.sync(True)
                self._leave_clean_mark()
        self._close_environment()

    def _leave_clean_mark(self) -> None:
        inode = file_identity(environment_path(self._directory, self.generation))[1]
        fd = os.open(Path(self._directory, _CLEAN), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(fd, f"{self.generation} {inode}\n".encode())
            os.fsync(fd)
        finally:
            os.close(fd)
        _sync_directory(self._directory)

    def _close_environment(self) -> None:
        if self._environment is not None:
            self._environment.close()
        self._environment = self._tables = None

    def _remove_other_generations(self) -> None:
        """Removes what earlier generations left. Readers that still map them keep their pages."""
        keep = {environment_path(self._directory, n) for n in (self.generation, self._page.read())}
        keep |= set(self._being_built.values())
        for path in Path(self._directory).glob("store-*"):
            if str(path) not in keep:
                shutil.rmtree(path, ignore_errors=True)


def _sync_directory(directory: str) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


__all__ = ["StateBrokenError", "StateFullError", "StateStore"]
