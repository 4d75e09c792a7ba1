"""A filter bound to a struct: the tree is checked against the fields once, then run on every value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shared.bexpr.ast import And, Expression, Match, MatchOperator, Not, Or
from shared.bexpr.errors import FilterError
from shared.bexpr.fields import FieldConfig, StructFields, coerce, struct_of
from shared.bexpr.grammar import parse
from shared.bexpr.re2 import PatternError, WorkError, compile_pattern
from shared.gotext.quoting import quote

Predicate = Callable[[Any], bool]

NESTING_MAX = 200
"""Levels of parentheses and `not` at most; and/or chains do not count, they are flat."""


class Filter:
    """`matches(value)` tells whether the expression holds for one value of the bound struct. Raises FilterError for
    a pattern that is too much work."""

    __slots__ = ("expression", "matches")

    def __init__(self, expression: str, matches: Predicate) -> None:
        self.expression, self.matches = expression, matches


def create_filter(expression: str, fields: StructFields) -> Filter | None:
    """The filter for a `?filter=` text over structs described by `fields`; None for an empty text.

    Raises FilterError with the text Consul answers with (status 500 there)."""
    if not expression:
        return None
    try:
        return Filter(expression, _predicate(parse(expression), struct_of(fields)))
    except FilterError as error:
        raise FilterError(f"Failed to create boolean expression evaluator: {error}") from None


def _predicate(tree: Expression, top: FieldConfig, depth: int = 0) -> Predicate:
    """One function for the tree, checked left to right as the original does, so the first mistake is named.

    The right-leaning spine of `and`/`or` chains is walked in a loop: such chains are generated and long."""
    if depth > NESTING_MAX:
        raise FilterError(f"expression is nested more than {NESTING_MAX} levels deep")
    if isinstance(tree, Not):
        operand = _predicate(tree.operand, top, depth + 1)
        return lambda value: not operand(value)
    if isinstance(tree, And | Or):
        kind = type(tree)
        parts: list[Predicate] = []
        rest: Expression = tree
        while isinstance(rest, kind):
            parts.append(_predicate(rest.left, top, depth + 1))
            rest = rest.right
        parts.append(_predicate(rest, top, depth + 1))
        if kind is And:
            return lambda value: all(part(value) for part in parts)
        return lambda value: any(part(value) for part in parts)
    return _bind(tree, top)


def _bind(match: Match, top: FieldConfig) -> Predicate:
    """Resolve the selector against the fields and prepare the literal. Raises FilterError."""
    steps: list[tuple[str, str]] = []
    config = top
    for depth, name in enumerate(match.selector):
        if config.fields:
            known = config.fields.get(name)
            if known is None:
                raise _invalid_selector(match, depth)
            steps.append((known[0], config.kind))
            config = known[1]
        elif config.kind == "map" and config.item is not None:
            steps.append((name, config.kind))
            config = config.item
        else:
            raise _invalid_selector(match, depth)
    selector = quote(".".join(match.selector))
    if match.operator not in config.operators:
        raise FilterError(f"Invalid match operator {quote(match.operator.value)} for selector {selector}")
    return _walk(tuple(steps), 0, match.operator, _test(match, config, selector))


def _invalid_selector(match: Match, depth: int) -> FilterError:
    return FilterError(f"Selector {quote('.'.join(match.selector[: depth + 1]))} is not valid")


def _test(match: Match, config: FieldConfig, selector: str) -> Predicate:
    """The test of the selected value itself."""
    operator, raw = match.operator, match.value
    if operator in (MatchOperator.IS_EMPTY, MatchOperator.IS_NOT_EMPTY):
        return (lambda value: not value) if operator is MatchOperator.IS_EMPTY else bool
    assert raw is not None  # the grammar gives every other operator a value
    try:
        wanted = coerce(config, raw)
    except ValueError as error:
        raise FilterError(f"Failed to coerce value {quote(raw)} for selector {selector}: {error}") from None
    if operator in (MatchOperator.MATCHES, MatchOperator.NOT_MATCHES):
        try:
            search = compile_pattern(wanted)
        except PatternError as error:
            raise FilterError(f"Failed to compile regular expression {quote(wanted)}: {error}") from None
        return _search_test(search, wanted, operator.negated)
    if operator is MatchOperator.EQUAL:
        return lambda value: bool(value == wanted)
    if operator is MatchOperator.NOT_EQUAL:
        return lambda value: bool(value != wanted)
    if operator is MatchOperator.IN:
        return lambda value: value is not None and wanted in value
    return lambda value: value is None or wanted not in value


def _search_test(search: Callable[[str], bool], pattern: str, negated: bool) -> Predicate:
    def test(value: str) -> bool:
        try:
            return search(value) is not negated
        except WorkError as error:
            raise FilterError(f"Failed to evaluate regular expression {quote(pattern)}: {error}") from None

    return test


def _walk(steps: tuple[tuple[str, str], ...], depth: int, operator: MatchOperator, test: Predicate) -> Predicate:
    """Follow `steps`, pairs of (name, kind of what it is looked up in): attributes of structs, keys of maps,
    any item of a list of structs.

    A missing map key decides at once: what is not there is equal to nothing and is empty; `matches` on it
    is true, which is how the original behaves."""
    if depth == len(steps):
        return test
    (name, kind), deeper = steps[depth], _walk(steps, depth + 1, operator, test)
    if kind == "map":
        when_missing = operator not in (
            MatchOperator.EQUAL,
            MatchOperator.IS_NOT_EMPTY,
            MatchOperator.IN,
        )
        return lambda value: deeper(value[name]) if value and name in value else when_missing
    if kind == "list":
        return lambda value: any(deeper(getattr(item, name)) for item in value or ())
    return lambda value: deeper(getattr(value, name))
