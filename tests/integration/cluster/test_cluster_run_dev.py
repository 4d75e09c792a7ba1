"""deploy/run-dev.sh --servers 3: a cluster on this host that ends with Ctrl-C and leaves nothing behind."""

from __future__ import annotations

import ipaddress
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agents import PATIENCE_S, wait_until
from tests.loopback import LoopbackPool

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
PROGRAM = [sys.executable, str(DEPLOY / "dev_cluster.py")]


def processes_below(directory: Path) -> list[int]:
    """Pids of all that were started with a path below `directory`."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            command = Path("/proc", entry, "cmdline").read_bytes()
        except OSError:
            continue
        if os.fsencode(directory) in command:
            found.append(int(entry))
    return found


@pytest.fixture
def short_path() -> Iterator[Path]:
    """Short enough for the sockets of an agent below it."""
    with tempfile.TemporaryDirectory(prefix="dev-") as path:
        yield Path(path)


@pytest.mark.slow
def test_a_cluster_comes_up_says_where_it_is_and_ends(loopback: LoopbackPool, short_path: Path) -> None:
    first = ipaddress.IPv4Address(loopback())
    places = short_path / "places"
    command = [*PROGRAM, "--servers", "3", "--clients", "1", "--first-address", str(first), "--", "-log-level", "debug"]
    environment = {**os.environ, "TMPDIR": str(places), "XDG_RUNTIME_DIR": str(short_path)}
    places.mkdir()
    output = short_path / "output"
    with open(output, "wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=environment)
    try:
        wait_until(
            lambda: process.poll() is not None or "Ctrl-C ends all of it" in output.read_text(),
            4 * PATIENCE_S,
            "the cluster",
        )
        said = output.read_text()
        assert process.poll() is None, said
        for number in range(4):
            assert f"http://{first + number}:8500" in said
            assert f"dns {first + number}:8600" in said
        assert said.count("(leader)") == 1
        assert "3 server(s) and 1 client(s)" in said
        assert len(processes_below(short_path)) >= 4
        process.send_signal(signal.SIGINT)
        assert process.wait(2 * PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait()
        for pid in processes_below(short_path):
            os.kill(pid, signal.SIGKILL)
            pytest.fail("an agent was left behind")
    assert list(places.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--servers", "0"], "a cluster has at least one"),
        (["--clients", "-1"], "there cannot be less than none"),
        (["--first-address", "10.0.0.1"], "every node needs an address within 127.0.0.0/8"),
        (["--first-address", "127.255.255.254"], "every node needs an address within 127.0.0.0/8"),
        (["--first-address", "here"], "--first-address"),
    ],
)
def test_what_it_cannot_do_it_says(arguments: list[str], problem: str) -> None:
    done = subprocess.run([*PROGRAM, *arguments], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 2
    assert problem in done.stderr
