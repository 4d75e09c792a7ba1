"""Properties of the wire codec: round trips, tolerance, and errors instead of crashes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.structs import wire
from shared.structs.catalog import CheckServiceNode, HealthCheck, NodeService, RegisterRequest
from shared.structs.errors import WireTypeError
from shared.structs.kv import KVSRequest
from shared.structs.schema import Kind, Struct
from shared.structs.session import SessionRequest
from shared.structs.txn import TxnRequest

texts = st.text(st.characters(codec="utf-8"), max_size=8)
u64 = st.integers(0, 2**64 - 1)
SIMPLE: dict[str, st.SearchStrategy[Any]] = {
    "str": texts,
    "bool": st.booleans(),
    "int": st.integers(-(2**63), 2**63 - 1),
    "uint": u64,
    "duration": st.integers(-(2**63), 2**63 - 1),
    "duration_any": st.integers(-(2**63), 2**63 - 1),
    "duration_text": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(allow_nan=False),
    "bytes": st.none() | st.binary(min_size=1, max_size=8),
    "any": st.none() | texts | st.floats(allow_nan=False) | st.lists(texts, max_size=2),
}


def values(kind: Kind, depth: int) -> st.SearchStrategy[Any]:
    if kind.name in SIMPLE:
        return SIMPLE[kind.name]
    if kind.name in ("struct", "opt"):
        assert kind.target is not None
        made = structs(kind.target(), depth - 1) if depth else st.just(kind.target()())
        return made if kind.name == "struct" else st.none() | made
    assert kind.inner is not None
    inner = values(kind.inner, depth)
    if kind.name == "list":
        return st.none() | st.lists(inner, max_size=2)
    return st.none() | st.dictionaries(texts, inner, max_size=2)


def structs(cls: type[Struct], depth: int = 2) -> st.SearchStrategy[Any]:
    wired = [a for a in cls.attrs if a.wire]
    # One at a time is what finds a field that is swapped with another; all together costs too much.
    fields = st.lists(st.sampled_from(wired), max_size=5, unique_by=lambda a: a.name)
    return fields.flatmap(lambda chosen: st.fixed_dictionaries({a.name: values(a.kind, depth) for a in chosen})).map(
        lambda given: cls(**given)
    )


@pytest.mark.parametrize("cls", [RegisterRequest, KVSRequest, SessionRequest, TxnRequest, CheckServiceNode])
@given(data=st.data())
def test_wire_and_rows_round_trip(cls: type[Struct], data: st.DataObject) -> None:
    made = data.draw(structs(cls))
    packed = wire.pack(made.to_wire())
    assert cls.from_wire(wire.unpack(packed)) == made
    assert cls.from_row(made.to_row()) == made
    keys = list(made.to_wire())
    assert keys == sorted(keys)


@given(
    st.recursive(
        st.none() | st.booleans() | u64 | texts | st.binary(max_size=4),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["Node", "Service", "Checks", "Tags", "Port", "Meta", "Value"]), inner, max_size=4
            )
        ),
        max_leaves=12,
    )
)
def test_odd_values_give_a_struct_or_a_wire_type_error(value: Any) -> None:
    for cls in (RegisterRequest, NodeService, HealthCheck, TxnRequest):
        try:
            cls.from_wire(value)
        except WireTypeError:
            continue


@given(st.binary(max_size=40))
def test_junk_bytes_give_values_or_a_wire_type_error(junk: bytes) -> None:
    try:
        wire.unpack(junk)
        list(wire.WireStream([junk]).values())
    except WireTypeError:
        pass


@given(sent=st.lists(st.lists(texts, max_size=2) | u64, max_size=5), data=st.data())
def test_a_stream_does_not_care_where_it_is_cut(sent: list[Any], data: st.DataObject) -> None:
    raw = b"".join(map(wire.pack, sent))
    cut = data.draw(st.integers(0, len(raw)))
    assert list(wire.WireStream([raw[:cut], b"", raw[cut:]]).values()) == sent


def test_a_cut_off_stream_is_an_error() -> None:
    raw = wire.pack({"a": "b"})
    with pytest.raises(WireTypeError, match="unexpected end"):
        wire.WireStream([raw[:-1]]).value()


def test_wrong_kinds_name_the_field() -> None:
    with pytest.raises(WireTypeError, match=r"NodeService\.Port"):
        NodeService.from_wire({"Port": "80"})
    with pytest.raises(WireTypeError, match="unsigned"):
        NodeService.from_wire({"CreateIndex": -1})


def test_zero_structs_inside_do_not_share_state() -> None:
    one, other = NodeService(), NodeService()
    one.proxy.destination_service_name = "db"
    assert other.proxy.destination_service_name == ""
    assert one != other
    assert one.copy() == one
    assert one.replace(port=1) != one
