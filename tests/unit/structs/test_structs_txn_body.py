"""The body of a transaction: from Consul's API structs to operations."""

from __future__ import annotations

import pytest

from shared.structs import gojson
from shared.structs.errors import JsonError
from shared.structs.txn_body import decode_operations


def _decode(text: str) -> list[object]:
    return [each.to_op("dc1") for each in decode_operations(gojson.loads(text.encode()))]


def test_the_first_kind_that_is_set_counts_and_empty_operations_are_none() -> None:
    both, empty = decode_operations(gojson.loads(b'[{"Node":{"Verb":"get"},"KV":{"Verb":"get","Key":"a"}},{}]'))
    made = both.to_op("dc1")
    assert made is not None
    assert made.kv is not None
    assert (made.kv.verb, made.kv.dir_ent.key, made.node) == ("get", "a", None)
    assert empty.to_op("dc1") is None
    assert _decode("null") == []


def test_a_value_is_base64_or_a_list_of_octets() -> None:
    for text, value in (('"YWI="', b"ab"), ("[97,98]", b"ab"), ("[97,null]", b"a\0"), ("null", None), ("[]", b"")):
        (made,) = decode_operations(gojson.loads(f'[{{"KV":{{"Value":{text}}}}}]'.encode()))
        assert made.kv is not None
        assert made.kv.value == value


@pytest.mark.parametrize(
    ("definition", "interval_s"),
    [
        ('{"Interval":"10s"}', 10),
        ('{"Interval":5000000000}', 5),
        ('{"IntervalDuration":"10s","Interval":"20s"}', 10),
        ('{"IntervalDuration":7000000000}', 7),
        ("{}", 0),
    ],
)
def test_durations_of_a_check_in_both_spellings(definition: str, interval_s: int) -> None:
    (made,) = decode_operations(gojson.loads(f'[{{"Check":{{"Check":{{"Definition":{definition}}}}}}}]'.encode()))
    op = made.to_op("dc1")
    assert op is not None
    assert op.check is not None
    assert op.check.check.definition.interval == interval_s * 10**9


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{}", "json: cannot unmarshal object into Go value of type api.TxnOps"),
        ("[5]", "json: cannot unmarshal number into Go value of type api.TxnOp"),
        ('[{"KV":5}]', "json: cannot unmarshal number into Go struct field TxnOp.KV of type api.KVTxnOp"),
        ('[{"KV":{"Verb":5}}]', "json: cannot unmarshal number into Go struct field KVTxnOp.KV.Verb of type api.KVOp"),
        ('[{"KV":{"Value":[256]}}]',
         "json: cannot unmarshal number 256 into Go struct field KVTxnOp.KV.Value of type uint8"),
        ('[{"Nope":1}]', 'json: unknown field "Nope"'),
        ('[{"Check":{"Check":{"Definition":{"Interval":null}}}}]',
         'strconv.ParseFloat: parsing "null": invalid syntax'),
        ('[{"Check":{"Check":{"Definition":{"Interval":{}}}}}]', 'strconv.ParseFloat: parsing "{}": invalid syntax'),
    ],
)  # fmt: skip
def test_refusals_in_the_words_of_go(text: str, error: str) -> None:
    with pytest.raises(JsonError) as caught:
        _decode(text)
    assert str(caught.value) == error


def test_what_an_operation_cannot_carry_is_left_out() -> None:
    body = (
        '[{"Service":{"Verb":"set","Node":"n","Service":{"Service":"web","Kind":"connect-proxy","Port":80,'
        '"TaggedAddresses":{"lan":{"Address":"a","Port":1}},"Proxy":{"DestinationServiceName":"x"},'
        '"Connect":{"Native":true,"SidecarService":{"Name":"s","Check":{"TTL":"10s"}}}}}}]'
    )
    (op,) = decode_operations(gojson.loads(body.encode()))
    made = op.to_op("dc1")
    assert made is not None
    assert made.service is not None
    service = made.service.service
    assert (service.service, service.port, service.kind, service.tagged_addresses) == ("web", 80, "", None)
    assert service.weights is not None
    assert (service.weights.passing, service.weights.warning) == (0, 0)
    assert service.proxy.destination_service_name == ""
