"""JSON: what Go accepts, and what it says about the rest."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.base import gojson
from shared.gotext.json_syntax import JsonSyntaxError
from shared.structs.gojson import dumps_indent

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=20,
)


@given(JSON_VALUES)
def test_json_round_trip(value: object) -> None:
    assert gojson.loads(json.dumps(value).encode()) == value
    assert gojson.loads(dumps_indent(value, "\t").encode()) == value


@given(st.text(alphabet='[]{}",:0123456789-+.eEtruefalsn\\ \n\x01é', max_size=16))
def test_json_is_refused_exactly_when_python_refuses_it(text: str) -> None:
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(JsonSyntaxError):
            gojson.loads(text.encode())
    else:
        assert gojson.loads(text.encode()) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "EOF"),
        (b" \n", "EOF"),
        (b"[1", "unexpected EOF"),
        (b"tru", "unexpected EOF"),
        (b"<html>", "invalid character '<' looking for beginning of value"),
        (b'{"a" 1}', "invalid character '1' after object key"),
    ],
)
def test_a_stream_that_ends_early_is_an_unexpected_eof(text: bytes, message: str) -> None:
    with pytest.raises(JsonSyntaxError) as caught:
        gojson.decode_first(text)
    assert str(caught.value) == message


def test_only_the_first_value_of_a_stream_counts() -> None:
    assert gojson.decode_first(b'{"a": 1}\n{"b"') == {"a": 1}


def test_indented_json_escapes_what_html_would_read() -> None:
    text = dumps_indent([{"key": "<a&b>\x08\u2028", "flags": 0, "empty": []}], "\t")
    assert (
        text == '[\n\t{\n\t\t"key": "\\u003ca\\u0026b\\u003e\\u0008\\u2028",\n\t\t"flags": 0,\n\t\t"empty": []\n\t}\n]'
    )
