"""Syntax tree of a filter: `not`, `and`, `or` over matches of a selector."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias


class MatchOperator(Enum):
    """Operators of a match; the value is the name error messages use."""

    EQUAL = "Equal"
    NOT_EQUAL = "Not Equal"
    IN = "In"
    NOT_IN = "Not In"
    IS_EMPTY = "Is Empty"
    IS_NOT_EMPTY = "Is Not Empty"
    MATCHES = "Matches"
    NOT_MATCHES = "Not Matches"

    @property
    def negated(self) -> bool:
        return self in _NEGATED


_NEGATED = frozenset(
    {MatchOperator.NOT_EQUAL, MatchOperator.NOT_IN, MatchOperator.IS_NOT_EMPTY, MatchOperator.NOT_MATCHES}
)


@dataclass(frozen=True, slots=True)
class Not:
    operand: Expression


@dataclass(frozen=True, slots=True)
class And:
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Or:
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Match:
    """`selector` is the path into the value; `value` is the literal as written, None for `is [not] empty`."""

    selector: tuple[str, ...]
    operator: MatchOperator
    value: str | None


Expression: TypeAlias = Not | And | Or | Match
