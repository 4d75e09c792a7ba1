"""Commands that come encoded: taken as the project encodes them, refused otherwise, and none ends a state machine."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from services.http_gateway.routes.kv_fast import SetCommand
from shared.structs import wire
from shared.structs.catalog import (
    CRITICAL,
    DeregisterRequest,
    HealthCheck,
    HealthCheckDefinition,
    NodeService,
    RegisterRequest,
)
from shared.structs.commands import KVS, encode
from shared.structs.encoded_commands import checked
from shared.structs.errors import RefusedError
from shared.structs.kv import DirEntry, KVSRequest, TombstoneRequest
from shared.structs.operator import AutopilotSetConfigRequest
from shared.structs.prepared_query import PreparedQueryRequest
from shared.structs.proxy import ConnectProxyConfig, ServiceAddress, ServiceConnect, Upstream, Weights
from shared.structs.registration import prepare_deregister, prepare_register
from shared.structs.schema import Struct
from shared.structs.session import SessionRequest
from shared.structs.txn import TxnKVOp, TxnOp, TxnRequest
from tests.unit.fsm.fsm_driver import N1, S1, driver
from tests.unit.fuzz.fuzzing import damaged

OPERATIONS = ["set", "delete", "delete-tree", "delete-cas", "cas", "unlock"]
ENTRIES = [
    DirEntry(key="k"),
    DirEntry(key="k", value=b"value"),
    DirEntry(7, "k/\udcff\0☃", 2**64 - 1, bytes(range(256)) * 20, S1, 3, 2**64 - 1),
    DirEntry(key="k" * 1000, value=b"1"),
]


def register(**fields: Any) -> RegisterRequest:
    return RegisterRequest(**{"datacenter": "dc1", "node": "n1", "address": "10.0.0.1", **fields})


def registrations() -> list[RegisterRequest]:
    upstream = Upstream(destination_name="db", local_bind_port=9, config={"limits": {"max": [1, 2.5, None]}})
    proxy = ConnectProxyConfig("web", config={"a": {"b": [True]}}, upstreams=[upstream])
    plain = NodeService(id="w1", service="web", tags=["a", "B"], port=80, meta={"m": "1"}, weights=Weights(2, 1))
    plain.tagged_addresses = {"lan": ServiceAddress("10.0.0.2", 81)}
    definition = HealthCheckDefinition(interval=10**10, http="http://x", header={"H": ["1"]}, ttl=5)
    checks = [
        HealthCheck(check_id="c1", name="one", status=CRITICAL, definition=definition),
        HealthCheck(name="of a service", service_id="w1", output="\udcff"),
    ]
    return [
        register(),
        register(id=N1, tagged_addresses={"wan": "1.2.3.4"}, node_meta={"m": "\udcff"}, token="secret"),
        register(node="n2", address="", skip_node_update=True, check=HealthCheck(name="alone")),
        register(service=plain, checks=checks),
        register(service=NodeService("connect-proxy", "w1-proxy", "web-proxy", port=21000, proxy=proxy)),
        register(service=NodeService(service="native", connect=ServiceConnect(native=True))),
    ]


DEREGISTRATIONS = [
    DeregisterRequest("dc1", "n1"),
    DeregisterRequest("dc1", "N1", "w1", token="secret"),
    DeregisterRequest("dc1", "n1", check_id="c1"),
]
GOOD = [
    *(encode(KVSRequest("dc1", operation, entry)) for operation in OPERATIONS for entry in ENTRIES),
    *(encode(prepare_register(request)) for request in registrations()),
    *(encode(prepare_deregister(request)) for request in DEREGISTRATIONS),
]


# ---- what is taken --------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["", "secret"])
@pytest.mark.parametrize("value", [b"", b"v", bytes(300), b"\xff" * 70_000])
def test_what_the_gateway_encodes_by_hand_is_taken_as_it_is(token: str, value: bytes) -> None:
    command = KVS + SetCommand("dc1", token).encode(b"some/key\xff", value)
    assert checked(command, "dc1") == (command, "consul.kvs.apply")


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("entry", ENTRIES)
def test_kv_requests_are_taken_as_they_are(operation: str, entry: DirEntry) -> None:
    command = encode(KVSRequest("dc1", operation, entry, "secret"))
    assert checked(command, "dc1") == (command, "consul.kvs.apply")


@pytest.mark.parametrize("number", range(len(registrations())))
def test_registrations_come_back_as_they_were_prepared(number: int) -> None:
    command = encode(prepare_register(registrations()[number]))
    assert checked(command, "dc1") == (command, "consul.catalog.register")


@pytest.mark.parametrize("request_", DEREGISTRATIONS)
def test_deregistrations_come_back_as_they_were(request_: DeregisterRequest) -> None:
    command = encode(prepare_deregister(request_))
    assert checked(command, "dc1") == (command, "consul.catalog.deregister")


@pytest.mark.parametrize("number", range(len(registrations())))
def test_a_registration_that_nobody_has_prepared_is_completed(number: int) -> None:
    expected = encode(prepare_register(registrations()[number]))
    assert checked(encode(registrations()[number]), "dc1")[0] == expected


def test_fields_of_a_registration_that_nobody_knows_are_not_logged() -> None:
    command = encode(register())
    body = {**wire.unpack(command[1:]), "Unknown": [1]}
    assert checked(command[:1] + wire.pack(body), "dc1")[0] == command


def test_a_tree_may_be_all_there_is() -> None:
    command = encode(KVSRequest("dc1", "delete-tree", DirEntry()))
    assert checked(command, "dc1") == (command, "consul.kvs.apply")


def test_fields_of_an_entry_may_be_missing_or_nil() -> None:
    """All but the key, as Consul's own encoders leave them out."""
    for entry in ({"Key": "k"}, {"Key": "k", "Value": None, "Flags": None, "LockIndex": None}):
        command = kv_command(DirEnt=entry)
        assert checked(command, "dc1") == (command, "consul.kvs.apply")


