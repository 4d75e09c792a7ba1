"""Why a command could not do its work. The messages are shown to the user as they are."""

from __future__ import annotations


class SettingsError(Exception):
    """Flags and variables do not describe an agent that could be asked (unknown scheme, unreadable file)."""


class ApiError(Exception):
    """The agent did not answer, or not with what was hoped for."""


class TransportError(ApiError):
    """No answer, or only half of one: refused, reset, cut off, not HTTP."""


class ShowHelp(Exception):
    """The command does nothing by itself (a group of commands): show its help and end with status 1."""
