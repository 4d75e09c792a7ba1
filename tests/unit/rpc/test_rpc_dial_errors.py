"""What a caller reads when another server cannot be reached: Go's words, with the address that the call came from."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from services.rpc_core.server_errors import DialError
from services.rpc_core.server_pool import ServerPool


@pytest.mark.parametrize("bound", [True, False])
async def test_a_refused_connection(loopback: Callable[[], str], bound: bool) -> None:
    here, there = loopback(), loopback()
    with socket.socket() as closed:
        closed.bind((there, 0))
        address = f"{there}:{closed.getsockname()[1]}"
        with pytest.raises(DialError) as error:
            await ServerPool(here if bound else "0.0.0.0").call(address, "Status.Ping", b"\x80", timeout_s=10.0)
    where = f"{here}:0->{address}" if bound else address
    expected = f"rpc error getting client: failed to get conn: dial tcp {where}: connect: connection refused"
    assert str(error.value) == expected
