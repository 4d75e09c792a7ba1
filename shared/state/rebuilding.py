"""NewGeneration: a whole state being written beside the one that is in use. Nobody sees it before it is adopted.

A thread of its own may fill it while the writer's process goes on with the state there is; only making it
(`StateStore.begin`) and ending it (`adopt`, `discard`) belong to the thread that owns the store."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import lmdb

from shared.state.tables import Tables, as_state_error
from shared.state.transaction import WriteTransaction


class NewGeneration:
    """Fill it with `write`, as often as is convenient: a transaction that is not too large is kinder to memory."""

    def __init__(self, number: int, path: str, environment: Any, tables: Tables) -> None:
        self.number, self.path, self.environment, self.tables = number, path, environment, tables

    @contextlib.contextmanager
    def write(self) -> Iterator[WriteTransaction]:
        """One transaction: commits at the end of the block, undoes everything if the block raises.

        Raises StateFullError, StateBrokenError."""
        with write_transaction(self.environment, self.tables, self.number, self.path) as tx:
            yield tx


@contextlib.contextmanager
def write_transaction(environment: Any, tables: Tables, number: int, path: str) -> Iterator[WriteTransaction]:
    """A write transaction with LMDB's errors as StateError."""
    try:
        txn = environment.begin(write=True)
    except lmdb.Error as error:
        raise as_state_error(path, error) from error
    tx = WriteTransaction(txn, tables, number)
    try:
        yield tx
        tx.flush()
        txn.commit()
    except lmdb.Error as error:
        _abort(txn)
        raise as_state_error(path, error) from error
    except BaseException:
        _abort(txn)
        raise


def _abort(txn: Any) -> None:
    with contextlib.suppress(lmdb.Error):
        txn.abort()
