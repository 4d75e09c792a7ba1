"""Quoting as Go does it."""

from __future__ import annotations

import pytest

from shared.gotext.quoting import quote, quote_ascii


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("plain", '"plain"'),
        ('a"b\\c', '"a\\"b\\\\c"'),
        ("\n\x00\x7f\udcfe", '"\\n\\x00\\x7f\\xfe"'),
        ("é\u200b\U0001f600", '"é\\u200b\U0001f600"'),
    ],
)
def test_quoting_is_that_of_go(text: str, quoted: str) -> None:
    assert quote(text) == quoted


def test_quoting_without_anything_but_ascii() -> None:
    assert quote_ascii("é\U0001f600\t") == '"\\u00e9\\U0001f600\\t"'
