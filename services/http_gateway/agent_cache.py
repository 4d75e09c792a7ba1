"""`?cached`: reads answered by the agent cache of rpc_core, with what it says about the answer's age.

The cache knows values by number. This process keeps the newest ones it was given, so that a value crosses the socket
once, however many ask for it; and the cache says when one has come to its end, so that until then nobody has to ask."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from services.http_gateway.call import LATER, Call, Later
from services.http_gateway.options import ReadOptions
from shared import metrics

if TYPE_CHECKING:
    from services.http_gateway.gateway import Gateway
    from shared.ipc import Link

TYPES: Final = {
    "Health.ServiceNodes": "health-services",
    "Catalog.ServiceNodes": "catalog-services",
    "Catalog.ListServices": "catalog-list-services",
    "Catalog.ListDatacenters": "catalog-datacenters",
    "PreparedQuery.Execute": "prepared-query",
}
"""Cache type of each method whose HTTP endpoint knows `?cached`."""

_VALUES_MAX: Final = 512
_BYTES_MAX: Final = 16 << 20
_VALUE_BYTES_MAX: Final = 1 << 20
_TRUSTED_S: Final = 60.0
"""How long a value is given out without a word to the cache: there, what is not read grows old and goes."""
_FETCH_S: Final = 30.0
"""How long the first fetch of an entry may take beyond what the server holds a request."""
_NOT_REFRESHED: Final = frozenset({"Catalog.ListDatacenters", "PreparedQuery.Execute"})
"""Methods whose values the cache does not keep fresh: only the cache knows how old they are."""
_DATE: Final = b"\r\nDate: "
_DATE_LENGTH: Final = len("Date: Sat, 21 Nov 2026 02:38:27 GMT\r\n")

Key = tuple[str, str, str]


class _Known:
    """A value of the cache. trusted_until: monotonic time; answers: rendered ones by the request's encoding, as the
    bytes before and after the date."""

    __slots__ = ("answers", "number", "size", "trusted_until", "value")

    def __init__(self, number: int, value: bytes, size: int, trusted_until: float) -> None:
        """size: bytes, what was asked for included."""
        self.number, self.value, self.trusted_until = number, value, trusted_until
        self.answers: dict[bool, tuple[bytes, bytes]] = {}
        self.size = size


class KnownValues:
    """The newest values of the agent cache, packed, by what was asked; when full, the oldest go first.

    The cache says (topic `cache`) which values have an end: replaced, forgotten, or not kept fresh any more."""

    def __init__(self) -> None:
        self._known: dict[Key, _Known] = {}
        self._keys: dict[int, set[Key]] = {}
        self._bytes = 0
        self._link: Link | None = None

    def attach(self, link: Link) -> None:
        """Listen to the cache, from the first use on."""
        if self._link is None:
            self._link = link
            link.subscribe("cache", self._ended)
            link.on_down(self.distrust_all)

    def get(self, key: Key) -> _Known | None:
        return self._known.get(key)

    def put(self, key: Key, number: int, value: bytes, trusted_until: float) -> None:
        self._remove(key)
        size = len(value) + sum(map(len, key))  # a target may be as long as a value
        if size > _VALUE_BYTES_MAX:
            return
        self._known[key] = _Known(number, value, size, trusted_until)
        self._keys.setdefault(number, set()).add(key)
        self._bytes += size
        self._make_room()

    def keep_answer(self, known: _Known, gzip: bool, data: bytes) -> None:
        """`data` is what was answered for this value."""
        if not data.startswith(b"HTTP/1.1 200 ") or len(data) > _VALUE_BYTES_MAX or gzip in known.answers:
            return
        at = data.index(_DATE) + 2
        known.answers[gzip] = (data[:at], data[at + _DATE_LENGTH :])
        known.size += len(data)
        self._bytes += len(data)
        self._make_room()

    def _make_room(self) -> None:
        while len(self._known) > _VALUES_MAX or self._bytes > _BYTES_MAX:
            self._remove(next(iter(self._known)))

    def _remove(self, key: Key) -> None:
        known = self._known.pop(key, None)
        if known is None:
            return
        self._bytes -= known.size
        keys = self._keys[known.number]
        keys.discard(key)
        if not keys:
            del self._keys[known.number]

    def _ended(self, numbers: Any) -> None:
        for number in numbers:
            for key in self._keys.get(number, ()):
                self._known[key].trusted_until = 0.0

    def distrust_all(self) -> None:
        """The cache is asked again for each, and the answers are rendered anew."""
        for known in self._known.values():
            known.trusted_until = 0.0


def wanted(gateway: Gateway, options: ReadOptions) -> bool:
    """Whether this read is for the agent cache."""
    return options.use_cache and gateway.config.http_config.use_cache


def get(
    call: Call, options: ReadOptions, method: str, arguments: Mapping[str, Any], then: Callable[[Any], Any]
) -> Later:
    """Answer `call` with `then(reply of method)` from the agent cache; X-Cache and Age say where it was from.

    arguments: the RPC's request without datacenter and query options."""
    gateway = call.gateway
    values = gateway.known_values
    key = (method, call.request.target, options.token)
    known = values.get(key)
    if known is not None and known.trusted_until > monotonic() and not options.min_index:
        metrics.incr(f"consul.consul.cache.{TYPES[method]}.hit")
        _answer_again(call, known, then)
        return LATER
    values.attach(gateway.rpc)

    def answer(found: Any) -> Any:
        hit, age_s, number, value = found
        if value is None:
            assert known is not None  # else it had been sent
            value = known.value
        kept_fresh = hit and age_s == 0 and method not in _NOT_REFRESHED
        values.put(key, number, value, monotonic() + _TRUSTED_S if kept_fresh else 0.0)
        call.headers["X-Cache"] = "HIT" if hit else "MISS"
        if hit:
            call.headers["Age"] = f"{age_s:.0f}"
        return then(_unpacked(value))

    def finished(value: Any, error: Any) -> None:
        call.request.on_abandon = None
        call.on_done(answer)(value, error)

    request = {**arguments, **options.to_wire(), "Datacenter": options.datacenter}
    payload = {"Type": TYPES[method], "Request": request, "Have": known.number if known is not None else 0}
    timeout_s = gateway.rpc_timeout_s + _FETCH_S + _wait_s(gateway, options)
    number = gateway.rpc.post("Agent.CacheGet", payload, finished, timeout_s=timeout_s, retry_safe=True)
    call.request.on_abandon = lambda: gateway.rpc.cancel(number)
    return LATER


