"""Holding a directory: nobody writes another agent's configuration over that of one which runs there.

The supervisor locks the directories of its agent for as long as it lives, with a file lock on agent.lock.
Before it is there, the command that prepares its start takes the same locks; they end with the exec."""

from __future__ import annotations

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
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(
            f"cannot write to the directory {directory}: {reason}: give it to the user the agent runs as, "
            f"or choose another {flag}"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise ConfigError(
            f"another agent (pid {holder or 'unknown'}) uses the directory {directory}: "
            f"stop that agent, or choose another {flag}"
        ) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
