"""Go's texts: durations, quoting, JSON and base64 errors."""

from __future__ import annotations

import base64
import binascii
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.config.error_list import error_list
from shared.config.gojson import JsonError, loads_object
from shared.config.gotext import base64_error


def test_lists_of_errors() -> None:
    assert error_list(["a"]) == "1 error occurred:\n\t* a\n\n"
    assert error_list(["a", "b"]) == "2 errors occurred:\n\t* a\n\t* b\n\n"


json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=3), json_values, max_size=3))
def test_json_objects_are_read(tree: dict[str, object]) -> None:
    assert loads_object(json.dumps(tree)) == tree


@given(st.text(st.sampled_from('{}[]",:\\ue1.-+tfn rals0\n'), max_size=20))
def test_any_text_is_an_object_or_a_json_error(text: str) -> None:
    refused = None
    try:
        loads_object(text)
    except JsonError as error:
        refused = str(error)
    assert refused != "exceeded max depth"  # the checker found the reason that Python's parser saw


def test_deep_json_is_an_error() -> None:
    with pytest.raises(JsonError):
        loads_object('{"a":' * 200_000)


@given(st.text(st.sampled_from("ABz019+/=\n-"), max_size=12))
def test_base64_is_refused_exactly_when_it_is_wrong(text: str) -> None:
    clean = text.replace("\n", "")
    try:
        base64.b64decode(clean, validate=True)
        # Python takes "=" where nothing is to be filled up, Go does not.
        valid = len(clean) % 4 == 0 and not (clean.count("=") > 2)
    except binascii.Error:
        valid = False
    assert (base64_error(text) is None) == valid