def _answer_again(call: Call, known: _Known, then: Callable[[Any], Any]) -> None:
    """Answer with a value that is known to be fresh; who asks as everybody does gets the very bytes of the last one."""
    gateway, request = call.gateway, call.request
    is_plain = request.plain and request.keep_alive and request.version == 11 and request.on_response is None
    as_usual = is_plain and request.method == "GET"
    if as_usual and request.gzip in known.answers:
        before, after = known.answers[request.gzip]
        gateway.finish_rendered(request, b"".join((before, gateway.moment.date_line(), after)), call.route.metric)
        return
    call.headers["X-Cache"], call.headers["Age"] = "HIT", "0"
    gateway.last_answer = b""
    call.run(lambda: then(_unpacked(known.value)))
    if as_usual:
        gateway.known_values.keep_answer(known, request.gzip, gateway.last_answer)


def _unpacked(value: bytes) -> Any:
    import msgpack

    return msgpack.unpackb(value, strict_map_key=False, unicode_errors="surrogateescape")


def _wait_s(gateway: Gateway, options: ReadOptions) -> float:
    """Without ?wait= Consul waits for ever; here: as long as a query may wait."""
    longest_s = gateway.config.max_query_time_s
    return min(options.wait_ns / 1e9, longest_s) if options.wait_ns > 0 else longest_s
