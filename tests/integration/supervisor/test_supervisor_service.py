"""A service by hand or below systemd, without our supervisor: signals, readiness, exit codes, its own log lines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.config import runtime
from shared.config.runtime import RuntimeConfig
from shared.notify import Receiver
from tests.agents import wait_until

TOY = Path(__file__).resolve().parents[2] / "toy_component.py"


class Service:
    def __init__(self, directory: Path, behaviour: dict[str, Any], **changes: Any) -> None:
        self.config_path = directory / "agent.json"
        self.config = RuntimeConfig.dev(directory).replace(**changes)
        runtime.dump(self.config, self.config_path)
        (directory / "toy.json").write_text(json.dumps({"gossip": behaviour}))
        self.manager = Receiver(str(directory / "manager.sock"))
        self.output_path = directory / "output"
        self.seen: list[dict[str, str]] = []
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PROCONSUL_")}
        with open(self.output_path, "wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(TOY), "gossip", "--config", str(self.config_path)],
                stderr=output,
                env={**environment, "NOTIFY_SOCKET": self.manager.path, "WATCHDOG_USEC": "200000", "TZ": "UTC"},
            )

    def notified(self, key: str) -> int:
        """How many notifications with this field have come."""
        while (notification := self.manager.receive()) is not None:
            assert notification.pid == self.process.pid
            self.seen.append(notification.fields)
        return sum(key in fields for fields in self.seen)

    def output(self) -> str:
        return self.output_path.read_text()

    def close(self) -> None:
        self.process.kill()
        self.process.wait(10)
        self.manager.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    services: list[Service] = []

    def start_service(behaviour: dict[str, Any] | None = None, **changes: Any) -> Service:
        service = Service(tmp_path, behaviour or {}, **changes)
        services.append(service)
        return service

    yield start_service
    for service in services:
        service.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_service_gets_ready_keeps_the_watchdog_quiet_and_stops(start: Callable[..., Service], number: int) -> None:
    service = start()
    wait_until(lambda: service.notified("READY"), what="READY")
    wait_until(lambda: service.notified("WATCHDOG") >= 3, what="the watchdog")
    service.process.send_signal(number)
    assert service.process.wait(30) == 0
    assert service.notified("STOPPING") == 1
    lines = service.output().splitlines()
    assert [line.partition("Z ")[2] for line in lines] == [
        "[DEBUG] agent.toy.gossip: turn has come",
        "[INFO]  agent.toy.gossip: ready",
        "[INFO]  agent.toy.gossip: stopping",
    ]


def test_reload_reads_the_file_again(start: Callable[..., Service]) -> None:
    service = start()
    wait_until(lambda: service.notified("READY"), what="READY")
    runtime.dump(service.config.replace(log_level="WARN"), service.config_path)
    service.process.send_signal(signal.SIGHUP)
    wait_until(lambda: service.notified("READY") == 2, what="the second READY")
    assert service.notified("RELOADING") == 1
    assert "MONOTONIC_USEC" in next(fields for fields in service.seen if "RELOADING" in fields)
    service.process.send_signal(signal.SIGTERM)
    service.process.wait(30)
    assert "stopping" not in service.output()  # an INFO record: the new level holds it back


def test_a_reload_that_a_part_refuses_is_reported_with_its_reason(start: Callable[..., Service]) -> None:
    service = start({"refuse_level": "WARN"})
    wait_until(lambda: service.notified("READY"), what="READY")
    runtime.dump(service.config.replace(log_level="WARN"), service.config_path)
    service.process.send_signal(signal.SIGHUP)
    wait_until(lambda: service.notified("READY") == 2, what="the second READY")
    reasons = [fields["X_RELOAD_ERROR"] for fields in service.seen if "X_RELOAD_ERROR" in fields]
    assert reasons == ["Failed reloading gossip:\x1fWARN is not for me"]
    wait_until(lambda: "[ERROR] agent: Reload config failed: error=" in service.output(), what="the reason")


def test_a_damaged_file_changes_nothing_on_reload(start: Callable[..., Service]) -> None:
    service = start()
    wait_until(lambda: service.notified("READY"), what="READY")
    service.config_path.write_text("{")
    service.process.send_signal(signal.SIGHUP)
    wait_until(lambda: service.notified("READY") == 2, what="the second READY")
    wait_until(lambda: "[ERROR] agent: Reload config failed: error=" in service.output(), what="the reason")
    assert service.process.poll() is None


def test_a_start_error_is_one_line_and_exit_code_1(start: Callable[..., Service]) -> None:
    service = start({"fail": "listen tcp 127.0.0.1:8301: bind: address already in use"}, log_level="INFO")
    assert service.process.wait(30) == 1
    (line,) = service.output().splitlines()
    assert line.endswith(
        '[ERROR] agent: Error starting gossip: error="listen tcp 127.0.0.1:8301: bind: address already in use"'
    )


@pytest.mark.parametrize(("level", "lines"), [("INFO", 1), ("DEBUG", 5)])
def test_a_crash_is_one_line_unless_somebody_debugs(start: Callable[..., Service], level: str, lines: int) -> None:
    service = start({"crash": True}, log_level=level)
    assert service.process.wait(30) == 2
    output = service.output().splitlines()
    crash = next(line for line in output if "component crashed" in line)
    assert 'component=gossip error="RuntimeError: a bug" at=toy_component.py:' in crash
    assert ("Traceback" in service.output()) is (level == "DEBUG")
    assert len(output) >= lines


def test_a_missing_config_is_named(tmp_path: Path) -> None:
    command = [sys.executable, str(TOY), "gossip", "--config", str(tmp_path / "none.json")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1
    assert f"cannot read runtime config {tmp_path}/none.json: No such file or directory" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_without_arguments_the_usage_is_shown() -> None:
    command = [sys.executable, str(TOY), "gossip"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stderr) == (2, "usage: python -m services.gossip --config FILE\n")
