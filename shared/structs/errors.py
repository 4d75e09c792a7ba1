"""Errors of the struct codecs."""

from __future__ import annotations


class StructError(ValueError):
    """A value that is not what its declaration says."""


class WireTypeError(StructError):
    """A decoded msgpack value has the wrong kind for its field; names struct and field."""


class JsonError(StructError):
    """A JSON body is malformed or does not fit. The text is what Go's encoding/json reports."""


class JsonTypeError(JsonError):
    """A JSON value has the wrong type for its field, or a key is unknown."""
