"""What a template function refuses."""

from __future__ import annotations


class FunctionError(ValueError):
    """A function refuses its arguments; the message is go-sockaddr's."""
