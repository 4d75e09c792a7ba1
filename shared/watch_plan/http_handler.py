"""The HTTP handler of a watch: `http_handler_config` with its rules."""

from __future__ import annotations

from shared.gotext.durations import DurationError, parse_duration_ns
from shared.watch_plan.plan import WatchError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULT_TIMEOUT_S = 10.0
_GO_TYPES = {bool: "bool", int: "int", float: "float64", str: "string", list: "[]interface {}"}
_KINDS: dict[str, type] = {"path": str, "method": str, "timeout": str, "header": dict, "tls_skip_verify": bool}
_FIELDS = {
    "path": "Path",
    "method": "Method",
    "timeout": "TimeoutRaw",
    "header": "Header",
    "tls_skip_verify": "TLSSkipVerify",
}


class HttpHandler:
    """Where and how to send what has changed."""

    __slots__ = ("headers", "method", "timeout_s", "tls_skip_verify", "url")

    def __init__(
        self, url: str, method: str, timeout_s: float, headers: dict[str, list[str]], tls_skip_verify: bool
    ) -> None:
        self.url, self.method, self.timeout_s = url, method, timeout_s
        self.headers, self.tls_skip_verify = headers, tls_skip_verify


def http_handler(config: Any) -> HttpHandler:
    """Raises WatchError."""
    if not isinstance(config, dict):
        _refuse(f"'' expected a map, got '{_go_kind(config)}'")
    given: dict[str, Any] = {}
    problems = []
    for name, value in config.items():
        name = next((known for known in _KINDS if _matches(known, str(name))), "")
        if not name:
            continue
        if name == "header" and isinstance(value, dict):
            value = {key: [item] if isinstance(item, str) else item for key, item in value.items()}
        if not isinstance(value, _KINDS[name]):
            problems.append(
                f"'{_FIELDS[name]}' expected type '{_go_expected(name)}', got unconvertible type '{_go_type(value)}'"
            )
        given[name] = value
    if problems:
        listed = "\n".join(f"* {problem}" for problem in sorted(problems))
        _refuse(f"{len(problems)} error(s) decoding:\n\n{listed}")
    if not given.get("path"):
        _refuse("Requires 'path' to be set")
    timeout_s = DEFAULT_TIMEOUT_S
    if given.get("timeout"):
        try:
            timeout_s = parse_duration_ns(given["timeout"]) / 1e9
        except DurationError as error:
            _refuse(f"Failed to parse timeout: {error}")
    return HttpHandler(
        given["path"],
        given.get("method") or "POST",
        timeout_s,
        given.get("header") or {},
        given.get("tls_skip_verify", False),
    )


def _refuse(reason: str) -> None:
    raise WatchError(f"Failed to parse 'http_handler_config': {reason}")


def _matches(known: str, name: str) -> bool:
    """Keys are taken in any case."""
    return known == name.lower()


def _go_expected(name: str) -> str:
    return "bool" if name == "tls_skip_verify" else "map[string][]string" if name == "header" else "string"


def _go_type(value: Any) -> str:
    return _GO_TYPES.get(type(value), "map[string]interface {}")


def _go_kind(value: Any) -> str:
    kinds = {bool: "bool", int: "int", float: "float64", str: "string", list: "slice"}
    return kinds.get(type(value), "map")
