"""What Go's os/exec says of programs: why one did not start, and how one ended."""

from __future__ import annotations

import errno
import os

from shared.gotext.quoting import quote

_SIGNALS = (
    "hangup",
    "interrupt",
    "quit",
    "illegal instruction",
    "trace/breakpoint trap",
    "aborted",
    "bus error",
    "floating point exception",
    "killed",
    "user defined signal 1",
    "segmentation fault",
    "user defined signal 2",
    "broken pipe",
    "alarm clock",
    "terminated",
)
"""The names Go knows on Linux, of signal 1 and on."""


class StartError(Exception):
    """A program could not be started; in Go's words."""

    @classmethod
    def not_found(cls, program: str) -> StartError:
        """A name without a slash that is nowhere on the search path."""
        return cls(f"exec: {quote(program)}: executable file not found in $PATH")

    @classmethod
    def refused(cls, path: str, error: OSError | ValueError) -> StartError:
        """The system did not run the file at `path`; a ValueError is a zero byte in an argument."""
        number = error.errno if isinstance(error, OSError) else errno.EINVAL
        return cls(f"fork/exec {path}: {os.strerror(number).lower() if number else error}")


def exit_text(status: int) -> str:
    """status: as in subprocess, negative for a death by that signal. "" for success."""
    if status >= 0:
        return f"exit status {status}" if status else ""
    number = -status
    return f"signal: {_SIGNALS[number - 1]}" if number <= len(_SIGNALS) else f"signal: signal {number}"
