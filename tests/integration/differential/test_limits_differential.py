"""Limits of connections and handshakes: the real Consul and our agent let the same connections live."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.agents import PATIENCE_S, Agent, RealConsul
from tests.integration.http.test_http_listeners import HTTPS_PORT, make_certificate
from tests.loopback import LoopbackPool

pytestmark = pytest.mark.real_consul

RPC_PORT = 8300
LIMITS = {
    "http_max_conns_per_client": 4,
    "https_handshake_timeout": "2s",
    "rpc_max_conns_per_client": 3,
    "rpc_handshake_timeout": "2s",
}
"""Handshakes that the tests make have the time that they may take on a busy machine."""
LEADER = b"GET /v1/status/leader HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(scope="module", params=["consul", "proconsul"])
def agent(
    request: pytest.FixtureRequest, real_consul: Path, loopback: LoopbackPool, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RealConsul | Agent]:
    directory, address = tmp_path_factory.mktemp("limits"), loopback()
    certificate, key = make_certificate(directory, address)
    config: dict[str, Any] = {
        "disable_coordinates": True,
        "ports": {"https": HTTPS_PORT},
        "cert_file": str(certificate),
        "key_file": str(key),
        "limits": LIMITS,
    }
    made: RealConsul | Agent
    if request.param == "consul":
        made = RealConsul(address, directory, real_consul, config=config)
    else:
        made = Agent(address, directory, config=config)
    with made.running():
        yield made


def connect(agent: RealConsul | Agent, port: int) -> socket.socket:
    return socket.create_connection((agent.address, port), timeout=PATIENCE_S)


def is_served(sock: socket.socket) -> bool:
    """Whether a request gets an answer; False if the connection is closed instead."""
    try:
        sock.sendall(LEADER)
        response = http.client.HTTPResponse(sock)
        response.begin()
        response.read()
    except (OSError, http.client.HTTPException):
        return False
    return response.status == 200


def is_closed(sock: socket.socket) -> bool:
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def quiet(agent: RealConsul | Agent) -> None:
    for port in (agent.http_port, HTTPS_PORT, RPC_PORT):
        agent.wait_quiet(port)


def test_http_and_https_share_the_limit_per_client(agent: RealConsul | Agent) -> None:
    quiet(agent)
    context = ssl.create_default_context(cafile=str(agent.directory / "cert.pem"))
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            assert is_served(stack.enter_context(connect(agent, agent.http_port)))
            plain = stack.enter_context(connect(agent, HTTPS_PORT))
            assert is_served(stack.enter_context(context.wrap_socket(plain, server_hostname=agent.address)))
        assert not is_served(stack.enter_context(connect(agent, agent.http_port)))
        plain = stack.enter_context(connect(agent, HTTPS_PORT))
        with pytest.raises(OSError, match=r".*"):
            context.wrap_socket(plain, server_hostname=agent.address)
    quiet(agent)
    with connect(agent, agent.http_port) as again:
        assert is_served(again)


def test_silence_before_the_handshake_ends_a_connection(agent: RealConsul | Agent) -> None:
    quiet(agent)
    for port in (HTTPS_PORT, RPC_PORT):
        with connect(agent, port) as silent:
            assert is_closed(silent)


def test_rpc_connections_are_limited_per_client(agent: RealConsul | Agent) -> None:
    quiet(agent)
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(connect(agent, RPC_PORT)) for _ in range(3)]
        for sock in held:
            sock.sendall(b"\0")  # the byte of plain calls
        one_more = stack.enter_context(connect(agent, RPC_PORT))
        with contextlib.suppress(OSError):
            one_more.sendall(b"\0")  # so that it is not its silence that ends it
        assert is_closed(one_more)
        for sock in held:
            sock.settimeout(0.2)
            with pytest.raises(TimeoutError):
                sock.recv(1)
