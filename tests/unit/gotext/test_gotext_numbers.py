"""Booleans and integers: what strconv accepts, and what it says about the rest."""

from __future__ import annotations

import math

import pytest

from shared.gotext import numbers


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("0x1F", 31),
        ("0b11", 3),
        ("0o17", 15),
        ("017", 15),
        ("1_000", 1000),
        ("0x_1", 1),
        ("0_7", 7),
        ("0X1f", 31),
        ("00", 0),
    ],
)
def test_integers_have_gos_literal_forms(text: str, value: int) -> None:
    assert numbers.parse_uint(text) == value


@pytest.mark.parametrize(
    "text",
    ["", "+1", "-1", " 1", "1 ", "_1", "1_", "1__0", "0x", "09", "١", "1e3", "0x-1", "0x 1", "0x0x1", "0_"],
)
def test_other_forms_of_unsigned_integers_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"strconv\.ParseUint: parsing .*: invalid syntax"):
        numbers.parse_uint(text)


@pytest.mark.parametrize(("text", "value"), [("-0x8000000000000000", -(2**63)), ("+9", 9), ("-0", 0)])
def test_signed_integers(text: str, value: int) -> None:
    assert numbers.parse_int(text) == value


@pytest.mark.parametrize("text", ["9223372036854775808", "-9223372036854775809", "1" * 5000])
def test_integers_that_do_not_fit(text: str) -> None:
    with pytest.raises(numbers.RangeError, match=r"^strconv\.ParseInt: parsing .*: value out of range$"):
        numbers.parse_int(text)


def test_booleans() -> None:
    assert [numbers.parse_bool(text) for text in ("T", "1", "f", "False")] == [True, True, False, False]
    with pytest.raises(ValueError, match=r'^strconv\.ParseBool: parsing "yes": invalid syntax$'):
        numbers.parse_bool("yes")


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1.0), ("-1.5e3", -1500.0), (".5", 0.5), ("5.", 5.0), ("0x1.8p1", 3.0), ("+Inf", math.inf), ("1e-999", 0.0)],
)
def test_floats(text: str, value: float) -> None:
    assert numbers.parse_float(text) == value


@pytest.mark.parametrize("text", ["", ".", "1_0", "1e", " 1", "0x1", "0x1.8", "e3", "infin", "--1"])
def test_other_forms_of_floats_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"strconv\.ParseFloat: parsing .*: invalid syntax"):
        numbers.parse_float(text)


@pytest.mark.parametrize("text", ["1e999", "-1e999", "0x1p9999"])
def test_floats_that_do_not_fit(text: str) -> None:
    with pytest.raises(numbers.RangeError, match="value out of range"):
        numbers.parse_float(text)


@pytest.mark.parametrize(
    ("text", "value"), [("0", 0), ("+7", 7), ("-12", -12), ("007", 7), (str(2**63 - 1), 2**63 - 1)]
)
def test_decimal_integers(text: str, value: int) -> None:
    assert numbers.parse_atoi(text) == value


@pytest.mark.parametrize("text", ["", "+", "x", "0x1", "1_0", " 1", "1 ", "1.0", "--1", "١"])
def test_what_is_no_decimal_integer(text: str) -> None:
    with pytest.raises(ValueError, match=r"^strconv\.Atoi: parsing .*: invalid syntax$"):
        numbers.parse_atoi(text)


@pytest.mark.parametrize("text", [str(2**63), "-9223372036854775809", "9" * 5000])
def test_decimal_integers_that_do_not_fit(text: str) -> None:
    with pytest.raises(numbers.RangeError, match=r"^strconv\.Atoi: parsing .*: value out of range$"):
        numbers.parse_atoi(text)
