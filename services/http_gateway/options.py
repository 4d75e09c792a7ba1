"""Query options: what the parameters and headers of a read say about consistency, waiting, filtering, tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from services.http_gateway.errors import BadRequestError
from services.http_gateway.message import Request
from shared.config.runtime import RuntimeConfig
from shared.gotext.durations import DurationError, parse_duration_ns
from shared.gotext.quoting import quote

_MAX_UINT64 = (1 << 64) - 1


@dataclass(slots=True)
class ReadOptions:
    """Durations in nanoseconds. `level` is what X-Consul-Effective-Consistency says."""

    datacenter: str
    token: str = ""
    filter: str = ""
    allow_stale: bool = False
    require_consistent: bool = False
    use_cache: bool = False
    max_stale_ns: int = 0
    max_age_ns: int = 0
    must_revalidate: bool = False
    stale_if_error_ns: int = 0
    min_index: int = 0
    wait_ns: int = 0

    @property
    def level(self) -> str:
        if self.require_consistent:
            return "consistent"
        return "stale" if self.allow_stale else "leader"

    def to_wire(self) -> dict[str, Any]:
        """The QueryOptions part of an RPC request."""
        return {
            "Token": self.token,
            "MinQueryIndex": self.min_index,
            "MaxQueryTime": self.wait_ns,
            "AllowStale": self.allow_stale,
            "RequireConsistent": self.require_consistent,
            "UseCache": False,
            "MaxStaleDuration": self.max_stale_ns,
            "MaxAge": self.max_age_ns,
            "MustRevalidate": self.must_revalidate,
            "StaleIfError": self.stale_if_error_ns,
            "Filter": self.filter,
        }


def parse_options(request: Request, config: RuntimeConfig) -> ReadOptions:
    """All options of a read. Raises BadRequestError with Consul's text."""
    options = ReadOptions(datacenter=config.datacenter)
    if not request.raw_query and request.plain:
        options.token = config.acl.tokens.default
        _apply_discovery_default(options, request, config)
        return options
    options.datacenter = request.first("dc") or config.datacenter
    options.token = request_token(request, config)
    options.filter = request.first("filter")
    parse_consistency(options, request, config)
    parse_cache_control(options, request)
    parse_wait(options, request)
    return options


def request_token(request: Request, config: RuntimeConfig) -> str:
    """From ?token=, X-Consul-Token or `Authorization: Bearer`, in this order; else the agent's default token."""
    token = request.first("token") or request.header("x-consul-token")
    if not token:
        scheme, _, value = request.header("authorization").partition(" ")
        if scheme.lower() == "bearer":
            token = value.strip().split(" ")[0]
    return token or config.acl.tokens.default


def parse_consistency(options: ReadOptions, request: Request, config: RuntimeConfig) -> None:
    """?stale, ?consistent, ?leader, ?cached, ?max_stale. Raises BadRequestError."""
    query = request.query
    options.allow_stale = "stale" in query
    options.require_consistent = "consistent" in query
    options.use_cache = "cached" in query
    default = not (options.allow_stale or options.require_consistent or options.use_cache or "leader" in query)
    max_stale = request.first("max_stale")
    if max_stale:
        try:
            options.max_stale_ns = parse_duration_ns(max_stale)
        except DurationError:
            raise BadRequestError(f"Invalid max_stale value {quote(max_stale)}") from None
        if options.max_stale_ns > 0:
            options.allow_stale, default = True, False
    if default:
        _apply_discovery_default(options, request, config)
    if options.allow_stale and options.require_consistent:
        raise BadRequestError("Cannot specify ?stale with ?consistent, conflicting semantics.")
    if options.use_cache and options.require_consistent:
        raise BadRequestError("Cannot specify ?cached with ?consistent, conflicting semantics.")


def _apply_discovery_default(options: ReadOptions, request: Request, config: RuntimeConfig) -> None:
    if config.discovery_max_stale_s > 0 and request.path.startswith(("/v1/catalog", "/v1/health")):
        options.max_stale_ns = int(config.discovery_max_stale_s * 1e9)
        options.allow_stale = True


def parse_cache_control(options: ReadOptions, request: Request) -> None:
    """The Cache-Control header. Raises BadRequestError."""
    header = request.header("cache-control").lower()
    for directive in header.split(",") if header else ():
        directive = directive.strip()
        if directive == "must-revalidate":
            options.must_revalidate = True
        elif directive.startswith("max-age="):
            options.max_age_ns = _seconds_ns(directive[8:])
            if not options.max_age_ns:
                options.must_revalidate = True
        elif directive.startswith("stale-if-error="):
            options.stale_if_error_ns = _seconds_ns(directive[15:])


def _seconds_ns(text: str) -> int:
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 18:
        raise BadRequestError("Invalid Cache-Control header.")
    return (int(text) * 1_000_000_000 + (1 << 63)) % (1 << 64) - (1 << 63)  # Go's product wraps


def parse_wait(options: ReadOptions, request: Request) -> None:
    wait = request.first("wait")
    if wait:
        try:
            options.wait_ns = parse_duration_ns(wait)
        except DurationError:
            raise BadRequestError("Invalid wait time") from None
    index = request.first("index")
    if index:
        parsed = parse_uint64(index)
        if parsed is None:
            raise BadRequestError("Invalid index")
        options.min_index = parsed


def parse_uint64(text: str) -> int | None:
    """strconv.ParseUint(text, 10, 64); None if that fails."""
    if not (text.isascii() and text.isdigit()):
        return None
    digits = text.lstrip("0") or "0"
    value = int(digits) if len(digits) <= 20 else _MAX_UINT64 + 1
    return value if value <= _MAX_UINT64 else None


def uint64_error(text: str) -> str:
    """The text of strconv.ParseUint's error."""
    reason = "value out of range" if text.isascii() and text.isdigit() else "invalid syntax"
    return f"strconv.ParseUint: parsing {quote(text)}: {reason}"
