"""Parts of `lock` and `exec` that need no agent."""

from __future__ import annotations

import json
import os
import signal
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.base.errors import ApiError
from cli.base.programs import shell_command
from cli.exec_results import TargetedText
from cli.locking.child import Child
from cli.locking.contender import LockError
from cli.locking.kv import Wait, is_retryable, join
from cli.locking.semaphore import Places, decode_places
from cli.locking.stop import Stop
from shared.gotext.processes import StartError


@pytest.mark.parametrize(
    ("parts", "joined"),
    [
        (("p", ".lock"), "p/.lock"),
        (("", ".lock"), ".lock"),
        (("p/", ".lock"), "p/.lock"),
        (("a/../b//c", ".lock"), "b/c/.lock"),
        (("..", "x"), "../x"),
        (("../..", "x"), "../../x"),
        (("/..", "x"), "/x"),
        (("/a", "x"), "/a/x"),
        (("//a/", "./x"), "/a/x"),
        (("a", ".."), "."),
        (("", ""), ""),
        ((".", "."), "."),
    ],
)
def test_paths_are_joined_as_in_go(parts: tuple[str, ...], joined: str) -> None:
    assert join(*parts) == joined


@given(st.integers(1, 100), st.sets(st.uuids(version=4).map(str), max_size=6))
def test_places_of_a_semaphore_survive_their_encoding(limit: int, holders: set[str]) -> None:
    text = Places(limit, holders).encode()
    found = decode_places(text, 1)
    assert (found.limit, found.holders) == (limit, holders)
    assert list(json.loads(text)["Holders"]) == sorted(holders)


def test_a_semaphore_nobody_has_written_has_our_size() -> None:
    found = decode_places(None, 3)
    assert (found.limit, found.holders) == (3, set())
    assert Places(3, ["b", "a"]).encode() == b'{"Limit":3,"Holders":{"a":true,"b":true}}'


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"5", "json: cannot unmarshal number into Go value of type api.semaphoreLock"),
        (b'{"Limit":"x"}', "json: cannot unmarshal string into Go struct field semaphoreLock.Limit of type int"),
        (b'{"Holders":[]}',
         "json: cannot unmarshal array into Go struct field semaphoreLock.Holders of type map[string]bool"),
        (b"{", "unexpected end of JSON input"),
    ],
)  # fmt: skip
def test_what_is_no_semaphore_is_refused(value: bytes, text: str) -> None:
    with pytest.raises(LockError, match=r"^lock decoding failed: ") as caught:
        decode_places(value, 1)
    assert str(caught.value) == f"lock decoding failed: {text}"


def test_which_errors_are_worth_another_look() -> None:
    assert is_retryable(ApiError("Unexpected response code: 500 (No cluster leader)"))
    assert is_retryable(ApiError('Get "http://127.0.0.1:8500/v1/kv/a": dial tcp 127.0.0.1:8500: connection refused'))
    assert not is_retryable(ApiError("Unexpected response code: 403"))


def test_how_a_read_is_to_wait_is_said_in_milliseconds() -> None:
    wait = Wait(15_000_000_000)
    assert wait.params() == {"wait": "15000ms"}
    wait.index = 7
    assert wait.params() == {"index": "7", "wait": "15000ms"}
    assert Wait(1).params() == {"wait": "1ms"}
    assert Wait(consistent=True).params() == {"consistent": ""}


def test_a_program_reports_its_end_once() -> None:
    ends: list[str] = []
    child = Child(["/bin/sh", "-c", "exit 5"], environment={}, pass_stdin=False, on_exit=ends.append)
    child.wait_end(30)
    assert ends == ["exit status 5"]
    child.signal(signal.SIGTERM)  # too late, and no error


def test_a_program_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    for command, text in (
        (["nope"], 'exec: "nope": executable file not found in $PATH'),
        (["/nope"], "fork/exec /nope: no such file or directory"),
        (["/etc/passwd"], "fork/exec /etc/passwd: permission denied"),
    ):
        with pytest.raises(StartError) as caught:
            Child(command, environment={}, pass_stdin=False, on_exit=print)
        assert str(caught.value) == text
    monkeypatch.setenv("SHELL", "/bin/zsh")
    assert shell_command("x") == ["/bin/zsh", "-c", "x"]
    monkeypatch.delenv("SHELL")
    assert shell_command("x") == ["/bin/sh", "-c", "x"]


def test_a_signal_ends_a_wait_but_nothing_else() -> None:
    stop = Stop()
    former = signal.signal(signal.SIGUSR1, lambda number, frame: stop.request())
    try:
        timer = threading.Timer(0.05, os.kill, [os.getpid(), signal.SIGUSR1])
        started_s = time.monotonic()
        with stop.interrupts():
            timer.start()  # not before: a signal that comes early would end no wait
            time.sleep(30)
        assert time.monotonic() - started_s < 20
        assert stop.requested
        with stop.interrupts():
            signal.raise_signal(signal.SIGUSR1)  # known already: whoever waits looks before
        stop.sleep(30)
        assert time.monotonic() - started_s < 20
    finally:
        signal.signal(signal.SIGUSR1, former)


def test_output_has_the_name_of_its_node_on_every_line() -> None:
    text = TargetedText("n1")
    assert text.info("acknowledged") == "==> n1: acknowledged"
    assert text.output(b"a\nb\n") == "    n1: a\n    n1: b\n    n1:"
    assert text.output(b"\xff\n\n") == "    n1: \udcff\n    n1: \n    n1:"
