"""From the `watches` of the configuration to plans with one handler each, in Consul's words if that cannot be."""

from __future__ import annotations

import copy
from typing import Any

from shared.config.runtime import RuntimeConfig
from shared.gotext.quoting import quote
from shared.log import get_logger
from shared.watch_plan import Plan, WatchError, parse

_log = get_logger("agent")


def compile_plans(config: RuntimeConfig) -> list[Plan]:
    """Raises WatchError."""
    if not (config.http_listeners or config.https_listeners):
        raise WatchError("watch plans require an HTTP or HTTPS endpoint")
    return [_compile(copy.deepcopy(watch)) for watch in config.watches]


def _compile(parameters: dict[str, Any]) -> Plan:
    handler_type = parameters.setdefault("handler_type", "script")
    if handler_type not in ("http", "script"):
        raise WatchError(f"Handler type '{handler_type}' not recognized")
    kind = parameters.get("type")
    if isinstance(kind, str) and kind.startswith("connect_"):
        raise WatchError(f"Watch type {kind} is not allowed in agent config")
    try:
        plan = parse(parameters, ("handler", "args"))
    except WatchError as error:
        raise WatchError(f"Failed to parse watch ({_go_syntax(parameters)}): {error}") from None
    has_handler, has_args = "handler" in plan.exempt, "args" in plan.exempt
    if has_handler:
        _log.warn(
            "The 'handler' field in watches has been deprecated and replaced with the 'args' field. "
            "See https://www.consul.io/docs/agent/watches.html"
        )
        if not isinstance(plan.exempt["handler"], str):
            raise WatchError("Watch handler must be a string")
    if has_args:
        plan.exempt["args"] = _arguments(plan.exempt["args"])
    by_http = plan.handler_type == "http"
    if has_handler + has_args + by_http > 1:
        raise WatchError("Only one watch handler allowed")
    if not (has_handler or has_args or by_http):
        raise WatchError("Must define a watch handler")
    return plan


def _arguments(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise WatchError("Watch args must be a list of strings")
    return value


def _go_syntax(value: Any) -> str:
    """As Go's %#v shows values of a configuration."""
    if isinstance(value, dict):
        inner = ", ".join(f"{quote(key)}:{_go_syntax(value[key])}" for key in sorted(value))
        return f"map[string]interface {{}}{{{inner}}}"
    if isinstance(value, list):
        return f"[]interface {{}}{{{', '.join(map(_go_syntax, value))}}}"
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return "interface {}(nil)" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
