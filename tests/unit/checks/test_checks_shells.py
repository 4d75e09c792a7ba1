"""Runners against targets that will not end, and programs that will not either."""

from __future__ import annotations

import gzip
import os
import random
import socket
import time
from pathlib import Path

import pytest
import trio

from services.rpc_core.local.checks.definition import CheckDefinition
from services.rpc_core.local.checks.http import HttpProbe
from services.rpc_core.local.checks.runner import CheckAgent, make_runner
from services.rpc_core.local.checks.script import ScriptProbe
from services.rpc_core.local.checks.tls import CheckTls
from shared.config.runtime import RuntimeConfig
from shared.structs.errors import RefusedError
from shared.structs.proxy import CheckType
from tests.agents import PATIENCE_S
from tests.check_targets import http_target
from tests.integration.checks.check_cases import server_context
from tests.loopback import LoopbackPool

CONFIG = RuntimeConfig.dev("run")
S = 1_000_000_000


def http_probe(url: str, timeout_s: float = 10.0, output_bytes: int = 100) -> HttpProbe:
    return HttpProbe(
        CheckType(check_id="web", http=url, timeout=int(timeout_s * S)), CheckTls(CONFIG, False), output_bytes
    )


def _drip(connection: socket.socket, request: bytes) -> None:
    while True:
        connection.sendall(b"X")
        time.sleep(0.05)


