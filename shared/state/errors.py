"""Errors of the state store."""

from __future__ import annotations


class StateError(Exception):
    """Base of everything the state store raises."""


class StateUnavailableError(StateError):
    """No store can be read yet: its writer has not created it, or is rebuilding it. Retry shortly."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        super().__init__(f"no state store in {directory} yet: retry when raft_node has started")


class StateFullError(StateError):
    """A write found no room: the disk is full or the map is. Nothing of the batch was written."""

    def __init__(self, directory: str, reason: str) -> None:
        self.directory, self.reason = directory, reason
        super().__init__(f"state store in {directory} is full ({reason}): free disk space, then retry")


class StateBrokenError(StateError):
    """The store failed in a way that only `reset` and a rebuild from snapshot and log can mend."""

    def __init__(self, directory: str, reason: str) -> None:
        self.directory, self.reason = directory, reason
        super().__init__(f"state store in {directory} cannot be used ({reason}): it must be rebuilt")


class StateLookupError(StateError):
    """A query's key cannot be looked up at all; the text is what Consul answers."""
