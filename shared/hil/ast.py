"""The tree of a parsed text."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

STRING, INT, FLOAT = "TypeString", "TypeInt", "TypeFloat"
"""Types of values, as error texts name them."""


class Position(NamedTuple):
    """Where a node begins; both from 1."""

    column: int
    line: int


class Literal(NamedTuple):
    value: str | int | float
    type: str
    at: Position


class Variable(NamedTuple):
    name: str
    at: Position


class Call(NamedTuple):
    function: str
    arguments: tuple[Node, ...]
    at: Position


class Index(NamedTuple):
    """`name[key]`. Templates have no lists and maps, so it is always a mistake, but one found late."""

    target: Variable
    key: Node
    at: Position


class Arithmetic(NamedTuple):
    operator: str
    operands: tuple[Node, Node]
    at: Position


class Output(NamedTuple):
    """The texts of several parts, one behind the other."""

    parts: tuple[Node, ...]
    at: Position


Node: TypeAlias = Literal | Variable | Call | Index | Arithmetic | Output
