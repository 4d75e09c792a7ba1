"""JSON as Consul's HTTP API shows and reads it. Expected texts were recorded from a real 1.8.7 agent."""

from __future__ import annotations

import pytest

from shared.structs import gojson
from shared.structs.catalog import (
    DeregisterRequest,
    HealthCheck,
    HealthCheckDefinition,
    NodeService,
    RegisterRequest,
    ServiceNode,
)
from shared.structs.errors import JsonError
from shared.structs.kv import DirEntry
from shared.structs.proxy import ConnectProxyConfig, Upstream, Weights
from shared.structs.schema import Struct
from shared.structs.session import Session

REGISTER_ERRORS = [
    ("", "EOF"),
    (" ", "EOF"),
    ("{", "unexpected EOF"),
    ('{"Node":', "unexpected EOF"),
    ('{"Node":"a', "unexpected EOF"),
    ("{a}", "invalid character 'a' looking for beginning of object key string"),
    ('{"a" 1}', "invalid character '1' after object key"),
    ('{"a":1,}', "invalid character '}' looking for beginning of object key string"),
    ('{"a":1 "b"}', "invalid character '\"' after object key:value pair"),
    ("[1 2]", "invalid character '2' after array element"),
    ('{"a":tru}', "invalid character '}' in literal true (expecting 'e')"),
    ('{"a":nul', "unexpected EOF"),
    ('{"a":01}', "invalid character '1' after object key:value pair"),
    ('{"Node":"a\x01"}', "invalid character '\\x01' in string literal"),
    ('{"Node":"\\q"}', "invalid character 'q' in string escape code"),
    ('{"Node":"\\u12"}', "invalid character '\"' in \\u hexadecimal character escape"),
    ("{'a':1}", "invalid character '\\'' looking for beginning of object key string"),
    ('{"Node":-}', "invalid character '}' in numeric literal"),
    ('{"Node":1.}', "invalid character '}' after decimal point in numeric literal"),
    ('{"Node":NaN}', "invalid character 'N' looking for beginning of value"),
    ("x", "invalid character 'x' looking for beginning of value"),
    ("[]", "json: cannot unmarshal array into Go value of type structs.RegisterRequest"),
    ("12", "json: cannot unmarshal number into Go value of type structs.RegisterRequest"),
    ('{"Foo":1}', 'json: unknown field "Foo"'),
    ('{"Service":{"Foo":1}}', 'json: unknown field "Foo"'),
    ('{"Node":1}', "json: cannot unmarshal number into Go struct field RegisterRequest.Node of type string"),
    (
        '{"Service":{"Port":"x"}}',
        "json: cannot unmarshal string into Go struct field NodeService.Service.Port of type int",
    ),
    (
        '{"Service":{"Port":1e3}}',
        "json: cannot unmarshal number 1e3 into Go struct field NodeService.Service.Port of type int",
    ),
    (
        '{"Service":{"Tags":[1]}}',
        "json: cannot unmarshal number into Go struct field NodeService.Service.Tags of type string",
    ),
    (
        '{"Checks":{}}',
        "json: cannot unmarshal object into Go struct field RegisterRequest.Checks of type structs.HealthChecks",
    ),
    (
        '{"Check":{"CheckID":1}}',
        "json: cannot unmarshal number into Go struct field HealthCheck.Check.CheckID of type types.CheckID",
    ),
    (
        '{"Check":{"Definition":{"HTTP":1}}}',
        "json: cannot unmarshal number into Go struct field HealthCheck.Check.Definition of type string",
    ),
    ('{"Check":{"Definition":{"Interval":"10q"}}}', 'time: unknown unit "q" in duration "10q"'),
    ('{"Check":{"Definition":{"Interval":"10"}}}', 'time: missing unit in duration "10"'),
    ('{"Check":{"Definition":{"Interval":""}}}', 'time: invalid duration ""'),
    (
        '{"Service":{"Proxy":{"Upstreams":[{"LocalBindPort":"x"}]}}}',
        "json: cannot unmarshal string into Go struct field NodeService.Service.Proxy of type int",
    ),
    (
        '{"CreateIndex":-1}',
        "json: cannot unmarshal number -1 into Go struct field RegisterRequest.CreateIndex of type uint64",
    ),
]

