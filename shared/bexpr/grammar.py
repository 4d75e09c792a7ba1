"""Grammar of filter expressions, rule by rule as go-bexpr 0.1.2 has them: text in, syntax tree out."""

from __future__ import annotations

import string
import sys
from functools import lru_cache
from typing import Any

from shared.bexpr.ast import And, Expression, Match, MatchOperator, Not, Or
from shared.bexpr.errors import FilterError
from shared.bexpr.peg import (
    Parse,
    Parser,
    action,
    any_char,
    char_class,
    choice,
    fail,
    follows,
    forward,
    literal,
    memo,
    not_follows,
    optional,
    position,
    repeat,
    sequence,
    text_of,
)
from shared.bexpr.unquote import unquote

EXPRESSION_LENGTH_MAX = 16 * 1024
"""Longest expression in characters. Consul has no limit but that of the URL; this one bounds time and memory."""

_RECURSION_LIMIT = 200_000  # every character may open a level; Python frames live on the heap, so this is safe
_LETTERS = string.ascii_letters

_space = memo("_", repeat(char_class("[ \\t\\r\\n]", " \t\r\n"), least=1))
_maybe_space = optional(_space)
_eof = not_follows(any_char)


def _between(opening: str, inner: Parse, closing: str) -> Parse:
    """`opening inner closing` with optional white space around `inner`; the value is that of `inner`."""
    parts = sequence(literal(opening), _maybe_space, inner, _maybe_space, literal(closing))
    return action(parts, lambda values: values[2])


def _quoted_string() -> Parse:
    def body(quote: str) -> Parse:
        return sequence(literal(quote), repeat(sequence(not_follows(literal(quote)), any_char)))

    closed = choice(*(sequence(body(quote), literal(quote)) for quote in ("`", '"')))
    return choice(
        action(text_of(closed), unquote, rule='"string"'),
        sequence(choice(body("`"), body('"')), _eof, fail('"string"', "Unterminated string literal")),
    )


def _number() -> Parse:
    digit = char_class("[0-9]", string.digits)
    whole = choice(literal("0"), sequence(char_class("[1-9]", "123456789"), repeat(digit)))
    amount = sequence(optional(literal("-")), whole, optional(sequence(literal("."), repeat(digit, least=1))))
    after = follows(choice(_space, _eof, literal(")")))
    return choice(
        action(sequence(text_of(amount), follows(after)), lambda values: values[0]),
        sequence(amount, not_follows(after), fail('"number"', "Invalid number literal")),
    )


_string_literal = memo("string", _quoted_string())
_number_literal = memo("number", _number())
_identifier = text_of(
    sequence(char_class("[a-zA-Z]", _LETTERS), repeat(char_class("[a-zA-Z0-9_]", _LETTERS + string.digits + "_")))
)
_index = choice(
    _between("[", _string_literal, "]"),
    sequence(literal("["), _maybe_space, not_follows(_string_literal), fail('"index"', "Invalid index")),
    sequence(
        literal("["),
        _maybe_space,
        _string_literal,
        _maybe_space,
        not_follows(literal("]")),
        fail('"index"', "Unclosed index expression"),
    ),
)
_step = choice(action(sequence(literal("."), _identifier), lambda values: values[1]), _index)
_selector = memo("selector", action(sequence(_identifier, repeat(_step)), lambda values: (values[0], *values[1])))
_value = memo("value", choice(action(_selector, ".".join), _number_literal, _string_literal))


def _operator(operator: MatchOperator, *parts: Parse) -> Parse:
    return action(sequence(*parts), lambda _: operator)


def _words(*words: str, trailing_space: bool = True) -> list[Parse]:
    parts: list[Parse] = []
    for word in words:
        parts += [_space, literal(word)]
    return [*parts, _space] if trailing_space else parts