# ---- what is refused ------------------------------------------------------------------------------

_ABSENT = object()


def kv_command(**fields: Any) -> bytes:
    """A good set, but for `fields`."""
    body = wire.unpack(encode(KVSRequest("dc1", "set", DirEntry(key="k", value=b"v")))[1:]) | fields
    packed: bytes = wire.pack({name: value for name, value in body.items() if value is not _ABSENT})
    return KVS + packed


def kv_entry(**fields: Any) -> bytes:
    """A good set, but for `fields` of its entry."""
    entry = DirEntry(key="k", value=b"v", session=S1).to_wire() | fields
    return kv_command(DirEnt={name: value for name, value in entry.items() if value is not _ABSENT})


_KV_REFUSED = {
    "a lock": kv_command(Op="lock"),
    "a read": kv_command(Op="get"),
    "no operation": kv_command(Op=""),
    "an operation in capitals": kv_command(Op="SET"),
    "operations": kv_command(Op=["set"]),
    "an operation as map": kv_command(Op={"set": 1}),
    "an operation as number": kv_command(Op=1),
    "an operation that is nil": kv_command(Op=None),
    "another datacenter": kv_command(Datacenter="dc2"),
    "a datacenter in capitals": kv_command(Datacenter="DC1"),
    "no datacenter": kv_command(Datacenter=""),
    "a datacenter that is nil": kv_command(Datacenter=None),
    "a token that is nil": kv_command(Token=None),
    "a token as number": kv_command(Token=7),
    **{f"no {name}": kv_command(**{name: _ABSENT}) for name in ("Datacenter", "Op", "DirEnt", "Token")},
    "a field more": kv_command(More=1),
    "a field in small letters": kv_command(op="set"),
    "a field that is a number": KVS + wire.pack({**wire.unpack(kv_command()[1:]), 7: 1}),
    "an entry that is nil": kv_command(DirEnt=None),
    "an entry as list": kv_command(DirEnt=["k", "v"]),
    "an entry as text": kv_command(DirEnt="k"),
    "an empty entry": kv_command(DirEnt={}),
    "no key": kv_entry(Key=_ABSENT),
    "a key that is empty": kv_entry(Key=""),
    "a key that is nil": kv_entry(Key=None),
    "a key as number": kv_entry(Key=1),
    "a key as list": kv_entry(Key=["k"]),
    "a key as map": kv_entry(Key={}),
    "a key as time": kv_entry(Key=msgpack.Timestamp(1, 2)),
    "a key as extension": kv_entry(Key=msgpack.ExtType(5, b"k")),
    "a value as number": kv_entry(Value=1),
    "a value as bool": kv_entry(Value=False),
    "a value as list": kv_entry(Value=[b"v"]),
    "a value as map": kv_entry(Value={}),
    "a value as extension": kv_entry(Value=msgpack.ExtType(5, b"v")),
    "a session as number": kv_entry(Session=1),
    "a session that is nil": kv_entry(Session=None),
    "a session as list": kv_entry(Session=[S1]),
    "a field of the entry more": kv_entry(More=1),
    **{
        f"{name} as {shown}": kv_entry(**{name: value})
        for name in ("LockIndex", "Flags", "CreateIndex", "ModifyIndex")
        for shown, value in {
            "negative number": -1,
            "the smallest number": -(2**63),
            "fraction": 1.5,
            "whole fraction": 1.0,
            "text": "1",
            "bool": True,
            "list": [],
            "map": {},
        }.items()
    },
    "a list": KVS + wire.pack([1]),
    "a list of names": KVS + wire.pack(["DirEnt", "Op"]),
    "a number": KVS + b"\x07",
    "a text": KVS + wire.pack("DirEnt"),
    "nil": KVS + b"\xc0",
    "nothing": KVS,
    "rubbish": KVS + b"\xc1",
    "a request that is cut off": kv_command()[:-1],
    "a request with something behind": kv_command() + b"\xc0",
    "two requests": kv_command() + kv_command()[1:],
    "maps in maps": KVS + b"\x81\xa1a" * 100_000,
    "arrays in arrays": KVS + b"\x91" * 100_000,
    "an array that promises much": KVS + b"\xdd\xff\xff\xff\xff",
    "a text that promises much": KVS + b"\xdb\xff\xff\xff\xff",
}


