"""`?cached`: reads answered by the agent cache of rpc_core, with what it says about the answer's age.

The cache knows values by number. This process keeps the newest ones it was given, so that a value crosses the socket
once, however many ask for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from services.http_gateway.call import LATER, Call, Later
from services.http_gateway.options import ReadOptions

if TYPE_CHECKING:
    from services.http_gateway.gateway import Gateway

TYPES: Final = {
    "Health.ServiceNodes": "health-services",
    "Catalog.ServiceNodes": "catalog-services",
    "Catalog.ListServices": "catalog-list-services",
    "Catalog.ListDatacenters": "catalog-datacenters",
    "PreparedQuery.Execute": "prepared-query",
}
"""Cache type of each method whose HTTP endpoint knows `?cached`."""

_VALUES_MAX: Final = 512
_BYTES_MAX: Final = 8 << 20
_VALUE_BYTES_MAX: Final = 1 << 20
_FETCH_S: Final = 30.0
"""How long the first fetch of an entry may take beyond what the server holds a request."""


class KnownValues:
    """The newest values of the agent cache, packed, by what was asked; when full, the oldest go first."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str, str], tuple[int, bytes]] = {}
        self._bytes = 0

    def get(self, key: tuple[str, str, str]) -> tuple[int, bytes]:
        """Number and value; (0, b"") for an unknown one."""
        return self._values.get(key, (0, b""))

    def put(self, key: tuple[str, str, str], number: int, value: bytes) -> None:
        old = self._values.pop(key, None)
        self._bytes -= len(old[1]) if old is not None else 0
        if len(value) > _VALUE_BYTES_MAX:
            return
        self._values[key] = (number, value)
        self._bytes += len(value)
        while len(self._values) > _VALUES_MAX or self._bytes > _BYTES_MAX:
            self._bytes -= len(self._values.pop(next(iter(self._values)))[1])


def wanted(gateway: Gateway, options: ReadOptions) -> bool:
    """Whether this read is for the agent cache."""
    return options.use_cache and gateway.config.http_config.use_cache


def get(
    call: Call, options: ReadOptions, method: str, arguments: Mapping[str, Any], then: Callable[[Any], Any]
) -> Later:
    """Answer `call` with `then(reply of method)` from the agent cache; X-Cache and Age say where it was from.

    arguments: the RPC's request without datacenter and query options."""
    gateway = call.gateway
    request = {**arguments, **options.to_wire(), "Datacenter": options.datacenter}
    key = (method, call.request.target, options.token)
    have, known = gateway.known_values.get(key)

    def answer(found: Any) -> Any:
        import msgpack

        hit, age_s, number, value = found
        if value is None:
            value = known
        else:
            gateway.known_values.put(key, number, value)
        call.headers["X-Cache"] = "HIT" if hit else "MISS"
        if hit:
            call.headers["Age"] = f"{age_s:.0f}"
        return then(msgpack.unpackb(value, strict_map_key=False, unicode_errors="surrogateescape"))

    def finished(value: Any, error: Any) -> None:
        call.request.on_abandon = None
        call.on_done(answer)(value, error)

    wait_s = _wait_s(gateway, options)
    payload = {"Type": TYPES[method], "Request": request, "Have": have}
    number = gateway.rpc.post(
        "Agent.CacheGet", payload, finished, timeout_s=gateway.rpc_timeout_s + _FETCH_S + wait_s, retry_safe=True
    )
    call.request.on_abandon = lambda: gateway.rpc.cancel(number)
    return LATER


def _wait_s(gateway: Gateway, options: ReadOptions) -> float:
    """Without ?wait= Consul waits for ever; here: as long as a query may wait."""
    longest_s = gateway.config.max_query_time_s
    return min(options.wait_ns / 1e9, longest_s) if options.wait_ns > 0 else longest_s
