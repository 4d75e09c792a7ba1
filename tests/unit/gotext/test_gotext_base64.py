"""Base64: what encoding/base64 accepts, and at which byte it sees the fault."""

from __future__ import annotations

import base64
import binascii

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.gotext import base64_text


@given(st.binary())
def test_base64_round_trip_with_line_breaks(data: bytes) -> None:
    assert base64_text.decode(base64.encodebytes(data)) == data


@given(st.text(alphabet="ab=/\n é", max_size=12))
def test_base64_gives_data_or_an_offset_within_the_text(text: str) -> None:
    data = text.encode()
    offset = 0
    try:
        base64_text.decode(data)
    except ValueError as error:
        offset = int(str(error).rpartition(" ")[2])
    assert 0 <= offset <= len(data)


@given(st.text(st.sampled_from("ABz019+/=\n-"), max_size=12))
def test_base64_is_refused_exactly_when_it_is_wrong(text: str) -> None:
    clean = text.replace("\n", "")
    try:
        base64.b64decode(clean, validate=True)
        # Python takes "=" where nothing is to be filled up, Go does not.
        valid = len(clean) % 4 == 0 and not clean.count("=") > 2
    except binascii.Error:
        valid = False
    try:
        base64_text.decode(text.encode())
    except ValueError:
        assert not valid
    else:
        assert valid


@pytest.mark.parametrize(
    ("text", "offset"),
    [("ab=x", 2), ("ab==x", 4), ("abc=x", 4), ("ab=", 3), ("a", 0), ("abcde", 4), ("é", 0), ("=", 0)],
)
def test_the_byte_at_fault(text: str, offset: int) -> None:
    with pytest.raises(ValueError, match=f"^illegal base64 data at input byte {offset}$"):
        base64_text.decode(text.encode())
