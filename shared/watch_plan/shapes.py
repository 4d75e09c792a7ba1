"""Records as Consul's Go client knows them: what it reads out of an answer, and writes again for a handler.

A record that went through the client has the client's fields in the client's order: keys that it does not know are
gone, those it misses are there with their zero value. Maps come out sorted."""

from __future__ import annotations

from shared.gotext.durations import DurationError, format_duration_ns, parse_duration_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Conform = Callable[[Any], Any]


def text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def number(value: Any) -> Any:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else 0


def switch(value: Any) -> bool:
    return value is True


def same(value: Any) -> Any:
    """Anything, and base64 text; its maps sorted."""
    if isinstance(value, dict):
        return {key: same(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [same(item) for item in value]
    return value


def duration(value: Any) -> str:
    """Text like "1m30s", or nanoseconds."""
    try:
        nanoseconds = parse_duration_ns(value) if isinstance(value, str) and value else number(value)
    except DurationError:
        nanoseconds = 0
    return format_duration_ns(int(nanoseconds))


def list_of(item: Conform) -> Conform:
    return lambda value: None if not isinstance(value, list) else [item(each) for each in value]


def map_of(item: Conform) -> Conform:
    return lambda value: None if not isinstance(value, dict) else {key: item(value[key]) for key in sorted(value)}


class Shape:
    """A struct: fields by name, in order. One whose name here ends in "_" is left out when it is empty, or zero; in
    "__" (pointers) when it is nil."""

    def __init__(self, **fields: Conform) -> None:
        self._fields = [(name.rstrip("_"), name, conform) for name, conform in fields.items()]

    def __call__(self, value: Any) -> dict[str, Any]:
        given = value if isinstance(value, dict) else {}
        made = {}
        for name, declared, conform in self._fields:
            found = conform(given.get(name))
            if found or not declared.endswith("_") or (found is not None and declared.endswith("__")):
                made[name] = found
        return made


def optional(shape: Shape) -> Conform:
    """A pointer: None for nil."""
    return lambda value: None if value is None else shape(value)


def each(conform: Conform, names: str) -> dict[str, Conform]:
    """The same for several fields."""
    return dict.fromkeys(names.split(), conform)


_INDEXES = each(number, "CreateIndex ModifyIndex")

KEY_PAIR = Shape(
    Key=text, **_INDEXES, **each(number, "LockIndex Flags"), Value=same, **each(text, "Session Namespace_")
)
NODE = Shape(**each(text, "ID Node Address Datacenter"), TaggedAddresses=map_of(text), Meta=map_of(text), **_INDEXES)
CHECK_DEFINITION = Shape(
    **each(duration, "Interval Timeout DeregisterCriticalServiceAfter"),
    HTTP=text,
    Header=map_of(list_of(text)),
    **each(text, "Method Body"),
    TLSSkipVerify=switch,
    TCP=text,
)
CHECK = Shape(
    **each(text, "Node CheckID Name Status Notes Output ServiceID ServiceName"),
    ServiceTags=list_of(text),
    **each(text, "Type Namespace_"),
    Definition=CHECK_DEFINITION,
    **_INDEXES,
)
EVENT = Shape(
    **each(text, "ID Name"),
    Payload=same,
    **each(text, "NodeFilter ServiceFilter TagFilter"),
    **each(number, "Version LTime"),
)
_MESH_GATEWAY = Shape(Mode_=text)
_UPSTREAM = Shape(
    **each(text, "DestinationType_ DestinationNamespace_ DestinationName Datacenter_ LocalBindAddress_"),
    LocalBindPort_=number,
    Config_=same,
    MeshGateway=_MESH_GATEWAY,
)
_EXPOSED_PATH = Shape(ListenerPort_=number, Path_=text, LocalPathPort_=number, Protocol_=text, ParsedFromCheck=switch)
_PROXY = Shape(
    **each(text, "DestinationServiceName_ DestinationServiceID_ LocalServiceAddress_"),
    LocalServicePort_=number,
    Config_=same,
    Upstreams_=list_of(_UPSTREAM),
    MeshGateway=_MESH_GATEWAY,
    Expose=Shape(Checks_=switch, Paths_=list_of(_EXPOSED_PATH)),
)
SERVICE = Shape(
    **each(text, "Kind_ ID Service"),
    Tags=list_of(text),
    Meta=map_of(text),
    Port=number,
    Address=text,
    TaggedAddresses_=map_of(Shape(Address=text, Port=number)),
    Weights=Shape(Passing=number, Warning=number),
    EnableTagOverride=switch,
    **each(number, "CreateIndex_ ModifyIndex_"),
    ContentHash_=text,
    Proxy__=optional(_PROXY),
    Connect__=optional(Shape(Native_=switch, SidecarService__=same)),
    Namespace_=text,
)
SERVICE_ENTRY = Shape(Node=optional(NODE), Service=optional(SERVICE), Checks=list_of(CHECK))
CA_ROOTS = Shape(
    **each(text, "ActiveRootID TrustDomain"),
    Roots=list_of(Shape(**each(text, "ID Name RootCert"), Active=switch, **_INDEXES)),
)
LEAF_CERT = Shape(
    **each(text, "SerialNumber CertPEM_ PrivateKeyPEM_ Service ServiceURI ValidAfter ValidBefore"), **_INDEXES
)
