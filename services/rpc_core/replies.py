"""Replies of servers are read with care: one of another shape fails the call that asked for it, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from services.rpc_core.errors import RpcError
from shared.structs.errors import WireTypeError

_MISSHAPEN = (WireTypeError, LookupError, TypeError, ValueError, AttributeError)
"""What comes of taking an answer for what it is not."""


@contextmanager
def reading(method: str) -> Iterator[None]:
    """Around what takes a reply of `method` apart. Raises RpcError."""
    try:
        yield
    except _MISSHAPEN as error:
        raise RpcError(f"rpc error making call: codec.decoder: reply of {method}: {error}") from None
