"""The state machine as consensus sees it: it takes committed commands, and gives and takes whole states.

Implemented over the state store by `services.raft_node.fsm`, and by a dictionary in the simulations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from services.raft_node.core.types import Entry


class Applied(NamedTuple):
    """What one batch did. results: one per entry; an exception instance is the error the caller must see.

    changes: what was touched, for the change record; None if nothing was."""

    results: Sequence[Any]
    changes: Any = None


class NoRoomError(Exception):
    """The batch could not be applied for want of space. Nothing of it was; it can be tried again."""


class UnusableStateError(Exception):
    """A state stream is malformed, or there is no room for it. Nothing has changed."""


class StateReader(Protocol):
    """Where a state stream is read from."""

    def read(self, size: int = -1) -> bytes: ...


class StateMachine(Protocol):
    """applied_index, applied_term: the last command that is in the state, 0 if there is none to trust."""

    @property
    def applied_index(self) -> int: ...

    @property
    def applied_term(self) -> int: ...

    def apply_batch(self, entries: Sequence[Entry]) -> Applied:
        """Applies command entries, all or none. Raises NoRoomError; anything else is fatal."""
        ...

    def stream(self) -> Iterator[bytes]:
        """The state as it is now, in Consul's snapshot encoding, piece by piece. The state may move on meanwhile;
        the iterator shows none of that. Close it if it is not used up."""
        ...

    def restore(self, source: StateReader, index: int, term: int) -> Any:
        """Replaces the state by the stream in `source`, which covers the log up to (index, term).

        Returns the changes, as `Applied` has them. Raises StorageError for a malformed stream."""
        ...

    def prepare(self) -> Any:
        """Begins a restore that is done in steps: a new, empty state that nobody sees yet. Raises
        UnusableStateError."""
        ...

    def fill(self, prepared: Any, source: StateReader) -> None:
        """Loads the stream in `source` into `prepared`; may run in a thread of its own. Raises UnusableStateError."""
        ...

    def adopt(self, prepared: Any, index: int, term: int) -> Any:
        """As `restore`, with a state that is filled already; takes a moment only."""
        ...

    def discard(self, prepared: Any) -> None:
        """`prepared` is not wanted after all."""
        ...

    def reset(self) -> None:
        """Empties the state: applied_index is 0 afterwards."""
        ...