SESSION_ERRORS = [
    ('{"LockDelay":"x"}', 'time: invalid duration "x"'),
    ('{"Node":1}', "json: cannot unmarshal number into Go struct field .Node of type string"),
    ("[]", "json: cannot unmarshal array into Go value of type struct { LockDelay interface {}; *structs.Alias }"),
    (
        '{"ServiceChecks":[{"ID":1}]}',
        "json: cannot unmarshal number into Go struct field ServiceCheck.ServiceChecks.ID of type string",
    ),
    ('{"Checks":[1]}', "json: cannot unmarshal number into Go struct field .Checks of type types.CheckID"),
]


@pytest.mark.parametrize(
    ("cls", "body", "expected"),
    [(RegisterRequest, *case) for case in REGISTER_ERRORS] + [(Session, *case) for case in SESSION_ERRORS],
)
def test_a_bad_body_is_refused_in_gos_words(cls: type[Struct], body: str, expected: str) -> None:
    with pytest.raises(JsonError) as refused:
        cls.from_json(gojson.loads(body.encode()))
    assert str(refused.value) == expected


def test_bytes_that_are_no_utf8_are_named_one_by_one() -> None:
    with pytest.raises(JsonError, match="invalid character 'ÿ' looking for"):
        gojson.loads(b"\xff")
    assert gojson.loads(b'"a\xe2\x82b"') == "a\ufffd\ufffdb"


def test_keys_match_in_any_case_and_null_leaves_a_field_alone() -> None:
    body = b'{"node":"n","ADDRESS":"a","Service":{"service":"web","Port":null,"tags":["x"]},"NodeMeta":null} junk'
    request = RegisterRequest.from_json(gojson.loads(body))
    assert request == RegisterRequest(node="n", address="a", service=NodeService(service="web", tags=["x"]))


def test_snake_case_spellings_fill_what_the_main_one_left_empty() -> None:
    body = b'{"destination_service_name":"db","upstreams":[{"destination_name":"x","local_bind_port":5}]}'
    config = ConnectProxyConfig.from_json(gojson.loads(body))
    assert config.destination_service_name == "db"
    assert config.upstreams == [Upstream(destination_name="x", local_bind_port=5)]


def test_free_form_numbers_are_floats_and_print_as_go_does() -> None:
    config = ConnectProxyConfig.from_json(gojson.loads(b'{"Config":{"b":1,"a":{"c":[2,0.00001,1e21]}}}'))
    assert config.config == {"b": 1.0, "a": {"c": [2.0, 1e-5, 1e21]}}
    assert gojson.dumps(config.to_json()) == (
        b'{"Config":{"a":{"c":[2,0.00001,1e+21]},"b":1},"MeshGateway":{},"Expose":{}}'
    )


def test_a_deregistration_may_carry_the_obsolete_address() -> None:
    request = DeregisterRequest.from_json(gojson.loads(b'{"Node":"n","Address":"1.2.3.4"}'))
    assert request.node == "n"
    assert "Address" not in request.to_wire()


@pytest.mark.parametrize(("given", "delay_s"), [('"15s"', 15), ("15", 15), ("2000000000", 2), ("0", 0), ("true", 0)])
def test_a_small_lock_delay_is_seconds(given: str, delay_s: int) -> None:
    session = Session.from_json(gojson.loads(f'{{"LockDelay":{given}}}'.encode()))
    assert session.lock_delay == delay_s * 1_000_000_000


