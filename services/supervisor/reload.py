"""Reload: read the configuration sources again, and take from the result what may change while an agent runs.

The sources are parsed by another process, which ends: the parsers never stay in the supervisor's memory."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

import trio

from shared import log
from shared.config import runtime
from shared.config.runtime import RuntimeConfig

_log = log.get_logger("agent")

REBUILD_TIMEOUT_S = 20.0
_ERROR_CHARS_MAX = 4096

_RELOADABLE = (
    "log_level", "node_meta", "services", "checks", "watches", "discard_check_output", "dns_config", "recursors",
    "cache", "config_entries_bootstrap", "ca_file", "cert_file", "key_file", "tls",
)  # fmt: skip
"""Top-level items Consul 1.8 reloads as a whole. Everything else keeps its value until the agent starts again."""


class ReloadError(Exception):
    """The configuration was not reloaded, or not by all; the text is what the user has to see."""


async def rebuild(config_path: str) -> RuntimeConfig:
    """The configuration that the agent's command line and files give now. Raises ReloadError.

    config_path: the running configuration, which knows the command line and the files."""
    path = f"{config_path}.next"
    command = [sys.executable, "-P", "-m", "shared.config.rebuild", config_path, path]
    try:
        with trio.fail_after(REBUILD_TIMEOUT_S):
            result = await trio.run_process(
                command,
                stdin=subprocess.DEVNULL,
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
        if result.returncode != 0:
            text = (result.stderr or result.stdout).decode("utf-8", "replace").removesuffix("\n")
            raise ReloadError(text.removeprefix("==> ")[:_ERROR_CHARS_MAX])
        return runtime.load(path)
    except trio.TooSlowError:
        raise ReloadError(f"reading the configuration took more than {REBUILD_TIMEOUT_S:g}s") from None
    except OSError as error:
        raise ReloadError(f"cannot read the configuration again: {error}") from None
    except runtime.ConfigFileError as error:
        raise ReloadError(str(error)) from None
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def with_reloadable(running: RuntimeConfig, fresh: RuntimeConfig) -> RuntimeConfig:
    """`running` with the reloadable items of `fresh`. TLS only changes where it was on from the start."""
    names = _RELOADABLE if running.cert_file else _RELOADABLE[: _RELOADABLE.index("ca_file")]
    limits = running.limits.replace(
        rpc_rate=fresh.limits.rpc_rate,
        rpc_max_burst=fresh.limits.rpc_max_burst,
        http_max_conns_per_client=fresh.limits.http_max_conns_per_client,
    )
    telemetry = running.telemetry.replace(
        allowed_prefixes=fresh.telemetry.allowed_prefixes,
        blocked_prefixes=fresh.telemetry.blocked_prefixes,
    )
    acl = running.acl.replace(tokens=fresh.acl.tokens)
    whole = {name: getattr(fresh, name) for name in names}
    try:
        log.parse_level(fresh.log_level)
    except ValueError:
        _log.warn("Invalid log level in new configuration", level=fresh.log_level)
        whole["log_level"] = running.log_level
    return running.replace(limits=limits, telemetry=telemetry, acl=acl, **whole)