@pytest.mark.parametrize("case", _KV_REFUSED)
def test_a_kv_request_in_another_form_is_refused(case: str) -> None:
    with pytest.raises(RefusedError, match=r"^not a KV request of this datacenter in the form in which it is logged$"):
        checked(_KV_REFUSED[case], "dc1")


@pytest.mark.parametrize("operation", ["set", "delete", "delete-cas", "cas", "unlock"])
def test_an_empty_key_is_refused(operation: str) -> None:
    with pytest.raises(RefusedError):
        checked(encode(KVSRequest("dc1", operation, DirEntry())), "dc1")


@pytest.mark.parametrize(
    "command", [None, b"", "text", 7, [b"\x02"], {"a": 1}, True, bytearray(kv_command()), memoryview(kv_command())]
)
def test_a_command_is_bytes(command: Any) -> None:
    with pytest.raises(RefusedError, match=r"^a command is a message type and a msgpack value, as bytes$"):
        checked(command, "dc1")


_OTHER_COMMANDS: list[Struct] = [
    SessionRequest("dc1", "destroy"),
    TombstoneRequest("dc1", "reap", 9),
    PreparedQueryRequest("dc1", "delete"),
    TxnRequest("dc1", [TxnOp(kv=TxnKVOp("set", DirEntry(key="k")))]),
    AutopilotSetConfigRequest("dc1"),
]