def test_json_of_a_check_shows_durations_as_text_except_ttl() -> None:
    definition = HealthCheckDefinition(
        interval=90_000_000_000, ttl=1_000_000_000, http="http://x", header={"b": ["2"], "a": ["1"]}
    )
    check = HealthCheck(node="n", check_id="c", definition=definition, create_index=3)
    assert gojson.dumps(check.to_json()) == (
        b'{"Node":"n","CheckID":"c","Name":"","Status":"","Notes":"","Output":"","ServiceID":"","ServiceName":"",'
        b'"ServiceTags":null,"Type":"","Definition":{"Interval":"1m30s","HTTP":"http://x",'
        b'"Header":{"a":["1"],"b":["2"]},"TTL":1000000000},"CreateIndex":3,"ModifyIndex":0}'
    )


def test_json_of_services_omits_what_go_omits() -> None:
    service = NodeService(id="w", service="web", weights=Weights(1, 1))
    assert gojson.dumps(service.to_json()) == (
        b'{"ID":"w","Service":"web","Tags":null,"Address":"","Meta":null,"Port":0,'
        b'"Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,"Proxy":{"MeshGateway":{},"Expose":{}},'
        b'"Connect":{},"CreateIndex":0,"ModifyIndex":0}'
    )
    assert list(ServiceNode().to_json())[:5] == ["ID", "Node", "Address", "Datacenter", "TaggedAddresses"]
    assert "ServiceTaggedAddresses" not in ServiceNode().to_json()


def test_json_of_a_key_has_base64_or_null() -> None:
    assert gojson.dumps(DirEntry(1, "k", 2, b"hi", "", 3, 4).to_json()) == (
        b'{"LockIndex":1,"Key":"k","Flags":2,"Value":"aGk=","CreateIndex":3,"ModifyIndex":4}'
    )
    assert DirEntry().to_json()["Value"] is None
    assert DirEntry(session="s").to_json()["Session"] == "s"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("<a&b>\u2028", b'"\\u003ca\\u0026b\\u003e\\u2028"'),
        ("\b\f\\b\n\t\x01\x7f", b'"\\u0008\\u000c\\\\b\\n\\t\\u0001\x7f"'),
        ("\\\b", b'"\\\\\\u0008"'),
        ("a\udcffb", b'"a\\ufffdb"'),
        ([1.0, 0.1, 1e-7, 1.5e-7, 1e20, 123456789.125, -2.0, 1e-6, 1e100, 0.0], None),
        ({"x": ":1.5"}, b'{"x":":1.5"}'),
        ({"x": "a:1.5,b", "y": 1.5}, b'{"x":"a:1.5,b","y":1.5}'),
    ],
)
def test_text_is_written_as_go_writes_it(value: object, text: bytes | None) -> None:
    if text is None:
        text = b"[1,0.1,1e-7,1.5e-7,100000000000000000000,123456789.125,-2,0.000001,1e+100,0]"
    assert gojson.dumps(value) == text


def test_pretty_is_four_spaces() -> None:
    assert gojson.dumps({"a": [1], "b": {}, "c": []}, pretty=True) == (
        b'{\n    "a": [\n        1\n    ],\n    "b": {},\n    "c": []\n}'
    )


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        (
            {"Node": 1, "Check": {"Name": 2, "Definition": {"Header": 3}}},
            "number into Go struct field HealthCheck.Check.Definition of type map[string][]string",
        ),
        (
            {"Check": {"Name": 2}, "Address": 1},
            "number into Go struct field HealthCheck.Check.Name of type string",
        ),
    ],
)
def test_a_decoder_of_its_own_is_heard_before_values_of_another_type(body: object, refusal: str) -> None:
    with pytest.raises(JsonError) as caught:
        RegisterRequest.from_json(body)
    assert str(caught.value) == f"json: cannot unmarshal {refusal}"


def test_the_long_s_is_an_s_in_keys() -> None:
    assert RegisterRequest.from_json({"addre\u017f\u017f": "a"}).address == "a"


def test_of_a_duration_that_comes_twice_the_last_is_read() -> None:
    assert Session.from_json({"LockDelay": "nonsense", "lockdelay": "5s"}).lock_delay == 5_000_000_000
