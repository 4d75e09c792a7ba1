"""Run directory: where an agent's sockets and its written configuration live, private to its user."""

from __future__ import annotations

import hashlib
import os
import stat

from shared.config.options import ConfigError
from shared.config.runtime import RuntimeConfig

MAX_SOCKET_PATH = 107
"""Bytes of a Unix socket's path that the kernel takes."""

LONGEST_SOCKET_NAME = "/supervisor.sock"

LONGEST_NAME = "run-0123456789abcdef"
"""Of the directories made below base_directory()."""

DEV_PREFIX = "dev-"
"""Run directories of agents in dev mode are named by the process id of their supervisor."""


def base_directory() -> str:
    """The directory that all agents of this user share, made if need be, mode 0700. Raises ConfigError."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    path = os.path.join(runtime, "proconsul") if runtime else ""
    usable = runtime and os.path.isdir(runtime) and os.access(runtime, os.W_OK)
    if not usable or not _fits(os.path.join(path, LONGEST_NAME)):
        path = f"/tmp/proconsul-{os.getuid()}"
    make_private(path)
    return path


def make_private(path: str) -> None:
    """A directory of mode 0700 that belongs to this user. Raises ConfigError if there is another thing."""
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        status = os.lstat(path)
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
            raise ConfigError(
                f'run directory "{path}" belongs to somebody else: remove it, or set run_dir or XDG_RUNTIME_DIR'
            )
        if stat.S_IMODE(status.st_mode) != 0o700:
            os.chmod(path, 0o700)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(f'cannot make run directory "{path}": {reason}: set run_dir to another one') from error


def choose(config: RuntimeConfig) -> RuntimeConfig:
    """The configuration with run_dir and state_dir set, the run directory made.

    A run_dir that was asked for is taken or refused; else it is <data_dir>/run, or, in dev mode and where
    socket paths in there would be too long, a directory below base_directory()."""
    data_dir = os.path.abspath(config.data_dir) if config.data_dir else ""
    if config.run_dir:
        run_dir = os.path.abspath(config.run_dir)
        if not _fits(run_dir):
            longest = MAX_SOCKET_PATH - len(LONGEST_SOCKET_NAME)
            raise ConfigError(f'run_dir "{run_dir}" is too long for the sockets in it: use at most {longest} bytes')
    elif config.dev_mode:
        base = base_directory()
        _sweep(base)
        run_dir = os.path.join(base, f"{DEV_PREFIX}{os.getpid()}")
    elif _fits(os.path.join(data_dir, "run")):
        run_dir = os.path.join(data_dir, "run")
    else:
        digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
        run_dir = os.path.join(base_directory(), f"run-{digest}")
    make_private(run_dir)
    in_memory = config.dev_mode or not data_dir
    state_dir = os.path.join(run_dir if in_memory else data_dir, "state")
    return config.replace(run_dir=run_dir, state_dir=state_dir)


def _sweep(base: str) -> None:
    """Removes what agents in dev mode left behind when they were killed: all of it is in-memory state."""
    for name in os.listdir(base):
        pid = name.removeprefix(DEV_PREFIX)
        if name == pid or not pid.isdecimal():
            continue
        if int(pid) == os.getpid() or not os.path.exists(f"/proc/{pid}"):
            import shutil  # with its archive formats it would double what this module costs to load

            shutil.rmtree(os.path.join(base, name), ignore_errors=True)


def _fits(run_dir: str) -> bool:
    return len(os.fsencode(run_dir)) + len(LONGEST_SOCKET_NAME) <= MAX_SOCKET_PATH