_selector_operator_value = action(
    sequence(
        _selector,
        choice(
            _operator(MatchOperator.EQUAL, _maybe_space, literal("=="), _maybe_space),
            _operator(MatchOperator.NOT_EQUAL, _maybe_space, literal("!="), _maybe_space),
            _operator(MatchOperator.IN, *_words("contains")),
            _operator(MatchOperator.NOT_IN, *_words("not", "contains")),
            _operator(MatchOperator.MATCHES, *_words("matches")),
            _operator(MatchOperator.NOT_MATCHES, *_words("not", "matches")),
        ),
        _value,
    ),
    lambda values: Match(values[0], values[1], values[2]),
)
_selector_operator = action(
    sequence(
        _selector,
        choice(
            _operator(MatchOperator.IS_EMPTY, *_words("is", "empty", trailing_space=False)),
            _operator(MatchOperator.IS_NOT_EMPTY, *_words("is", "not", "empty", trailing_space=False)),
        ),
    ),
    lambda values: Match(values[0], values[1], None),
)
_in_operator = choice(_operator(MatchOperator.IN, *_words("in")), _operator(MatchOperator.NOT_IN, *_words("not", "in")))
_value_operator_selector = choice(
    action(sequence(_value, _in_operator, _selector), lambda values: Match(values[2], values[1], values[0])),
    sequence(_value, _in_operator, not_follows(_selector), fail('"match"', "Invalid selector")),
)
_match = memo("match", choice(_selector_operator_value, _selector_operator, _value_operator_selector))


def _negate(values: list[Any]) -> Expression:
    operand: Expression = values[2]
    return operand.operand if isinstance(operand, Not) else Not(operand)


_grouping = memo(
    "grouping",
    choice(
        _between("(", forward(lambda: _or), ")"),
        _match,
        sequence(
            literal("("),
            _maybe_space,
            forward(lambda: _or),
            _maybe_space,
            not_follows(literal(")")),
            fail('"grouping"', "Unmatched parentheses"),
        ),
    ),
)
_not: Parse = memo("not", choice(action(sequence(literal("not"), _space, forward(lambda: _not)), _negate), _grouping))
_and: Parse = memo(
    "and",
    choice(
        action(
            sequence(_not, _space, literal("and"), _space, forward(lambda: _and)),
            lambda values: And(values[0], values[4]),
        ),
        _not,
    ),
)
_or: Parse = memo(
    "or",
    choice(
        action(
            sequence(_and, _space, literal("or"), _space, forward(lambda: _or)),
            lambda values: Or(values[0], values[4]),
        ),
        _and,
    ),
)
_input = choice(
    action(
        sequence(_maybe_space, _between("(", _or, ")"), _maybe_space, _eof),
        lambda values: values[1],
    ),
    action(sequence(_maybe_space, _or, _maybe_space, _eof), lambda values: values[1]),
)


def _reader_of(before: str) -> str:
    """The rule that had read `before` when it met something that is no text, as far as its last character tells."""
    quote = ""
    for char in before:
        if quote:
            quote = "" if char == quote else quote
        elif char in '"`':
            quote = char
    last = before[-1:]
    if not last:
        return ""
    if last == quote:
        return 'rule "string": '
    if quote:
        return f"rule {'Double' if quote == chr(34) else 'Raw'}StringChar: "
    if last in " \t\r\n":
        return 'rule "whitespace": '
    return "rule Identifier: " if last in _LETTERS + string.digits + "_" else "rule MatchEqual: "


def _refuse_bytes(text: str) -> None:
    """Raises FilterError for bytes that are not UTF-8, which `text` holds as lone surrogates."""
    at = next((n for n, char in enumerate(text) if "\ud800" <= char <= "\udfff"), None)
    if at is not None:
        raise FilterError(f"{position(text, at)}: {_reader_of(text[:at])}invalid encoding")


@lru_cache(maxsize=256)
def parse(text: str) -> Expression:
    """The syntax tree of `text`. Raises FilterError with the place of the mistake and what was expected."""
    if len(text) > EXPRESSION_LENGTH_MAX:
        raise FilterError(f"expression is {len(text)} characters long, at most {EXPRESSION_LENGTH_MAX} are allowed")
    _refuse_bytes(text)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, _RECURSION_LIMIT))
    try:
        tree: Expression = Parser(text).run(_input)
        return tree
    finally:
        sys.setrecursionlimit(limit)
