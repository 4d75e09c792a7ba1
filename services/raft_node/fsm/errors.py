"""Errors of the FSM."""

from __future__ import annotations


class CommandError(Exception):
    """A command was applied and failed: its result, with the exact text a Consul client sees.

    Every server gets the same error at the same log entry, so this is part of the replicated behaviour."""


class FatalCommandError(Exception):
    """A committed command cannot be applied at all: going on would make this server's state diverge.

    The process must stop; `index` and `message_type` say where."""

    def __init__(self, index: int, message_type: int, reason: str) -> None:
        self.index, self.message_type, self.reason = index, message_type, reason
        super().__init__(
            f"log entry {index} (message type {message_type}) cannot be applied: {reason}; "
            "it was written by a newer version, upgrade this server"
        )


class SnapshotError(Exception):
    """A snapshot stream is malformed or has a record type this version does not know."""
