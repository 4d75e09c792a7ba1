"""HTTPS listeners are opened as those of HTTP are: the same refusals, and Unix sockets with owner and mode."""

from __future__ import annotations

import socket
import ssl
import stat
from pathlib import Path

from tests.agents import PATIENCE_S, Agent
from tests.integration.http.test_http_listeners import HTTPS_PORT, make_certificate
from tests.loopback import LoopbackPool


def tls_agent(address: str, directory: Path, **config: object) -> Agent:
    certificate, key = make_certificate(directory, address)
    settings = {"ports": {"https": HTTPS_PORT}, "cert_file": str(certificate), "key_file": str(key), **config}
    return Agent(address, directory, config=settings)


def test_a_unix_socket_with_tls_has_the_wanted_mode_and_goes_with_its_listener(
    loopback: LoopbackPool, tmp_path: Path
) -> None:
    path, address = tmp_path / "tls.sock", loopback()
    agent = tls_agent(address, tmp_path, addresses={"https": f"{address} unix://{path}"}, unix_sockets={"mode": "0600"})
    with agent.running():
        agent.wait_output(f"Started HTTPS server: address={path} network=unix")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        context = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
        with socket.socket(socket.AF_UNIX) as plain:
            plain.settimeout(PATIENCE_S)
            plain.connect(str(path))
            with context.wrap_socket(plain, server_hostname=address) as sock:
                sock.sendall(b"GET /v1/status/leader HTTP/1.1\r\nHost: a\r\n\r\n")
                assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
        agent.stop()
        assert not path.exists()
        for shown in (f"{address}:{HTTPS_PORT} network=tcp", f"{path} network=unix"):
            assert f"Stopping server: protocol=HTTPS address={shown}" in agent.output()


def test_an_https_port_in_use_is_refused_with_the_flag_that_changes_it(loopback: LoopbackPool, tmp_path: Path) -> None:
    address = loopback()
    agent = tls_agent(address, tmp_path)
    with socket.create_server((address, HTTPS_PORT)):
        agent.start()
        try:
            assert agent.wait_exit() == 1
        finally:
            agent.destroy()
    reason = "address already in use (another program has this port: stop it, or choose another with -https-port)"
    assert f"listen tcp {address}:{HTTPS_PORT}: bind: {reason}" in agent.output()


def test_a_reload_brings_a_new_certificate_to_new_connections(loopback: LoopbackPool, tmp_path: Path) -> None:
    address = loopback()
    agent = tls_agent(address, tmp_path)
    with agent.running():
        first = ssl.get_server_certificate((address, HTTPS_PORT), timeout=PATIENCE_S)
        make_certificate(tmp_path, address)
        assert ssl.get_server_certificate((address, HTTPS_PORT), timeout=PATIENCE_S) == first
        assert agent.http("PUT", "/v1/agent/reload").status == 200
        second = ssl.get_server_certificate((address, HTTPS_PORT), timeout=PATIENCE_S)
        assert second != first
        (tmp_path / "key.pem").write_text("nonsense")
        refused = agent.http("PUT", "/v1/agent/reload")
        assert refused.status == 500
        assert refused.body.startswith(b"Failed reloading tls configuration: Failed to load cert/key pair: ")
        assert ssl.get_server_certificate((address, HTTPS_PORT), timeout=PATIENCE_S) == second


def test_a_client_that_does_not_shake_hands_is_let_go_after_the_timeout(loopback: LoopbackPool, tmp_path: Path) -> None:
    address = loopback()
    agent = tls_agent(address, tmp_path, limits={"https_handshake_timeout": "200ms"})
    with agent.running(), socket.create_connection((address, HTTPS_PORT), timeout=PATIENCE_S) as silent:
        assert silent.recv(1) == b""
