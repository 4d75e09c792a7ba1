"""Runs a command of ours inside the test process, as the program `consul` or `proconsul` would."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from unittest import mock

from cli.main import main


@dataclass(frozen=True, slots=True)
class Outcome:
    status: int
    stdout: bytes
    stderr: bytes


def run_cli(
    *arguments: str, environment: Mapping[str, str] | None = None, stdin: bytes = b"", program: str = "consul"
) -> Outcome:
    """What the command printed and its exit status. The environment consists of `environment` alone."""
    streams = {
        "stdin": io.TextIOWrapper(io.BytesIO(stdin)),
        "stdout": io.TextIOWrapper(io.BytesIO(), "utf-8"),
        "stderr": io.TextIOWrapper(io.BytesIO(), "utf-8"),
    }
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with (
        mock.patch.dict(os.environ, environment or {}, clear=True),
        mock.patch.multiple(sys, argv=[f"/usr/bin/{program}", *arguments], **streams),
    ):
        try:
            status = main()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
    printed = []
    for name in ("stdout", "stderr"):
        streams[name].flush()
        buffer = streams[name].buffer
        assert isinstance(buffer, io.BytesIO)
        printed.append(buffer.getvalue())
    return Outcome(status, *printed)
