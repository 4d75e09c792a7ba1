"""Starts that cannot go well are refused: exit code 1, a message that tells what to change, nothing left behind."""

from __future__ import annotations

import fcntl
import os
import re
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.agents import Agent, wait_until
from tests.integration.faults.small_disk import DiskAgent, SmallDisk
from tests.loopback import LoopbackPool

REFUSED_WITHIN_S = 30.0


def processes_with(text: str) -> list[int]:
    """Processes, zombies aside, whose command line or environment mentions `text`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            except OSError:
                continue
            if text.encode() in words:
                found.append(int(entry.name))
    return found


def is_free(lock: Path) -> bool:
    """Raises BlockingIOError while somebody holds it: a process that ends lets go of its files last."""
    with open(lock) as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return True


def assert_refused(agent: Agent, *messages: str) -> None:
    """It ends by itself, says why in its last words, and leaves no process, lock or socket."""
    agent.start()
    try:
        assert agent.wait_exit(REFUSED_WITHIN_S) == 1
        output = agent.output()
        for message in messages:
            assert message in output, output
        assert "Traceback" not in output
        wait_until(lambda: not processes_with(str(agent.directory)), what="the end of all processes")
        assert not list(agent.directory.rglob("*.sock"))
        for lock in [*agent.directory.rglob("agent.lock"), *agent.directory.rglob("raft/lock")]:
            wait_until(partial(is_free, lock), what=f"{lock} to be free")
    finally:
        agent.destroy()


@pytest.mark.parametrize(
    ("port", "kind", "message"),
    [
        (8300, socket.SOCK_STREAM, "listen tcp {address}:8300: bind: address already in use (another program has"),
        (8301, socket.SOCK_DGRAM, "listen udp {address}:8301: bind: address already in use (stop the process"),
        (8302, socket.SOCK_STREAM, "listen tcp {address}:8302: bind: address already in use (stop the process"),
        (8600, socket.SOCK_DGRAM, "listen udp {address}:8600: bind: address already in use (another program has"),
    ],
)
def test_a_port_in_use(
    loopback: LoopbackPool, tmp_path: Path, port: int, kind: socket.SocketKind, message: str
) -> None:
    """These besides those in integration/supervisor."""
    agent = Agent(loopback(), tmp_path)
    with socket.socket(socket.AF_INET, kind) as occupant:
        occupant.bind((agent.address, port))
        if kind == socket.SOCK_STREAM:
            occupant.listen()
        assert_refused(agent, message.format(address=agent.address))


def test_an_address_of_another_host(tmp_path: Path) -> None:
    agent = Agent("192.0.2.1", tmp_path)
    assert_refused(agent, "listen tcp 192.0.2.1:830", "bind: cannot assign requested address (")
    # Of two components that fail the port of the second one is told, if the first is seconds behind it.
    assert re.search(r":830[012]: bind: .* \(the address belongs to no interface of this host", agent.output())


def test_a_file_where_the_data_dir_should_be(loopback: LoopbackPool, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("mine")
    assert_refused(Agent(loopback(), tmp_path, dev=False), f'==> data_dir "{tmp_path}/data" is not a directory')
    assert (tmp_path / "data").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("raft", "cannot create {data}/raft: File exists; give the agent a -data-dir that it owns"),
        ("state", "cannot create {data}/state: File exists; give the agent a -data-dir that it owns"),
        ("serf", "failed to open snapshot: open {data}/serf/remote.snapshot: file exists"),
    ],
)
def test_a_file_where_a_directory_of_the_agent_should_be(
    loopback: LoopbackPool, tmp_path: Path, name: str, message: str
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / name).write_text("mine")
    assert_refused(Agent(loopback(), tmp_path, dev=False), message.format(data=data))
    assert (data / name).read_text() == "mine"


def test_a_data_dir_that_cannot_be_written(
    small_disk: Callable[[dict[str, str]], SmallDisk], loopback: LoopbackPool, tmp_path: Path
) -> None:
    """A mount that is read-only: it stops root, too."""
    disk = small_disk({"data": "1m,ro"})
    assert_refused(DiskAgent(disk, loopback(), tmp_path / "agent"), f"{disk.root}/data", "ead-only file system")


def test_two_agents_on_one_data_dir(loopback: LoopbackPool, tmp_path: Path) -> None:
    first = Agent(loopback(), tmp_path / "first", dev=False)
    with first.running():
        second = Agent(loopback(), tmp_path / "second", dev=False)
        second.data_dir = first.data_dir
        assert_refused(second, f"another agent (pid {first.pid}) uses the directory {first.data_dir}: stop that agent")
        third = Agent(loopback(), tmp_path / "third")
        third.run_dir = first.run_dir
        assert_refused(third, f"another agent (pid {first.pid}) uses the directory {first.run_dir}: stop that agent")
        assert first.http("PUT", "/v1/kv/a", b"1").body == b"true"


LONG = "x" * 110


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"addresses": {"http": f"unix:///tmp/{LONG}"}}, "is longer than 107 bytes: choose a shorter one in addresses"),
        ({"addresses": {"http": "unix:///nowhere/at/all.sock"}}, "listen unix /nowhere/at/all.sock: bind: no such"),
        ({"ports": {"https": 8501}}, "cert_file and key_file are not: name a certificate and its key"),
        (
            {"ports": {"https": 8501}, "cert_file": "/nowhere.pem", "key_file": "/nowhere.pem"},
            "Failed to load cert/key pair: open /nowhere.pem: no such file or directory",
        ),
        ({"pid_file": "/nowhere/pid"}, "Could not open pid file: open /nowhere/pid: no such file or directory"),
        ({"bogus": 1}, "invalid config key bogus"),
        ({"ports": {"http": "many"}}, "'ports.http' expected type 'int', got unconvertible type 'string'"),
        ({"performance": {"raft_multiplier": 99}}, "performance.raft_multiplier cannot be 99. Must be between 1"),
        ({"limits": {"https_handshake_timeout": "9" * 5000 + "s"}}, "time: invalid duration"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_settings_that_cannot_be(loopback: LoopbackPool, tmp_path: Path, config: dict[str, Any], message: str) -> None:
    assert_refused(Agent(loopback(), tmp_path, config=config), message)


def test_a_run_dir_too_long_for_sockets(loopback: LoopbackPool, tmp_path: Path) -> None:
    agent = Agent(loopback(), tmp_path)
    agent.run_dir = tmp_path / LONG
    assert_refused(agent, f'run_dir "{agent.run_dir}" is too long for the sockets in it: use at most 91 bytes')
    assert not agent.run_dir.exists()


class ByDefault(Agent):
    """Chooses its run directory itself, below XDG_RUNTIME_DIR, which is the directory of the test."""

    def command(self) -> list[str]:
        words = super().command()
        at = words.index("-run-dir")
        return words[:at] + words[at + 2 :]

    def environment(self) -> dict[str, str]:
        return {name: value for name, value in super().environment().items() if name != "PROCONSUL_RUN_DIR"}


def test_a_dev_agent_leaves_nothing_in_the_runtime_directory(loopback: LoopbackPool, tmp_path: Path) -> None:
    agent = ByDefault(loopback(), tmp_path)
    with socket.socket() as occupant:
        occupant.bind((agent.address, 8500))
        occupant.listen()
        assert_refused(agent, "address already in use")
    left = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file() and path != agent.output_path]
    assert not left
