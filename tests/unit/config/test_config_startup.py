"""Between configuration and start: node id, directories and their locks, the registry of agents, reload."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.config import registry, run_dir, runtime
from shared.config.builder import build
from shared.config.holding import hold
from shared.config.node_id import resolve_node_id
from shared.config.options import ConfigError, Options
from shared.config.rebuild import rebuild
from shared.config.runtime import RuntimeConfig
from shared.config.startup import prepare

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@pytest.fixture(autouse=True)
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pc-") as runtime_dir:  # tmp_path is too long for sockets
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime_dir)
        yield Path(runtime_dir) / "proconsul"


def options(data_dir: Path, **changes: object) -> Options:
    flags = {"bind_addr": "127.0.0.1", "node_name": "n1", "data_dir": str(data_dir)}
    return Options(flags=flags).replace(**changes)


def test_a_node_id_is_made_once_and_kept(tmp_path: Path) -> None:
    node_id = resolve_node_id("", str(tmp_path / "a" / "data"), disable_host_node_id=True)
    assert UUID.fullmatch(node_id)
    assert (tmp_path / "a" / "data" / "node-id").read_text() == node_id
    assert resolve_node_id("", str(tmp_path / "a" / "data"), disable_host_node_id=True) == node_id


def test_the_id_of_the_host_is_stable() -> None:
    first, second = (resolve_node_id("", "", disable_host_node_id=False) for _ in range(2))
    assert first == second
    assert UUID.fullmatch(first)


def test_a_broken_node_id_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "node-id").write_text("abc\n")
    with pytest.raises(ConfigError, match=rf"failed to setup node ID: NodeID in {tmp_path}/node-id is invalid"):
        resolve_node_id("", str(tmp_path), disable_host_node_id=True)


def test_directories_of_a_server(tmp_path: Path) -> None:
    config = prepare(build(options(tmp_path / "data")))
    assert config.run_dir == f"{tmp_path}/data/run"
    assert config.state_dir == f"{tmp_path}/data/state"
    assert stat.S_IMODE(os.stat(config.run_dir).st_mode) == 0o700


def test_directories_of_an_agent_in_dev_mode(tmp_path: Path, base: Path) -> None:
    (base / "dev-999999999").mkdir(parents=True)
    config = prepare(build(options(tmp_path / "unused", dev_mode=True)))
    assert config.run_dir == str(base / f"dev-{os.getpid()}")
    assert config.state_dir == f"{config.run_dir}/state"
    assert not (base / "dev-999999999").exists()
    assert not (tmp_path / "unused").exists()


def test_a_long_data_dir_gets_a_short_run_dir(tmp_path: Path, base: Path) -> None:
    config = prepare(build(options(tmp_path / ("d" * 90))))
    assert Path(config.run_dir).parent == base
    assert len(config.socket_path("supervisor")) <= run_dir.MAX_SOCKET_PATH


def test_a_long_runtime_directory_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 90)
    long.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    assert run_dir.base_directory() == f"/tmp/proconsul-{os.getuid()}"


def test_a_long_run_dir_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="too long"):
        prepare(build(options(tmp_path / "data")).replace(run_dir=str(tmp_path / ("r" * 90))))


def test_a_run_dir_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="belongs to somebody else"):
        run_dir.make_private(str(tmp_path / "link"))


def test_a_second_agent_is_refused(tmp_path: Path) -> None:
    code = (
        "import sys; from shared.config.holding import hold; "
        f"hold({str(tmp_path)!r}, '-data-dir'); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(ConfigError, match=rf"another agent \(pid {other.pid}\) uses the directory"):
            hold(str(tmp_path), "-data-dir")
        other.stdin.close()
        other.wait(timeout=10)
    hold(str(tmp_path), "-data-dir")


def test_a_data_dir_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot write to the directory"):
        hold(str(tmp_path / "file" / "x"), "-data-dir")


def test_the_registry_shows_living_agents_only(tmp_path: Path, base: Path) -> None:
    config = RuntimeConfig.dev(tmp_path, node_name="n1")
    registry.register(config, os.getpid())
    stale = base / "agents" / "1.json"
    stale.write_text(json.dumps({"node_name": "old", "pid": 1, "run_dir": "/x", "started": -1}))
    (base / "agents" / "2.json").write_text("{")
    assert registry.running_agents() == [(os.getpid(), "n1", str(tmp_path))]
    assert not stale.exists()
    registry.unregister(os.getpid())
    assert registry.running_agents() == []


def test_a_reload_reads_the_files_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "a.hcl"
    file.write_text('log_level = "info"')
    sources = options(tmp_path / "data", config_files=("a.hcl",), working_directory=str(tmp_path))
    config = prepare(build(sources))
    running, new = tmp_path / "agent.json", tmp_path / "agent.json.next"
    runtime.dump(config, running)

    file.write_text('log_level = "warn"\nnode_meta { a = "b" }')
    monkeypatch.chdir("/")
    rebuilt = rebuild(str(running), str(new))
    assert runtime.load(new) == rebuilt == config.replace(log_level="warn", node_meta={"a": "b"})

    file.write_text("log_level =")
    file.write_text("bogus = 1")
    with pytest.raises(ConfigError, match="invalid config key bogus"):
        rebuild(str(running), str(new))
    assert runtime.load(running) == config


def test_the_reload_command_says_why_it_failed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "shared.config.rebuild", str(tmp_path / "none"), str(tmp_path / "new")]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert finished.returncode == 1
    assert "cannot read runtime config" in finished.stderr
