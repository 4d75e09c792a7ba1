"""Other doors to the same API: Unix sockets, HTTPS, HTTP/2."""

from __future__ import annotations

import datetime
import http.client
import ipaddress
import os
import socket
import ssl
import stat
from collections.abc import Iterator
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.agents import PATIENCE_S, Agent, wait_settled
from tests.integration.http.http_client import asking
from tests.loopback import LoopbackPool

HTTPS_PORT = 8501


def make_certificate(directory: Path, address: str) -> tuple[Path, Path]:
    """A self-signed certificate for an IP address, valid for a day."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server.dc1.consul")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert_path, key_path = directory / "cert.pem", directory / "key.pem"
    cert_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert_path, key_path


@pytest.fixture(scope="module")
def agent(loopback: LoopbackPool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    directory = tmp_path_factory.mktemp("doors")
    address = loopback()
    certificate, key = make_certificate(directory, address)
    config = {
        "addresses": {"http": f"{address} unix://{directory}/api.sock"},
        "unix_sockets": {"mode": "0660"},
        "ports": {"https": HTTPS_PORT},
        "cert_file": str(certificate),
        "key_file": str(key),
        "limits": {"kv_max_value_size": 1000},
        "disable_coordinates": True,  # nothing changes between two looks at the catalog
    }
    agent = Agent(address, directory, config=config)
    with agent.running():
        wait_settled(agent)
        yield agent


def test_a_unix_socket_serves_the_api_with_the_wanted_mode(agent: Agent) -> None:
    path = agent.directory / "api.sock"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o660
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE_S)
        sock.connect(str(path))
        sock.sendall(b"GET /v1/status/leader HTTP/1.0\r\n\r\n")
        answer = b""
        while part := sock.recv(65536):
            answer += part
    assert answer.startswith(b"HTTP/1.0 200 OK\r\n")
    assert answer.endswith(b':8300"\n')


def test_a_unix_socket_goes_with_its_listener(loopback: LoopbackPool, tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    address = loopback()
    agent = Agent(address, tmp_path, config={"addresses": {"http": f"{address} unix://{path}"}})
    with agent.running():
        assert path.is_socket()
        agent.stop()
        assert not path.exists()


def tls(agent: Agent, *protocols: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(agent.directory / "cert.pem"))
    context.set_alpn_protocols(list(protocols))
    return context


def https_connection(agent: Agent) -> http.client.HTTPSConnection:
    context = tls(agent, "http/1.1")
    return http.client.HTTPSConnection(agent.address, HTTPS_PORT, timeout=PATIENCE_S, context=context)


def https(agent: Agent, method: str, path: str, body: bytes | None = None) -> tuple[int, dict[str, str], bytes]:
    connection = https_connection(agent)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def test_https_gives_the_same_answers_as_http(agent: Agent) -> None:
    assert https(agent, "PUT", "/v1/kv/tls%2Fkey", b"secret")[2].strip() == b"true"
    for path in (
        "/v1/kv/tls/key",
        "/v1/kv/tls/key?raw",
        "/v1/kv/none",
        "/v1/kv/a//b",
        "/v1/catalog/nodes",
        "/v1/catalog/nodes?filter=x",
        "/nope",
        "/",
        "/ui/",
        "/v1/agent/members",
    ):
        status, headers, body = https(agent, "GET", path)
        plain = agent.http("GET", path)
        assert (status, body) == (plain.status, plain.body), path
        for name in ("x-consul-index", "content-type", "location", "vary", "x-content-type-options"):
            assert headers.get(name) == plain.headers.get(name), (path, name)
    assert https(agent, "POST", "/v1/kv/a")[0] == 405
    assert https(agent, "PUT", "/v1/kv/big", bytes(1001))[0] == 413
    status, headers, _ = https(agent, "OPTIONS", "/v1/kv/a")
    assert (status, headers["allow"]) == (200, "OPTIONS,GET,PUT,DELETE")


def test_a_blocking_query_over_https_wakes(agent: Agent) -> None:
    https(agent, "PUT", "/v1/kv/tls-block", b"1")
    index = https(agent, "GET", "/v1/kv/tls-block")[1]["x-consul-index"]
    connection = https_connection(agent)
    connection.request("GET", f"/v1/kv/tls-block?raw&index={index}&wait=30s")
    agent.http("PUT", "/v1/kv/tls-block", b"2")
    assert connection.getresponse().read() == b"2"
    connection.close()


def test_http_2_is_chosen_by_alpn(agent: Agent) -> None:
    agent.http("PUT", "/v1/kv/h2", b"two")
    raw = socket.create_connection((agent.address, HTTPS_PORT), timeout=PATIENCE_S)
    with tls(agent, "h2", "http/1.1").wrap_socket(raw, server_hostname=agent.address) as sock:
        assert sock.selected_alpn_protocol() == "h2"
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        connection.initiate_connection()
        connection.send_headers(
            1,
            [(":method", "GET"), (":path", "/v1/kv/h2?raw"), (":scheme", "https"), (":authority", "a")],
            end_stream=True,
        )
        sock.sendall(connection.data_to_send())
        status, body, ended = "", b"", False
        while not ended:
            for event in connection.receive_data(sock.recv(65536)):
                if isinstance(event, h2.events.ResponseReceived):
                    status = {bytes(k): bytes(v) for k, v in event.headers}[b":status"].decode()
                elif isinstance(event, h2.events.DataReceived):
                    body += event.data
                elif isinstance(event, h2.events.StreamEnded):
                    ended = True
            sock.sendall(connection.data_to_send())
    assert (status, body) == ("200", b"two")


def test_the_log_can_be_followed_over_https(agent: Agent) -> None:
    connection = https_connection(agent)
    connection.request("GET", "/v1/agent/monitor?loglevel=debug")
    answer = connection.getresponse()
    assert answer.status == 200
    with asking(agent, "/v1/kv/tls-monitor"):
        while b"url=/v1/kv/tls-monitor" not in answer.readline():
            pass
    connection.close()