@pytest.mark.parametrize("request_", _OTHER_COMMANDS, ids=lambda request_: type(request_).__name__)
def test_commands_of_other_types_are_refused(request_: Struct) -> None:
    with pytest.raises(RefusedError, match=r"^only KV requests, registrations and deregistrations are taken encoded$"):
        checked(encode(request_), "dc1")


def test_good_bodies_below_other_types_are_refused() -> None:
    """Those too that a server may ignore, or would take for another name of a known one."""
    for body in (GOOD[0][1:], encode(register())[1:], encode(DEREGISTRATIONS[0])[1:]):
        for kind in range(3, 256):
            with pytest.raises(RefusedError):
                checked(bytes((kind,)) + body, "dc1")


def catalog_command(kind: bytes, **fields: Any) -> bytes:
    body = {"Datacenter": "dc1", "Node": "n1", "Address": "10.0.0.1", **fields}
    packed: bytes = wire.pack({name: value for name, value in body.items() if value is not _ABSENT})
    return kind + packed


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (catalog_command(b"\0", Node=""), "Must provide node"),
        (catalog_command(b"\1", Node=_ABSENT), "Must provide node"),
        (catalog_command(b"\0", Address=None), "Must provide address if SkipNodeUpdate is not set"),
        (catalog_command(b"\0", ID="short"), "Bad node ID: uuid string is wrong length"),
        (catalog_command(b"\0", Service={"ID": "w1"}), "Must provide service name with ID"),
        (catalog_command(b"\0", Service={"Service": "w", "Address": "::"}), "Invalid service address"),
        *((catalog_command(kind, Datacenter="dc2"), "not a request of this datacenter") for kind in (b"\0", b"\1")),
        *((catalog_command(kind, Datacenter=_ABSENT), "not a request of this datacenter") for kind in (b"\0", b"\1")),
        *((catalog_command(kind, Node=7), "Node: expected text, got int") for kind in (b"\0", b"\1")),
        (catalog_command(b"\0", SkipNodeUpdate=1), "RegisterRequest.SkipNodeUpdate: expected a bool, got int"),
        (catalog_command(b"\0", NodeMeta=["a"]), "RegisterRequest.NodeMeta: expected a map, got list"),
        (catalog_command(b"\0", NodeMeta={"a": 1}), "RegisterRequest.NodeMeta: expected text, got int"),
        (catalog_command(b"\0", Checks={}), "RegisterRequest.Checks: expected a list, got dict"),
        (catalog_command(b"\0", Checks=["a"]), "HealthCheck: expected a map, got str"),
        (catalog_command(b"\0", Service={"Service": "w", "Port": "80"}), "NodeService.Port: expected an integer"),
        (catalog_command(b"\0", Service={"Service": "w", "Port": 1.5}), "NodeService.Port: expected an integer"),
        (catalog_command(b"\0", CreateIndex=-1), "RegisterRequest.CreateIndex: expected an unsigned integer, got -1"),
        (catalog_command(b"\1", ServiceID=[]), "DeregisterRequest.ServiceID: expected text, got list"),
        *((kind + b"\xc0", "Must provide node") for kind in (b"\0", b"\1")),
        *((kind, "malformed msgpack") for kind in (b"\0", b"\1")),
        *((kind + b"\xc1", "malformed msgpack") for kind in (b"\0", b"\1")),
        *((kind + b"\x91" * 100_000, "malformed msgpack") for kind in (b"\0", b"\1")),
        *((catalog_command(kind)[:-1], "malformed msgpack") for kind in (b"\0", b"\1")),
        *((catalog_command(kind) + b"\xc0", "malformed msgpack") for kind in (b"\0", b"\1")),
        *((kind + wire.pack([["Node", "n1"]]), "expected a map, got list") for kind in (b"\0", b"\1")),
        *((kind + wire.pack("n1"), "expected a map, got str") for kind in (b"\0", b"\1")),
    ],
)
def test_a_registration_is_refused_in_the_words_of_those_who_check_it(command: bytes, text: str) -> None:
    with pytest.raises(RefusedError) as caught:
        checked(command, "dc1")
    assert text in str(caught.value)