def _endless_body(connection: socket.socket, request: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(b"0123456789" * 1000)


async def test_a_server_that_drips_bytes_ends_the_check_in_time(loopback: LoopbackPool) -> None:
    address = loopback()
    with http_target(address, {"/": _drip}) as target, trio.fail_after(PATIENCE_S):
        url = f"http://{address}:{target.port}/"
        result = await http_probe(url, 1.0)()
    late = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
    assert result == ("critical", f'Get "{url}": {late}', False)


async def test_an_endless_body_is_read_until_the_time_is_over(loopback: LoopbackPool) -> None:
    address = loopback()
    with http_target(address, {"/": _endless_body}) as target, trio.fail_after(PATIENCE_S):
        result = await http_probe(f"http://{address}:{target.port}/", 2.0, 10)()
    assert result.status == "passing"
    assert len(result.output.partition(" Output: ")[2]) == 10


async def test_a_small_body_that_unpacks_without_end_is_cut_off(loopback: LoopbackPool) -> None:
    packed = gzip.compress(bytes(80 << 20), 9)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n".encode()
    address = loopback()
    with http_target(address, {"/": head + packed}) as target, trio.fail_after(PATIENCE_S):
        result = await http_probe(f"http://{address}:{target.port}/")()
    assert result.status == "passing"


async def test_a_secret_header_does_not_leave_for_another_host(loopback: LoopbackPool) -> None:
    here, there = loopback(), loopback()
    with http_target(there, {"/": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"}) as other:
        location = f"HTTP/1.1 302 Found\r\nLocation: http://{there}:{other.port}/\r\nContent-Length: 0\r\n\r\n"
        with http_target(here, {"/": location.encode()}) as target:
            check = CheckType(
                check_id="web",
                http=f"http://{here}:{target.port}/",
                header={"Authorization": ["secret"], "X": ["y"], "Host": ["web.example"]},
            )
            result = await HttpProbe(check, CheckTls(CONFIG, False), 100)()
    assert result.status == "passing"
    assert b"Authorization: secret" in target.requests[0]
    assert b"Host: web.example" in target.requests[0]
    assert b"secret" not in other.requests[0]
    assert b"X: y" in other.requests[0]
    assert f"Host: {there}".encode() in other.requests[0]


async def test_a_removed_check_takes_its_program_and_all_it_started_along(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"sleep 300 & echo $$ $! > {pids}.new; mv {pids}.new {pids}; wait"
    probe = ScriptProbe(CheckType(check_id="s", script_args=["/bin/sh", "-c", script]), 100)
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(probe)
            while not pids.exists():
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
        for pid in map(int, pids.read_text().split()):
            while _runs(pid):
                await trio.sleep(0.01)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_a_script_does_not_see_how_our_processes_find_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROCONSUL_LOG_FD", "3")
    monkeypatch.setenv("NOTIFY_SOCKET", "/x")
    monkeypatch.setenv("CHECKED", "yes")
    result = await ScriptProbe(CheckType(check_id="s", script_args=["/usr/bin/env"]), 100_000)()
    assert "CHECKED=yes" in result.output
    assert "PROCONSUL_" not in result.output
    assert "NOTIFY_SOCKET" not in result.output


async def test_a_script_that_detaches_from_its_output_is_left_alone(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    script = f"sleep 300 >/dev/null 2>&1 & echo $! > {pid_file}"
    result = await ScriptProbe(CheckType(check_id="s", script_args=["/bin/sh", "-c", script]), 100)()
    pid = int(pid_file.read_text())
    try:
        assert result == ("passing", "", False)
        assert _runs(pid)
    finally:
        os.kill(pid, 9)


async def test_every_timeout_is_reported_whatever_the_thresholds_say() -> None:
    check = CheckDefinition.from_json(
        {
            "ID": "s",
            "ScriptArgs": ["/bin/sleep", "60"],
            "Timeout": "100ms",
            "Interval": "1s",
            "FailuresBeforeCritical": 9,
        }
    ).check_type()
    reported = trio.Event()
    found: list[tuple[str, str, str]] = []

    class Reports:
        def update_check(self, check_id: str, status: str, output: str) -> None:
            found.append((check_id, status, output))
            if len(found) == 2:
                reported.set()

    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(make_runner(check, Reports(), rng=random.Random(1), agent=CheckAgent(CONFIG)).run)
            await reported.wait()
            nursery.cancel_scope.cancel()
    assert found == [("s", "critical", "Timed out (100ms) running check")] * 2


@pytest.mark.parametrize(
    ("names", "own", "wrong"),
    [
        (["node1"], True, ""),  # the agent's own authorities, and the name of its node
        (["other"], True, "x509: certificate is not valid for node1"),
        (["node1"], False, "x509: certificate signed by unknown authority"),
    ],
)
async def test_checks_use_the_agents_certificates_if_it_says_so(
    names: list[str], own: bool, wrong: str, loopback: LoopbackPool, tmp_path: Path
) -> None:
    address = loopback()
    context = server_context(tmp_path, names, [address], "http/1.1")
    config = CONFIG.replace(
        node_name="node1",
        ca_file=str(tmp_path / "target.pem"),
        tls=CONFIG.tls.replace(enable_agent_tls_for_checks=own),
    )
    with http_target(address, {"/": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"}, context) as target:
        url = f"https://{address}:{target.port}/"
        result = await HttpProbe(CheckType(check_id="web", http=url), CheckTls(config, False), 100)()
    if wrong:
        assert result == ("critical", f'Get "{url}": {wrong}', False)
    else:
        assert result == ("passing", f"HTTP GET {url}: 200 OK Output: hi", False)


async def test_a_ca_file_that_is_not_there_is_the_checks_output(tmp_path: Path, loopback: LoopbackPool) -> None:
    address = loopback()
    tls = CONFIG.tls.replace(enable_agent_tls_for_checks=True)
    config = CONFIG.replace(ca_file=str(tmp_path / "missing.pem"), tls=tls)
    with http_target(address, {}, server_context(tmp_path, ["x"], [], "http/1.1")) as target:
        check = CheckType(check_id="web", http=f"https://{address}:{target.port}/")
        result = await HttpProbe(check, CheckTls(config, False), 100)()
    assert result.status == "critical"
    assert "No such file" in result.output


def test_a_docker_host_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "nowhere")
    check = CheckType(check_id="d", script_args=["x"], docker_container_id="c", interval=S)
    with pytest.raises(RefusedError, match="unable to parse docker host `nowhere`"):
        make_runner(check, None, rng=random.Random(1), agent=CheckAgent(CONFIG))  # type: ignore[arg-type]
