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


KEY_PAIR = Shape(
    Key=text,
    CreateIndex=number,
    ModifyIndex=number,
    LockIndex=number,
    Flags=number,
    Value=same,
    Session=text,
    Namespace_=text,
)
NODE = Shape(
    ID=text,
    Node=text,
    Address=text,
    Datacenter=text,
    TaggedAddresses=map_of(text),
    Meta=map_of(text),
    CreateIndex=number,
    ModifyIndex=number,
)
CHECK_DEFINITION = Shape(
    Interval=duration,
    Timeout=duration,
    DeregisterCriticalServiceAfter=duration,
    HTTP=text,
    Header=map_of(list_of(text)),
    Method=text,
    Body=text,
    TLSSkipVerify=switch,
    TCP=text,
)
CHECK = Shape(
    Node=text,
    CheckID=text,
    Name=text,
    Status=text,
    Notes=text,
    Output=text,
    ServiceID=text,
    ServiceName=text,
    ServiceTags=list_of(text),
    Type=text,
    Namespace_=text,
    Definition=CHECK_DEFINITION,
    CreateIndex=number,
    ModifyIndex=number,
)
EVENT = Shape(
    ID=text,
    Name=text,
    Payload=same,
    NodeFilter=text,
    ServiceFilter=text,
    TagFilter=text,
    Version=number,
    LTime=number,
)
_MESH_GATEWAY = Shape(Mode_=text)
_UPSTREAM = Shape(
    DestinationType_=text,
    DestinationNamespace_=text,
    DestinationName=text,
    Datacenter_=text,
    LocalBindAddress_=text,
    LocalBindPort_=number,
    Config_=same,
    MeshGateway=_MESH_GATEWAY,
)
_EXPOSED_PATH = Shape(
    ListenerPort_=number, Path_=text, LocalPathPort_=number, Protocol_=text, ParsedFromCheck=switch
)
_PROXY = Shape(
    DestinationServiceName_=text,
    DestinationServiceID_=text,
    LocalServiceAddress_=text,
    LocalServicePort_=number,
    Config_=same,
    Upstreams_=list_of(_UPSTREAM),
    MeshGateway=_MESH_GATEWAY,
    Expose=Shape(Checks_=switch, Paths_=list_of(_EXPOSED_PATH)),
)
SERVICE = Shape(
    Kind_=text,
    ID=text,
    Service=text,
    Tags=list_of(text),
    Meta=map_of(text),
    Port=number,
    Address=text,
    TaggedAddresses_=map_of(Shape(Address=text, Port=number)),
    Weights=Shape(Passing=number, Warning=number),
    EnableTagOverride=switch,
    CreateIndex_=number,
    ModifyIndex_=number,
    ContentHash_=text,
    Proxy__=optional(_PROXY),
    Connect__=optional(Shape(Native_=switch, SidecarService__=same)),
    Namespace_=text,
)
SERVICE_ENTRY = Shape(Node=optional(NODE), Service=optional(SERVICE), Checks=list_of(CHECK))
CA_ROOTS = Shape(
    ActiveRootID=text,
    TrustDomain=text,
    Roots=list_of(
        Shape(ID=text, Name=text, RootCert=text, Active=switch, CreateIndex=number, ModifyIndex=number)
    ),
)
LEAF_CERT = Shape(
    SerialNumber=text,
    CertPEM_=text,
    PrivateKeyPEM_=text,
    Service=text,
    ServiceURI=text,
    ValidAfter=text,
    ValidBefore=text,
    CreateIndex=number,
    ModifyIndex=number,
)

