"""Data directory: made, and held against a second agent for as long as this process lives."""

from __future__ import annotations

import fcntl
import os

from shared.config.options import ConfigError

LOCK_NAME = "agent.lock"


def hold(data_dir: str) -> int:
    """Makes the directory and locks it. Returns the descriptor of the lock, which survives an exec.

    Raises ConfigError if the directory cannot be written or belongs to another running agent."""
    path = os.path.join(data_dir, LOCK_NAME)
    try:
        os.makedirs(data_dir, mode=0o755, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(
            f'data_dir "{data_dir}" cannot be used: {reason}: give it to the user the agent runs as, '
            "or choose another one"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = os.read(descriptor, 32).decode(errors="replace").strip()
        os.close(descriptor)
        raise ConfigError(
            f'data_dir "{data_dir}" is in use by another agent{f" (pid {owner})" if owner else ""}: '
            "stop that one, or give this one a data_dir of its own"
        ) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    os.set_inheritable(descriptor, True)
    return descriptor
