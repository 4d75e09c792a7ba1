"""Snapshots and watches over HTTPS, which watches prefer where there is a listener for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.agents import Agent, wait_until
from tests.integration.http.test_http_listeners import HTTPS_PORT, make_certificate
from tests.loopback import LoopbackPool


@pytest.mark.parametrize("verified", [False, True])
def test_saving_restoring_and_watching_over_https(loopback: LoopbackPool, tmp_path: Path, verified: bool) -> None:
    address = loopback()
    certificate, key = make_certificate(tmp_path, address)
    out = tmp_path / "seen"
    config = {
        "ports": {"https": HTTPS_PORT},
        "cert_file": str(certificate),
        "key_file": str(key),
        "ca_file": str(certificate),
        "verify_outgoing": verified,
        "watches": [{"type": "key", "key": "a", "args": ["sh", "-c", f"cat >> {out}"]}],
        "disable_coordinates": True,
    }
    agent = Agent(address, tmp_path / "agent", config=config)

    def cli(*arguments: str) -> str:
        environment = {
            **agent.environment(),
            "CONSUL_HTTP_ADDR": f"https://{address}:{HTTPS_PORT}",
            "CONSUL_CACERT": str(certificate),
        }
        command = [sys.executable, "-m", "cli.main", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    with agent.running():
        wait_until(lambda: out.exists() and out.read_text() == "null\n", what="the watch")
        cli("kv", "put", "a", "saved")
        wait_until(lambda: "c2F2ZWQ=" in out.read_text(), what="the change")
        path = tmp_path / "state.snap"
        cli("snapshot", "save", str(path))
        cli("kv", "put", "a", "changed")
        assert cli("snapshot", "restore", str(path)) == "Restored snapshot\n"
        assert cli("kv", "get", "a") == "saved\n"
        assert json.loads(cli("watch", "-type=key", "-key=a"))["Value"] == "c2F2ZWQ="
