"""Rebuild: the configuration of a running agent read again from its sources, for a reload.

A command of its own (`python -m shared.config.rebuild RUNNING NEW`), so that the parsers live only as
long as they are needed. It writes NEW and exits 0, or says why not on standard error and exits 1."""

from __future__ import annotations

import os
import sys

from shared.config import runtime
from shared.config.builder import build
from shared.config.options import ConfigError, Options
from shared.config.startup import validate_tls
from shared.config.tls_files import check_files


def rebuild(running_path: str, new_path: str) -> runtime.RuntimeConfig:
    """What the sources say now, written to new_path; identity and directories stay what they are.

    running_path: the configuration the agent runs with, which knows its command line. Raises ConfigError,
    ConfigFileError, OSError."""
    running_path, new_path = os.path.abspath(running_path), os.path.abspath(new_path)
    running = runtime.load(running_path)
    options = Options.from_json(running.options)
    if options.working_directory:
        os.chdir(options.working_directory)
    new = build(options).replace(node_id=running.node_id, run_dir=running.run_dir, state_dir=running.state_dir)
    _check_tls(new)
    _check_recursors(new)
    runtime.dump(new, new_path)
    return new


def _check_tls(new: runtime.RuntimeConfig) -> None:
    try:
        check_files(new)
        validate_tls(new)
    except ConfigError as error:
        raise ConfigError(f"Failed reloading tls configuration: {error}") from None


def _check_recursors(new: runtime.RuntimeConfig) -> None:
    """A recursor may be given by name: the name has to have an address."""
    import socket

    for recursor in new.recursors:
        host = recursor.rpartition(":")[0] if recursor.count(":") == 1 else recursor.strip("[]")
        if "]" in host:
            host = host[1 : host.index("]")]
        try:
            socket.getaddrinfo(host, None)
        except (OSError, UnicodeError):
            text = f"Failed reloading dns config : Invalid recursor address: lookup {host}: no such host"
            raise ConfigError(text) from None


def main(argv: list[str]) -> int:
    if len(argv) != 2:
        print("usage: python -m shared.config.rebuild RUNNING NEW", file=sys.stderr)
        return 2
    try:
        rebuild(*argv)
    except (ConfigError, runtime.ConfigFileError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
