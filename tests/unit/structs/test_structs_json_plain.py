"""The quick way of reading JSON into records gives what the full one gives, or leaves it to that."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.structs.catalog import HealthCheck, NodeService, RegisterRequest
from shared.structs.errors import JsonError
from shared.structs.json_decode import decode_fully, decode_struct
from shared.structs.json_plain import decode_plain
from shared.structs.schema import Kind, Struct
from shared.structs.session import Session

ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.text(max_size=5),
    st.lists(st.text(max_size=3), max_size=2),
    st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
)


def fitting(kind: Kind, depth: int) -> st.SearchStrategy[Any]:
    """JSON values that mostly suit a field of this kind."""
    name = kind.name
    if name in ("struct", "opt") and kind.target is not None and depth < 3:
        return st.one_of(objects(kind.target(), depth + 1), ANYTHING) if depth else objects(kind.target(), 1)
    if name == "list" and kind.inner is not None:
        return st.lists(fitting(kind.inner, depth + 1), max_size=2)
    if name == "map" and kind.inner is not None:
        return st.dictionaries(st.text(max_size=3), fitting(kind.inner, depth + 1), max_size=2)
    plain = {"str": st.text(max_size=5), "bool": st.booleans(), "int": st.integers(-5, 5), "uint": st.integers(0, 5)}
    return st.one_of(plain.get(name, ANYTHING), plain.get(name, ANYTHING), ANYTHING)


def objects(cls: type[Struct], depth: int = 0) -> st.SearchStrategy[dict[str, Any]]:
    fields = {declared.json: fitting(declared.kind, depth) for declared in cls.attrs if declared.json is not None}
    exact = st.lists(st.sampled_from(sorted(fields)), max_size=4, unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: fields[name] for name in names})
    )
    odd = st.sampled_from(sorted(fields)).flatmap(
        lambda name: st.fixed_dictionaries({name.lower(): fields[name], name: fields[name]})
    )
    unknown = st.dictionaries(st.text(max_size=4), ANYTHING, max_size=1)
    return st.one_of(exact, exact, exact, odd, unknown)


def outcome(decode: Any, cls: type[Struct], value: Any) -> Any:
    try:
        return decode(cls, value)
    except JsonError as error:
        return str(error)


@pytest.mark.parametrize("cls", [RegisterRequest, NodeService, HealthCheck, Session])
@given(data=st.data())
def test_both_ways_read_the_same(cls: type[Struct], data: st.DataObject) -> None:
    value = data.draw(objects(cls))
    assert outcome(decode_struct, cls, value) == outcome(decode_fully, cls, value)


def test_an_ordinary_registration_goes_the_quick_way() -> None:
    service = {"ID": "web-1", "Service": "web", "Tags": ["v1"], "Port": 80, "Meta": {"a": "b"}}
    check = {"Name": "alive", "Status": "passing", "Definition": {"HTTP": "http://10.0.0.1/"}}
    body = {"Node": "a", "Address": "10.0.0.1", "SkipNodeUpdate": False, "Service": service, "Check": check}
    made = decode_plain(RegisterRequest, body)
    assert made == decode_fully(RegisterRequest, body)
    assert made is not None
    assert made.service is not None
    assert made.service.port == 80


@pytest.mark.parametrize(
    "body",
    [
        {"node": "a"},
        {"Node": 1},
        {"Node": None},
        {"SkipNodeUpdate": 1},
        {"Service": {"Port": True}},
        {"Service": {"Port": 2**63}},
        {"Service": {"Tags": [1]}},
        {"Service": {"Meta": {"a": 1}}},
        {"Unknown": 1},
        [],
        "a",
        None,
    ],
)
def test_what_is_out_of_the_ordinary_is_left_alone(body: Any) -> None:
    assert decode_plain(RegisterRequest, body) is None
