"""Holding a directory: nobody writes another agent's configuration over that of one which runs there.

The supervisor locks the directories of its agent for as long as it lives, with a file lock on agent.lock.
Before it is there, the command that prepares its start takes the same locks; they end with the exec."""

from __future__ import annotations

import errno
import fcntl
import os

from shared.config.options import ConfigError

LOCK_NAME = "agent.lock"


def hold(directory: str, flag: str) -> None:
    """Makes the directory and locks it for this process. `flag` is the option that chose it.

    Raises ConfigError if it cannot be written to, or belongs to an agent that runs."""
    path = os.path.join(directory, LOCK_NAME)
    try:
        os.makedirs(directory, mode=0o755, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(directory, flag, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise ConfigError(
            f"another agent (pid {holder or 'unknown'}) uses the directory {directory}: "
            f"stop that agent, or choose another {flag}"
        ) from error
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    except OSError as error:
        os.close(descriptor)
        raise _unusable(directory, flag, error) from error


def _unusable(directory: str, flag: str, error: OSError) -> ConfigError:
    reason = (error.strerror or str(error)).lower()
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    advice = "make room there" if full else "give it to the user the agent runs as"
    return ConfigError(f"cannot write to the directory {directory}: {reason}: {advice}, or choose another {flag}")
