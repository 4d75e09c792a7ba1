"""Rebuild: the configuration of a running agent read again from its sources, for a reload.

A command of its own (`python -m shared.config.rebuild --config RUN_DIR/agent.json`), so that the parsers
live only as long as they are needed. It replaces the file in one step and exits 0, or leaves it as it
was, says why on standard error, and exits 1."""

from __future__ import annotations

import os
import sys

from shared.config import runtime
from shared.config.builder import build
from shared.config.options import ConfigError, Options
from shared.config.startup import validate_settings, validate_tls


def rebuild(path: str) -> runtime.RuntimeConfig:
    """Builds and writes. Identity and directories stay what they are. Raises ConfigError, ConfigFileError."""
    path = os.path.abspath(path)
    old = runtime.load(path)
    options = Options.from_dict(old.options)
    if options.working_directory:
        os.chdir(options.working_directory)
    new = build(options).replace(
        node_id=old.node_id, run_dir=old.run_dir, state_dir=old.state_dir
    )
    validate_settings(new)
    validate_tls(new)
    runtime.dump(new, path)
    return new


def main(argv: list[str]) -> int:
    if len(argv) != 2 or argv[0] != "--config":
        print("usage: python -m shared.config.rebuild --config FILE", file=sys.stderr)
        return 2
    try:
        rebuild(argv[1])
    except (ConfigError, runtime.ConfigFileError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