# ---- what the state machine makes of it -----------------------------------------------------------

names = st.sampled_from(["", "n1", "N1", "w1", "dc1", "set", "a\0b", "x" * 600, "\udcff\udc80", S1]) | st.text(
    max_size=5
)
numbers = st.sampled_from([-(2**63), -1, 0, 1, 11, 2**31, 2**32, 2**63, 2**64 - 1]) | st.integers(-(2**63), 2**64 - 1)
fractions = st.floats() | st.sampled_from([1e300, -1e300, 2.0**64])
extensions = st.sampled_from([msgpack.Timestamp(1, 2), msgpack.ExtType(5, b"x")])
scalars = st.none() | st.booleans() | numbers | fractions | names | st.binary(max_size=5) | extensions


def nested(value: Any, depth: int) -> Any:
    for _ in range(depth):
        value = [value]
    return value


values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names | numbers, inner, max_size=3),
    max_leaves=6,
) | st.builds(nested, scalars, st.integers(1, 500))


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """(map or list, key or position) of everything inside `value`."""
    if isinstance(value, dict | list):
        for at, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
            yield value, at
            yield from places(inner)


def like(value: Any) -> st.SearchStrategy[Any]:
    """Values of the same kind, which have a better chance to be taken."""
    if isinstance(value, str):
        return names
    if isinstance(value, int) and not isinstance(value, bool):
        return numbers
    return values


@st.composite
def altered(draw: st.DrawFn) -> bytes:
    """A good command with other values in some places, others missing or added."""
    command = draw(st.sampled_from(GOOD))
    body = wire.unpack(command[1:])
    for _ in range(draw(st.integers(1, 3))):
        inside, at = draw(st.sampled_from(list(places(body)) or [(body, "Node")]))
        change = draw(st.integers(0, 9))
        if change == 0 and isinstance(inside, dict):
            inside[draw(names)] = draw(values)
        elif change == 1:
            inside.pop(at, None) if isinstance(inside, dict) else inside.pop(at)
        else:
            inside[at] = draw(like(inside[at]) if change < 7 else values)
    packer = msgpack.Packer(use_bin_type=draw(st.booleans()), unicode_errors="surrogateescape")
    try:
        return command[:1] + bytes(packer.pack(body))
    except ValueError:  # nested deeper than any encoder goes
        reject()


@given(commands=st.lists(altered() | damaged(GOOD), min_size=1, max_size=20))
@settings(max_examples=100)
def test_whatever_is_taken_can_be_applied_and_its_state_snapshotted(commands: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as directory, driver(Path(directory, "state")) as fsm:
        for command in [*commands, *GOOD]:  # which meet what the odd ones have left
            try:
                taken, _metric = checked(command, "dc1")
            except RefusedError:
                assert command not in GOOD
                continue
            for _ in range(2):  # the second one meets what the first one has written
                fsm.command(taken[0], taken[1:])
        with driver(Path(directory, "copy")) as copy:
            copy.fsm.restore([fsm.dump()], fsm.index, 1)
            assert copy.dump() == fsm.dump()


def test_a_configuration_that_not_every_server_can_walk_through_is_refused() -> None:
    """How deep a stack of Python is differs from server to server, and all have to apply the command."""
    for depth, taken in ((190, True), (210, False), (980, False)):
        proxy = {"DestinationServiceName": "web", "Config": {"a": nested(None, depth)}}
        service = {"Service": "web", "ID": "web", "Proxy": proxy}
        command = b"\0" + wire.pack({"Datacenter": "dc1", "Node": "n", "Address": "10.0.0.1", "Service": service})
        if taken:
            assert checked(command, "dc1")[0][:1] == b"\0"
        else:
            with pytest.raises(RefusedError, match="200 levels"):
                checked(command, "dc1")
