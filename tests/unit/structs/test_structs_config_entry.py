"""Config entries as records: read from free-form data, normalised, checked, and on the wire."""

from __future__ import annotations

import math
import struct
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.structs.config_entry import KINDS, ProxyDefaults, ServiceSplit, ServiceSplitter, float32, shortest
from shared.structs.config_entry_rules import decode_entry, is_domain_name, normalize, scaled_weight, validate
from shared.structs.config_entry_wire import ConfigEntryRequest, pack_answer, pack_list, read_answer, read_list
from shared.structs.errors import RefusedError
from shared.structs.query import QueryMeta
from shared.structs.weak_decode import json_numbers

names = st.sampled_from(["Name", "x", "path"])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.sampled_from(["", "x", "7", "true", "3s"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=2),
    max_leaves=6,
)
keys = st.sampled_from(
    ["Name", "protocol", "Config", "mesh_gateway", "Expose", "Routes", "Splits", "Subsets", "Redirect", "Failover",
     "connect_timeout", "TLS", "Listeners", "Services", "Meta", "Nope", "ModifyIndex"]
)  # fmt: skip
kinds = st.sampled_from(sorted(KINDS))
bodies = st.builds(lambda kind, rest: {"Kind": kind, **rest}, kinds, st.dictionaries(keys, values))


@given(bodies)
def test_any_body_is_an_entry_or_refused(body: dict[str, Any]) -> None:
    """What is taken comes back the same over the wire and as JSON."""
    try:
        entry = decode_entry(json_numbers(body))
        normalize(entry)
        validate(entry)
    except RefusedError:
        return
    request = ConfigEntryRequest.from_raw(ConfigEntryRequest("upsert", entry, "dc1", "t").to_raw())
    assert (request.op, request.entry, request.datacenter, request.token) == ("upsert", entry, "dc1", "t")
    assert type(entry).from_row(entry.to_row()) == entry
    meta = QueryMeta(index=7, known_leader=True)
    assert read_answer(pack_answer(entry, meta)) == (entry, meta)
    assert read_list(pack_list(entry.kind_name, [entry, entry], meta)) == ([entry, entry], meta)
    again = decode_entry(json_numbers(entry.to_json()))
    normalize(again)
    assert again.to_json() == entry.to_json()


def test_no_entry_at_all() -> None:
    assert read_answer(pack_answer(None, QueryMeta(index=3))) == (None, QueryMeta(index=3))


@given(st.floats(width=32, allow_nan=False))
def test_a_weight_is_the_shortest_number_that_rounds_to_it(number: float) -> None:
    found = shortest(number)
    assert float32(found) == number
    if math.isfinite(number):
        assert digits(found) <= digits(number)


def digits(number: float) -> int:
    """How many it takes to write the number down, apart from its exponent."""
    return len(Decimal(repr(number)).normalize().as_tuple().digits)


def test_weights_travel_as_floats_of_32_bits() -> None:
    splitter = ServiceSplitter(name="x", splits=[ServiceSplit(33.33)])
    raw = ConfigEntryRequest("upsert", splitter).to_raw()
    assert b"\xa6Weight\xca" + struct.pack(">f", 33.33) in raw


@pytest.mark.parametrize(("weight", "scaled"), [(0.005, 1), (0.0049, 0), (33.333, 3333), (99.995, 10000), (-0.5, -50)])
def test_weights_have_hundredths(weight: float, scaled: int) -> None:
    assert scaled_weight(weight) == scaled


@pytest.mark.parametrize("config", [{"a": None}, {"a": [1.0, {"b": None}]}])
def test_no_null_where_consul_could_not_read_it(config: dict[str, Any]) -> None:
    with pytest.raises(RefusedError, match="must not contain null"):
        validate(ProxyDefaults(name="global", config=config))


def test_keys_in_any_spelling() -> None:
    made = decode_entry({"kind": "service-resolver", "NAME": "x", "connect_timeout": "1m", "defaultsubset": "v1"})
    assert made.to_json() == {
        "ConnectTimeout": "1m0s", "Kind": "", "Name": "x", "DefaultSubset": "v1", "CreateIndex": 0, "ModifyIndex": 0,
    } | {"Kind": "service-resolver"}  # fmt: skip


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, "Payload does not contain a kind/Kind key at the top level"),
        ({"Kind": 7.0}, "Kind value in payload is not a string"),
        ({"Kind": "service-intentions"}, "invalid config entry kind: service-intentions"),
        (
            {"Kind": "service-defaults", "Name": {"a": 1.0}, "Expose": {"Checks": "x"}},
            "2 error(s) decoding:\n\n* 'Name' expected type 'string', "
            "got unconvertible type 'map[string]interface {}'\n"
            "* cannot parse 'Expose.Checks' as bool: strconv.ParseBool: parsing \"x\": invalid syntax",
        ),
        (
            {"Kind": "service-defaults", "a": 1.0, "Expose": {"Namespace": "x"}},
            '2 errors occurred:\n\t* invalid config key "Expose.Namespace", namespaces are a consul enterprise feature'
            '\n\t* invalid config key "a"\n\n',
        ),
        (
            {"Kind": "service-resolver", "ConnectTimeout": "x"},
            "1 error(s) decoding:\n\n* error decoding 'ConnectTimeout': time: invalid duration \"x\"",
        ),
    ],
)
def test_bodies_that_are_no_entry(body: dict[str, Any], text: str) -> None:
    with pytest.raises(RefusedError) as caught:
        decode_entry(body)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("text", "is_one"),
    [("a", True), ("a.b.", True), (".", True), ("", False), ("a..b", False), (".a", False), ("l" * 63, True),
     ("l" * 64, False), (r"a\.b", True), (r"\065", True), (".".join(["l" * 62] * 4), True), ("a." * 128, False)],
)  # fmt: skip
def test_domain_names(text: str, is_one: bool) -> None:
    assert is_domain_name(text) is is_one
