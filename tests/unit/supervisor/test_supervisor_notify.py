"""sd_notify, both sides."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import notify
from shared.notify import Receiver, parse


@pytest.fixture
def receiver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    receiver = Receiver(str(tmp_path / "notify.sock"))
    monkeypatch.setenv("NOTIFY_SOCKET", receiver.path)
    yield receiver
    receiver.close()


def test_a_notification_carries_the_senders_pid(receiver: Receiver) -> None:
    assert notify.notify("READY=1", "STATUS=serving a=b")
    received = receiver.receive()
    assert received is not None
    assert (received.pid, received.uid) == (os.getpid(), os.getuid())
    assert received.fields == {"READY": "1", "STATUS": "serving a=b"}
    assert receiver.receive() is None


def test_the_pid_is_the_kernels_not_the_messages(receiver: Receiver) -> None:
    code = "from shared.notify import notify; notify('READY=1', 'MAINPID=1')"
    child = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "NOTIFY_SOCKET": receiver.path})
    assert child.wait(60) == 0
    received = receiver.receive()
    assert received is not None
    assert received.pid == child.pid


def test_passed_descriptors_are_not_collected(receiver: Receiver) -> None:
    gc.collect()  # what earlier tests left open is not closed in between
    before = len(os.listdir("/proc/self/fd"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(receiver.path)
        socket.send_fds(sender, [b"READY=1"], [0, 1, 2])
        received = receiver.receive()
    assert received is None or received.fields == {"READY": "1"}
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_oversized_datagram_is_dropped(receiver: Receiver) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(receiver.path)
        sender.send(b"STATUS=" + b"x" * 10_000)
        sender.send(b"READY=1")
    received = receiver.receive()
    assert received is not None
    assert received.fields == {"READY": "1"}


def test_without_a_manager_nothing_happens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify.notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone.sock"))
    assert not notify.notify("READY=1")


def test_the_abstract_namespace_works(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"proconsul-test-notify-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}")
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        assert notify.notify("READY=1")
        assert manager.recv(100) == b"READY=1"


def test_the_watchdog_interval_is_half_the_period_and_only_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    assert notify.watchdog_interval_s() == 15.0
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert notify.watchdog_interval_s() is None
    monkeypatch.delenv("WATCHDOG_USEC")
    assert notify.watchdog_interval_s() is None


@given(st.binary(max_size=300))
def test_any_datagram_gives_fields_or_nothing(data: bytes) -> None:
    assert all(key and "\n" not in value for key, value in parse(data).items())
