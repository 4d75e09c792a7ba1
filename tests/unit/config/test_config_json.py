"""Lists of errors, and the JSON of configuration files."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.config.error_list import error_list
from shared.config.gojson import JsonError, loads_object


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
