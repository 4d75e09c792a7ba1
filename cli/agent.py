"""`agent`: reads the configuration, writes it down for the services, and becomes the supervisor.

Becoming is meant literally (exec): the parsers and what they left behind are gone from memory, and the
process id that the caller knows is the one that takes signals."""

from __future__ import annotations

import os
import sys

from cli.agent_flags import Flags
from cli.base import ui
from cli.base.flags import FlagError, HelpWanted
from cli.base.usage import usage

NAME = "agent"
SYNOPSIS = "Runs a Consul agent"

DESCRIPTION = """
Usage: proconsul agent [options]

  Starts an agent and runs until an interrupt is received. The agent stands
  for one node of the cluster.
"""


def HELP() -> str:
    return usage(DESCRIPTION, Flags())


def run(argv: list[str]) -> int:
    flags = Flags()
    try:
        rest = flags.parse(argv)
    except HelpWanted as wanted:
        wanted.report()
        return 1
    except FlagError as error:
        error.report()
        return _refuse(f"error parsing flags: {error}")
    if rest:
        return _refuse(f"Unexpected extra arguments: [{' '.join(rest)}]")

    from shared.config.options import ConfigError

    try:
        path = _write_config(flags)
    except ConfigError as error:
        return _refuse(str(error))
    except OSError as error:
        return _refuse(f"cannot write to the run directory: {error.filename}: {os.strerror(error.errno or 0)}")
    if flags.prepare_only.value:
        ui.output(path)
        return 0
    sys.stdout.flush()
    # -P: a directory named "services" where the agent happens to be started must not be taken for ours.
    command = [sys.executable, "-P", "-m", "services.supervisor", "--config", path]
    try:
        os.execv(command[0], command)
    except OSError as error:
        return _refuse(f"cannot start {command[0]}: {os.strerror(error.errno or 0)}")


def _write_config(flags: Flags) -> str:
    """Builds the configuration and makes its directories; returns the path of the file with it."""
    from shared.config import registry, runtime
    from shared.config.builder import build
    from shared.config.options import Options
    from shared.config.startup import prepare

    config = prepare(
        build(
            Options(
                config_files=tuple(flags.config_files),
                config_format=flags.config_format.value,
                dev_mode=flags.dev.value,
                hcl=tuple(flags.hcl.value),
                flags=flags.config_tree(),
                working_directory=os.getcwd(),
            )
        )
    )
    path = os.path.join(config.run_dir, runtime.CONFIG_FILE_NAME)
    runtime.dump(config, path)
    if not flags.prepare_only.value:
        registry.register(config, os.getpid())
    return path


def _refuse(reason: str) -> int:
    ui.error(f"==> {reason}")
    return 1
