"""`validate`: config files checked as the agent would, without starting one."""

from __future__ import annotations

import os

from cli.base import ui
from cli.base.flags import BoolFlag, FlagError, FlagSet, StringFlag
from cli.base.usage import usage

NAME = "validate"
SYNOPSIS = "Validate config files/directories"

DESCRIPTION = """
Usage: proconsul validate [options] FILE_OR_DIRECTORY...

  Reads the config files given, and those in the directories given, as
  "proconsul agent" would, and reports the first thing that is wrong.

  Nothing is started. All that an agent checks is checked, so the files given
  have to be all that the agent would get: a fragment on its own can be
  refused for what it lacks.

  Returns 0 if the configuration is valid, or 1 if there are problems.
"""


class Flags(FlagSet):
    def __init__(self) -> None:
        self.config_format = StringFlag(
            "config-format",
            "Config files are in this format irrespective of their extension. Must be 'hcl' or 'json'",
        )
        self.quiet = BoolFlag("quiet", "When given, a successful run will produce no output.")


def HELP() -> str:
    return usage(DESCRIPTION, Flags())


def run(argv: list[str]) -> int:
    flags = Flags()
    try:
        paths = flags.parse(argv)
    except FlagError as error:
        error.report()
        ui.error(str(error))
        return 1
    if not paths:
        ui.error("Must specify at least one config file or directory")
        return 1
    config_format = flags.config_format.value
    if config_format not in ("", "json", "hcl"):
        ui.error("-config-format must be either 'hcl' or 'json")
        return 1

    from shared.config.builder import build
    from shared.config.options import ConfigError, Options

    try:
        config = build(Options(config_files=tuple(paths), config_format=config_format))
    except ConfigError as error:
        ui.error(f"Config validation failed: {error}")
        return 1
    if not flags.quiet.value:
        for warning in config.warnings:
            ui.error(warning)
        ui.output("Configuration is valid!")
    return os.EX_OK
