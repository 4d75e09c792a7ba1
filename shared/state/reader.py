"""StateReader: what every process but the writer uses. One per process; it survives the writer."""

from __future__ import annotations

from typing import Any

import lmdb

from shared.state.errors import StateBrokenError, StateUnavailableError
from shared.state.generation import GenerationPage, environment_path, read_boot_id
from shared.state.snapshot import Snapshot
from shared.state.tables import Tables, open_environment


class StateReader:
    """Maps the current generation of the store, whenever there is one.

    with reader.snapshot() as snap: ...     # about 1.5 us; raises StateUnavailableError
    reader.available()                      # whether snapshot() would work now
    Never waits: who wants to wait tries again. Belongs to one thread."""

    def __init__(self, directory: str, boot_id: str | None = None) -> None:
        self._directory, self._boot_id = directory, boot_id or read_boot_id()
        self._page: GenerationPage | None = None
        self._generation = 0
        self._environment: Any = None
        self._tables: Tables | None = None

    def snapshot(self) -> Snapshot:
        """A view of the newest committed state. Raises StateUnavailableError while there is no store."""
        page = self._page
        if page is None or page.read() != self._generation or self._environment is None:
            self._open()
        assert self._tables is not None
        return Snapshot(self._environment.begin(), self._tables, self._generation)

    def available(self) -> bool:
        try:
            self.snapshot().close()
        except StateUnavailableError:
            return False
        return True

    def close(self) -> None:
        """Unmaps the store. Snapshots still open stay valid until they are closed."""
        self._environment, self._tables, self._generation = None, None, 0

    def _open(self) -> None:
        """Opens the current generation; the old one goes when its last snapshot does."""
        self.close()
        self._page = self._page or GenerationPage.open(self._directory)
        # The writer may move on between the look at the page and the opening: a few attempts settle that.
        for _attempt in range(5):
            if self._page is None or (number := self._page.read()) == 0:
                break
            path = environment_path(self._directory, number)
            if not self._page.vouches_for(path, self._boot_id):
                continue
            try:
                environment = open_environment(path, write=False)
                tables = Tables(environment, create=False)
            except (lmdb.Error, StateBrokenError):
                continue
            environment.reader_check()
            self._environment, self._tables, self._generation = environment, tables, number
            return
        raise StateUnavailableError(self._directory)
