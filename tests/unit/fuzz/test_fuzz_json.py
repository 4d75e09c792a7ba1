"""JSON bodies: any bytes are a value or a JsonError, any value is a struct that can be sent on or a JsonError."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.ipc import frames
from shared.structs import gojson
from shared.structs.catalog import DeregisterRequest, HealthCheck, NodeService, RegisterRequest
from shared.structs.errors import JsonError
from shared.structs.operator import AutopilotConfig
from shared.structs.schema import Struct
from shared.structs.session import Session
from shared.structs.wire import pack
from tests.unit.fuzz.fuzzing import damaged, fuzz

BODIES: list[type[Struct]] = [RegisterRequest, DeregisterRequest, Session, HealthCheck, NodeService, AutopilotConfig]
SAMPLES = (
    b'{"Node":"n","Address":"1.2.3.4","NodeMeta":{"a":"b"},"Service":{"Service":"s","Port":80,"Tags":["t"],'
    b'"Weights":{"Passing":1,"Warning":1},"Proxy":{"Config":{"x":1.5e3}}},"Check":{"Name":"c","Definition":'
    b'{"Interval":"10s","Header":{"a":["b"]}}},"SkipNodeUpdate":true}',
    b'{"LockDelay":"15s","Name":"x","Node":"n","Behavior":"delete","TTL":"10s","NodeChecks":[],"ServiceChecks":'
    b'[{"ID":"a","Namespace":""}]}',
    b'{"CleanupDeadServers":true,"LastContactThreshold":"200ms","MaxTrailingLogs":250}',
    b'[null,true,-0.0,1e5,"\\u00e9\\ud83d\\ude00\\ud800",[[]],{"":{}}]',
)


def from_bytes(cls: type[Struct], data: bytes) -> Struct | None:
    try:
        return cls.from_json(gojson.loads(data))
    except JsonError:
        return None


def assert_can_be_sent_and_shown(made: Struct) -> None:
    wire = made.to_wire()
    pack(wire)
    frames.encode([frames.CALL, 1, "m", 1, wire])
    json.loads(gojson.dumps(made.to_json()))


@given(data=damaged(SAMPLES) | st.binary(max_size=60), cls=st.sampled_from(BODIES))
@fuzz(200)
def test_any_bytes_are_a_body_or_a_json_error(data: bytes, cls: type[Struct]) -> None:
    if (made := from_bytes(cls, data)) is not None:
        assert_can_be_sent_and_shown(made)


KEYS = sorted({a.json for cls in BODIES for a in cls.attrs if a.json} | {"Weights", "Definition", "Proxy", "Config"})
LITERALS = [b"0", b"-1", b"%d" % 2**63, b"-%d" % (2**63 + 1), b"%d" % 2**64, b"1" * 400, b"-" + b"1" * 5000, b"1e999"]
LITERALS += [b"-1e300", b"1E-7", b"0.5", b'"\\ud800"', b'"\\udc80x"']
TEXTS = ["10s", "-1h", "9" * 5000 + "s", "0." + "9" * 5000 + "h", "2020-01-01T00:00:00Z"]
SCALARS: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(LITERALS) | st.sampled_from(TEXTS)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=4), inner),
    max_leaves=12,
)


def json_text(value: Any) -> bytes:
    """As json.dumps; bytes stand for themselves."""
    if isinstance(value, dict):
        return b"{%b}" % b",".join(json_text(key) + b":" + json_text(item) for key, item in value.items())
    if isinstance(value, list):
        return b"[%b]" % b",".join(map(json_text, value))
    return value if isinstance(value, bytes) else json.dumps(value).encode()


@given(fields=st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6), cls=st.sampled_from(BODIES))
@fuzz(300)
def test_odd_values_in_known_fields_are_taken_or_refused_in_words(fields: dict[str, Any], cls: type[Struct]) -> None:
    if (made := from_bytes(cls, json_text(fields))) is not None:
        assert_can_be_sent_and_shown(made)


@pytest.mark.parametrize("opening", ["[", '{"Node":', '{"a":['])
def test_deep_nesting_is_refused_in_gos_words(opening: str) -> None:
    with pytest.raises(JsonError, match=r"^invalid character '[\[{]' exceeded max depth$"):
        gojson.loads(opening.encode() * 100_000)
    assert gojson.loads(b'"%b"' % (b"[" * 1000)) == "[" * 1000


def test_what_goes_deep_enough_can_still_be_sent() -> None:
    body = b'{"Service":{"Proxy":{"Config":{"x":%b1%b}}}}' % (b"[" * 390, b"]" * 390)
    assert_can_be_sent_and_shown(RegisterRequest.from_json(gojson.loads(body)))


def test_numbers_no_float_holds_are_refused_in_gos_words() -> None:
    for literal in ("1e999", "1" * 400, "1" * 5000):
        body = b'{"Service":{"Proxy":{"Config":{"x":%b}}}}' % literal.encode()
        with pytest.raises(JsonError) as refused:
            RegisterRequest.from_json(gojson.loads(body))
        assert str(refused.value) == (
            f"json: cannot unmarshal number {literal} into Go struct field NodeService.Service.Proxy of type float64"
        )


def test_half_a_surrogate_pair_becomes_the_replacement_character() -> None:
    assert gojson.loads(b'"\\ud800x\\udfff\\ud83d\\ude00"') == "\ufffdx\ufffd\U0001f600"
    assert gojson.loads(b'{"\\udc80":"\\\\ud800"}') == {"\ufffd": "\\ud800"}
