"""What a caller reads when another server cannot be reached: Go's words, with the address that the call came from."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest
import trio

from shared.server_rpc.errors import DialError
from shared.server_rpc.pool import ServerPool


async def failure_of(pool: ServerPool, address: str) -> DialError:
    async with trio.open_nursery() as nursery:
        await nursery.start(pool.run)
        with pytest.raises(DialError) as error:
            await pool.call(address, "Status.Ping", b"\x80", timeout_s=10.0)
        nursery.cancel_scope.cancel()
    return error.value


@pytest.mark.parametrize("bound", [True, False])
async def test_a_refused_connection(loopback: Callable[[], str], bound: bool) -> None:
    here, there = loopback(), loopback()
    with socket.socket() as closed:
        closed.bind((there, 0))
        address = f"{there}:{closed.getsockname()[1]}"
        error = await failure_of(ServerPool(here if bound else "0.0.0.0"), address)
    where = f"{here}:0->{address}" if bound else address
    expected = f"rpc error getting client: failed to get conn: dial tcp {where}: connect: connection refused"
    assert str(error) == expected


@pytest.mark.parametrize("port", [-5, 99_999, 1 << 40, 1 << 70])
async def test_a_port_that_is_none(port: int) -> None:
    """It is what a member says of itself."""
    error = await failure_of(ServerPool("0.0.0.0"), f"127.0.0.1:{port}")
    assert str(error).startswith(f"rpc error getting client: failed to get conn: dial tcp 127.0.0.1:{port}: ")


async def test_a_pool_that_has_ended_dials_no_more() -> None:
    with pytest.raises(DialError, match="the agent is being stopped"):
        await ServerPool("0.0.0.0").call("127.0.0.1:1", "Status.Ping", b"\x80", timeout_s=10.0)
