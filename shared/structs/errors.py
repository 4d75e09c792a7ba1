"""Errors of the struct codecs."""

from __future__ import annotations


class StructError(ValueError):
    """A value that is not what its declaration says."""


class WireTypeError(StructError):
    """A decoded msgpack value has the wrong kind for its field; names struct and field."""


class RefusedError(StructError):
    """A well-formed request that a server refuses before the log; the text is what its client must see."""


class JsonError(StructError):
    """A JSON body is malformed or does not fit. The text is what Go's encoding/json reports."""


class JsonTypeError(JsonError):
    """A JSON value has the wrong type for its field, or a key is unknown.

    shown: what was found ("number 1.5"); go_type: what was expected. Both empty for unknown keys."""

    def __init__(self, text: str, shown: str = "", go_type: str = "") -> None:
        self.shown, self.go_type = shown, go_type
        super().__init__(text)
