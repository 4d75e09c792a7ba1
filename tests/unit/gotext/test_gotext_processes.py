"""Ends of programs and failures to start them, in the words of Go."""

from __future__ import annotations

import signal

import pytest

from shared.gotext.processes import StartError, exit_text


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (0, ""),
        (3, "exit status 3"),
        (-signal.SIGHUP, "signal: hangup"),
        (-signal.SIGTERM, "signal: terminated"),
        (-signal.SIGKILL, "signal: killed"),
        (-signal.SIGSEGV, "signal: segmentation fault"),
        (-signal.SIGCHLD, "signal: signal 17"),
        (-40, "signal: signal 40"),
    ],
)
def test_how_a_program_ended(status: int, text: str) -> None:
    assert exit_text(status) == text


def test_why_a_program_did_not_start() -> None:
    assert str(StartError.not_found("nope")) == 'exec: "nope": executable file not found in $PATH'
    assert str(StartError.refused("/etc", PermissionError(13, "x"))) == "fork/exec /etc: permission denied"
    assert str(StartError.refused("/a", OSError("odd"))) == "fork/exec /a: odd"
    assert str(StartError.refused("/a", ValueError("embedded null byte"))) == "fork/exec /a: invalid argument"
