"""Definitions of health checks: how they arrive, what is refused, which runner they call for.

`shared.structs.proxy.CheckType` says how a check is carried out; it is what runners take and what a service
definition holds. `shared.structs.check_definition.CheckDefinition` is a check that stands alone."""

from __future__ import annotations

from typing import Any

from shared.structs.check_definition import CheckDefinition
from shared.structs.errors import RefusedError
from shared.structs.proxy import CheckType

MIN_INTERVAL_NS = 1_000_000_000
"""Checks are not run more often than this."""
DEFAULT_OUTPUT_BYTES = 4096
"""How much of a check's output is kept unless the definition says less."""

_CONFIG_DURATIONS = ("interval", "timeout", "ttl", "deregister_critical_service_after")
_CONFIG_NAMES = {"id": "check_id", "args": "script_args"}


def check_type_from_config(definition: dict[str, Any]) -> CheckType:
    """An entry of a service's `checks` in a config file, as shared.config.services converted it."""
    known = {a.name for a in CheckType.attrs}
    return CheckType(**{name: value for name, value in _from_config(definition).items() if name in known})


def definition_from_config(definition: dict[str, Any]) -> CheckDefinition:
    """An entry of the agent's `checks` in a config file, as shared.config.services converted it."""
    fields = _from_config(definition)
    fields["id"] = fields.pop("check_id", "")
    return CheckDefinition(**fields)


def _from_config(definition: dict[str, Any]) -> dict[str, Any]:
    """Attribute names and nanoseconds for the keys and seconds of a config file."""
    fields = {_CONFIG_NAMES.get(key, key): value for key, value in definition.items()}
    for key in _CONFIG_DURATIONS:
        if key in fields:
            fields[key] = round(fields[key] * 1e9)
    return fields


def validate(check: CheckType) -> None:
    """Raises RefusedError for a check that nobody could run. The registration adds "Check is not valid: "."""
    timed = bool(check.script_args or check.http or check.tcp or check.grpc)
    alias = is_alias(check)
    if check.interval > 0 and check.ttl > 0:
        raise RefusedError("Interval and TTL cannot both be specified")
    if timed and check.interval <= 0:
        raise RefusedError("Interval must be > 0 for Script, HTTP, or TCP checks")
    if timed and alias:
        raise RefusedError("Interval cannot be set for Alias checks")
    if alias and check.ttl > 0:
        raise RefusedError("TTL must be not be set for Alias checks")
    if not timed and not alias and check.ttl <= 0:
        raise RefusedError("TTL must be > 0 for TTL checks")
    if check.output_max_size < 0:
        raise RefusedError("MaxOutputMaxSize must be positive")


def is_alias(check: CheckType) -> bool:
    return bool(check.alias_node or check.alias_service)


def is_script(check: CheckType) -> bool:
    """Whether the check starts a program, here or in a container: scripts have to be allowed for it."""
    return bool(check.script_args)


def is_empty(check: CheckType) -> bool:
    """Whether nothing at all is said: such checks of a service definition are dropped."""
    return check == CheckType()


def runner_name(check: CheckType) -> str:
    """Which runner carries the check out. A definition may describe several kinds at once: this order decides, and
    it differs from that of `check_kind`. Raises RefusedError when there is none."""
    if check.ttl > 0:
        return "ttl"
    if check.interval > 0:
        if check.http:
            return "http"
        if check.tcp:
            return "tcp"
        if check.grpc:
            return "grpc"
        if check.script_args:
            return "docker" if check.docker_container_id else "script"
    if is_alias(check):
        return "alias"
    raise RefusedError("Check type is not valid")
