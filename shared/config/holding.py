"""Holding a directory: nobody writes another agent's configuration over that of one which runs there.

The supervisor locks the directories of its agent for as long as it lives, with a file lock on agent.lock.
Before it is there, the command that prepares its start takes the same locks; they end with the exec."""

from __future__ import annotations

import errno
import os

from shared import pid_lock
from shared.config.options import ConfigError

LOCK_NAME = "agent.lock"


def hold(directory: str, flag: str) -> None:
    """Makes the directory and locks it for this process. `flag` is the option that chose it.

    Raises ConfigError if it cannot be written to, or belongs to an agent that runs."""
    try:
        os.makedirs(directory, mode=0o755, exist_ok=True)
        pid_lock.lock(os.path.join(directory, LOCK_NAME))
    except pid_lock.HeldError as error:
        raise ConfigError(
            f"another agent (pid {error.holder or 'unknown'}) uses the directory {directory}: "
            f"stop that agent, or choose another {flag}"
        ) from error
    except OSError as error:
        raise _unusable(directory, flag, error) from error


def _unusable(directory: str, flag: str, error: OSError) -> ConfigError:
    reason = (error.strerror or str(error)).lower()
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    advice = "make room there" if full else "give it to the user the agent runs as"
    return ConfigError(f"cannot write to the directory {directory}: {reason}: {advice}, or choose another {flag}")
