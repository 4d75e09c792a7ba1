"""The interpolation language: what templates say, what they cannot say, and what no text can make them do."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.hil import Function, HilError, evaluate, parse
from shared.hil.ast import INT, STRING
from shared.hil.evaluation import float_text

VARIABLES = {"name.full": "geo-db", "name.suffix": "db", "number": "7", "empty": ""}
FUNCTIONS: Mapping[str, Function] = {
    "match": Function((INT,), STRING, lambda n: f"<{n}>"),
    "length": Function((STRING,), INT, len),
}


def filled(text: str) -> str:
    return evaluate(parse(text), VARIABLES, FUNCTIONS)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", ""),
        ("plain", "plain"),
        ("${name.full}", "geo-db"),
        ("a-${name.suffix}-b", "a-db-b"),
        ("$${name.full}", "${name.full}"),
        ("5$ or $$ or $x", "5$ or $ or $x"),
        ("${match(1)}${match( 2 )}", "<1><2>"),
        ('${match("3")}', "<3>"),
        ("${match(,4)}", "<4>"),
        ("${length(name.full)}", "6"),
        ('${length("a${name.suffix}b")}', "4"),
        ('${"quoted \\"x\\" \\\\ \\n"}', 'quoted "x" \\ \n'),
        ('a${""}b', "ab"),
        ("${1 + 2 * 3}", "9"),
        ("${-1 - -2}", "1"),
        ("${7 / 2}${-7 / 2}${-7 % 3}", "3-3-1"),
        ("${010}", "8"),
        ("${1.5 * 2}", "3"),
        ("${1 + 1.9}", "2"),
        ("${1.9 + 1}", "2.9"),
        ("${number * 2}", "14"),
        ("${9223372036854775807 + 1}", "-9223372036854775808"),
        ("${(1 + 2) * (3)}", "9"),
        ("${1.0 / 0}", "+Inf"),
        ("\n ${name.full}\n", "\n geo-db\n"),
    ],
)
def test_what_a_text_stands_for(text: str, wanted: str) -> None:
    assert filled(text) == wanted


@pytest.mark.parametrize(
    "text",
    ["${", "${}", "${name.full", "${1 2}", '${"open}', "${match(,)}", "${match(1,)}", "${#}", "${09}", "${(1}", "${*1}",
     "${99999999999999999999}", "${a b}", "${1 +}", "${[1]}", '${"${"}']
)  # fmt: skip
def test_what_is_no_template(text: str) -> None:
    with pytest.raises(HilError, match=r"\Aparse error: syntax error\Z"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("${nope}", "1:3: unknown variable accessed: nope"),
        ("line\n  ${nope}", "2:6: unknown variable accessed: nope"),
        ("${foo(nope)}", "1:7: unknown variable accessed: nope"),
        ("${foo(1)}", "1:3: unknown function called: foo"),
        ("${match()}", "1:3: match: expected 1 arguments, got 0"),
        ("${match(1, 2)}", "1:3: match: expected 1 arguments, got 2"),
        ("${nope[0]}", "At column 3, line 1: unknown variable accessed: nope"),
        ("${number[0]}", "At column 3, line 1: invalid index operation into non-indexable type: TypeString"),
        ("${number[nope]}", "At column 3, line 1: unknown variable: nope"),
        ("${number[foo(1)]}", "At column 3, line 1: unknown function: foo"),
        ("${1.5 % 2}", "At column 3, line 1: modulo cannot be used with floats"),
        ("${1 + name.full}", '__builtin_StringToInt: strconv.ParseInt: parsing "geo-db": invalid syntax'),
        ("${1.5 + empty}", '__builtin_StringToFloat: strconv.ParseFloat: parsing "": invalid syntax'),
        ("${1 / 0}", "division by zero"),
    ],
)
def test_what_cannot_be_computed(text: str, wanted: str) -> None:
    with pytest.raises(HilError) as caught:
        filled(text)
    assert str(caught.value) == wanted


@pytest.mark.parametrize(
    ("number", "wanted"),
    [(0.0, "0"), (1.5, "1.5"), (100000.0, "100000"), (1e6, "1e+06"), (1234567.5, "1.2345675e+06"), (1e-4, "0.0001"),
     (1.5e-5, "1.5e-05"), (-2e300, "-2e+300"), (float("nan"), "NaN"), (float("-inf"), "-Inf")]
)  # fmt: skip
def test_floats_as_go_shows_them(number: float, wanted: str) -> None:
    assert float_text(number) == wanted


@given(st.text().filter(lambda text: "$" not in text and "\0" not in text))
def test_a_text_without_dollars_stands_for_itself(text: str) -> None:
    assert filled(text) == text


@given(st.text().filter(lambda text: "\0" not in text))
def test_any_text_can_be_written(text: str) -> None:
    assert filled(text.replace("$", "$$")) == text


_tokens = ["${", "}", '"', "$", "$$", "(", ")", "[", "]", ",", "+", "-", "*", "/", "%", "1", "2.5", "0", "name.full"]
_tokens += ["match", "match(1)", "nope", " ", "\n", "\\", "é", "text", "."]


@given(st.lists(st.sampled_from(_tokens), max_size=20).map("".join))
def test_any_text_is_filled_in_or_refused(text: str) -> None:
    with contextlib.suppress(HilError):
        assert isinstance(filled(text), str)


@given(st.lists(st.sampled_from(["a", "${name.full}", "$${x}", '${"q"}', "${1+1}"]), max_size=6))
def test_parts_stand_for_themselves_side_by_side(parts: list[str]) -> None:
    assert filled("".join(parts)) == "".join(map(filled, parts))


@pytest.mark.parametrize(
    "text", ["${" + "(" * 5000, "${" + "-" * 5000 + "1}", '${"' * 3000, "${1" + "+1" * 5000 + "}", "${match(" * 3000]
)
def test_what_nests_deeply_is_refused(text: str) -> None:
    with pytest.raises(HilError, match="parse error"):
        filled(text)


def test_a_hundred_levels_are_no_trouble() -> None:
    assert filled("${" + "(" * 90 + "1" + "+1" * 90 + ")" * 90 + "}") == "91"
