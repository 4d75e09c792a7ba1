"""Values given on the command line: as they are, as @file, or as - for standard input."""

from __future__ import annotations

import errno
import os
import sys

from cli.base.ui import to_bytes


class SourceError(Exception):
    """The file or standard input cannot be read."""


def load(argument: str) -> bytes:
    """The value an argument stands for. Raises SourceError."""
    if argument.startswith("@"):
        return read_file(argument[1:])
    return read_stdin() if argument == "-" else to_bytes(argument)


def read_file(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise SourceError(f"Failed to read file: {describe(error, 'open', path)}") from None


def read_stdin() -> bytes:
    try:
        return sys.stdin.buffer.read()
    except OSError as error:
        raise SourceError(f"Failed to read stdin: {describe(error, 'read', '/dev/stdin')}") from None


def describe(error: OSError, operation: str, path: str) -> str:
    """An operating system error in Go's form: "open /x: no such file or directory"."""
    if error.errno == errno.EISDIR:
        operation = "read"  # Go opens a directory without complaint
    reason = os.strerror(error.errno) if error.errno else str(error)
    return f"{operation} {path}: {reason[:1].lower()}{reason[1:]}"
