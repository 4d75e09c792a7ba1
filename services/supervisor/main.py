"""Entry: locks, log sinks and banner, then the life of the agent; the process exits with the agent's code."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import NoReturn

import trio

from services.supervisor.banner import banner
from services.supervisor.console import Console
from services.supervisor.hub import Hub
from services.supervisor.logfile import LogFile
from services.supervisor.process import service_command
from services.supervisor.supervisor import CommandOf, Supervisor
from services.supervisor.syslog import Syslog
from shared import log
from shared.config import registry, runtime
from shared.config.holding import hold
from shared.config.options import ConfigError
from shared.config.runtime import RuntimeConfig
from shared.ipc import SocketPathError

_DRAIN_S = 1.0
_SOCKETS = ("raft", "gossip", "rpc", "dns", "http")


class RefusedError(Exception):
    """The agent may not start here; shown before any banner."""


def main(argv: list[str], command_of: CommandOf = service_command) -> NoReturn:
    """Runs the agent and exits. Exit code 1 when it cannot start, else what the end of the agent decides."""
    if len(argv) != 2 or argv[0] != "--config":
        sys.stderr.write("usage: python -m services.supervisor --config FILE\n")
        _exit(2)
    try:
        config = runtime.load(argv[1])
        _hold_directories(config)
        console = Console()
        hub = Hub(log.parse_level(config.log_level), config.log_json, console.write)
        _add_sinks(hub, config)
        supervisor = Supervisor(config, argv[1], hub, console, command_of)
    except (runtime.ConfigFileError, ConfigError, RefusedError, SocketPathError, ValueError) as error:
        sys.stderr.write(f"==> {error}\n")
        _exit(1)
    if not config.log_json:
        console.write(banner(config))
    log.use_sink(supervisor.records.accept)
    log.set_level(hub.level)
    code = trio.run(supervisor.run)
    supervisor.records.flush()
    console.drain(_DRAIN_S)
    _clean_up(config)
    _exit(code)


def _hold_directories(config: RuntimeConfig) -> None:
    """Two agents must not share a data dir (they would write one log) nor a run dir (one set of sockets)."""
    if config.data_dir and not config.dev_mode:
        hold(config.data_dir, "-data-dir")
    if config.run_dir != config.data_dir:
        hold(config.run_dir, "-run-dir")


def _clean_up(config: RuntimeConfig) -> None:
    """What only made sense while this agent ran: its entry in the registry, sockets of components that had to be
    killed, a dev agent's directory."""
    with contextlib.suppress(OSError, ConfigError):
        registry.unregister(os.getpid())
    for name in _SOCKETS:
        with contextlib.suppress(OSError):  # who ended in good order took it away itself
            os.unlink(config.socket_path(name))
    if config.dev_mode and os.path.basename(config.run_dir) == f"dev-{os.getpid()}":
        import shutil  # with its compressors, for one call at the very end

        shutil.rmtree(config.run_dir, ignore_errors=True)


def _add_sinks(hub: Hub, config: RuntimeConfig) -> None:
    settings, now_s = config.log, time.time()
    if settings.file:
        try:
            hub.add_sink(
                LogFile(
                    settings.file,
                    settings.rotate_bytes,
                    settings.rotate_duration_s,
                    settings.rotate_max_files,
                    now_s,
                )
            )
        except OSError as error:
            reason = f"open {error.filename}: {(error.strerror or str(error)).lower()}"
            raise RefusedError(f"Failed to setup logging: {reason}") from None
    if settings.syslog:
        hub.add_sink(Syslog(settings.syslog_facility))


def _exit(code: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # every component has ended; there is nothing to tear down
