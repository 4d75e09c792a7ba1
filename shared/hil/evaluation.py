"""Checks and computes a tree: names first, then types with the conversions between them, then values. Each step
looks at the whole tree before the next one begins, so that a text with several mistakes always shows the same one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from shared.gotext.numbers import parse_float, parse_int
from shared.hil.ast import FLOAT, INT, STRING, Arithmetic, Call, Index, Literal, Node, Output, Position, Variable
from shared.hil.errors import HilError

Value = str | int | float

_SHOWN = {STRING: "type string", INT: "type int", FLOAT: "type float"}


class Function(NamedTuple):
    """takes, gives: types. call: gets the arguments, converted to those types."""

    takes: tuple[str, ...]
    gives: str
    call: Callable[..., Value]


def evaluate(node: Node, variables: Mapping[str, str], functions: Mapping[str, Function]) -> str:
    """The text a tree stands for. Raises HilError."""
    _check_names(node, variables, functions)
    checked, _type = _Types(variables, functions).convert(node)
    return str(checked())


def _check_names(node: Node, variables: Mapping[str, str], functions: Mapping[str, Function]) -> None:
    if isinstance(node, Call):
        for argument in node.arguments:
            _check_names(argument, variables, functions)
        function = functions.get(node.function)
        if function is None:
            raise _at(node.at, f"unknown function called: {node.function}")
        if len(node.arguments) != len(function.takes):
            expected, got = len(function.takes), len(node.arguments)
            raise _at(node.at, f"{node.function}: expected {expected} arguments, got {got}")
    elif isinstance(node, Variable):
        if node.name not in variables:
            raise _at(node.at, f"unknown variable accessed: {node.name}")
    elif isinstance(node, Arithmetic):
        for operand in node.operands:
            _check_names(operand, variables, functions)
    elif isinstance(node, Output):
        for part in node.parts:
            _check_names(part, variables, functions)


def _at(where: Position, text: str) -> HilError:
    return HilError(f"{where.line}:{where.column}: {text}")


_Thunk = Callable[[], Value]


class _Types:
    """Turns a tree into a function that computes it, and tells the type of the result."""

    def __init__(self, variables: Mapping[str, str], functions: Mapping[str, Function]) -> None:
        self._variables, self._functions = variables, functions

    def convert(self, node: Node) -> tuple[_Thunk, str]:
        if isinstance(node, Literal):
            value = node.value
            return lambda: value, node.type
        if isinstance(node, Variable):
            text = self._variables[node.name]
            return lambda: text, STRING
        if isinstance(node, Call):
            return self._call(node)
        if isinstance(node, Arithmetic):
            return self._arithmetic(node)
        if isinstance(node, Output):
            parts = [_as_type(*self.convert(part), STRING) for part in node.parts]
            return lambda: "".join([str(part()) for part in parts]), STRING
        raise HilError(f"At column {node.at.column}, line {node.at.line}: {self._index_problem(node)}")

    def _call(self, node: Call) -> tuple[_Thunk, str]:
        function = self._functions[node.function]
        pairs = zip(node.arguments, function.takes, strict=True)
        arguments = [_as_type(*self.convert(argument), wanted) for argument, wanted in pairs]
        return lambda: function.call(*[argument() for argument in arguments]), function.gives

    def _arithmetic(self, node: Arithmetic) -> tuple[_Thunk, str]:
        """Whole numbers, unless the first operand that is a number is none; texts are read as numbers."""
        left, right = (self.convert(operand) for operand in node.operands)
        kind = next((each for _, each in (left, right) if each != STRING), INT)
        first, second = _as_type(*left, kind), _as_type(*right, kind)
        if kind == INT:
            return lambda: _whole(node.operator, int(first()), int(second())), INT
        if node.operator == "%":
            raise HilError(f"At column {node.at.column}, line {node.at.line}: modulo cannot be used with floats")
        return lambda: _fractional(node.operator, float(first()), float(second())), FLOAT

    def _index_problem(self, node: Index) -> str:
        """Only lists and maps have elements, and there are none."""
        if node.target.name not in self._variables:
            return f"unknown variable accessed: {node.target.name}"
        return self._type_problem(node.key) or f"invalid index operation into non-indexable type: {STRING}"

    def _type_problem(self, node: Node) -> str:
        """Why the type of an index cannot be told, "" if it can."""
        if isinstance(node, Variable) and node.name not in self._variables:
            return f"unknown variable: {node.name}"
        if isinstance(node, Call) and node.function not in self._functions:
            return f"unknown function: {node.function}"
        if isinstance(node, Index):
            return self._index_problem(node)
        if isinstance(node, Output):
            return next(filter(None, map(self._type_problem, node.parts)), "")
        return ""


def _as_type(thunk: _Thunk, kind: str, wanted: str) -> _Thunk:
    if kind == wanted:
        return thunk
    convert = _CONVERSIONS[kind, wanted]
    return lambda: convert(thunk())


def _text_to_int(value: Value) -> int:
    try:
        return parse_int(str(value))
    except ValueError as error:
        raise HilError(f"__builtin_StringToInt: {error}") from None


def _text_to_float(value: Value) -> float:
    try:
        return parse_float(str(value))
    except ValueError as error:
        raise HilError(f"__builtin_StringToFloat: {error}") from None


def _float_to_int(value: Value) -> int:
    number = float(value)
    return int(number) if abs(number) < 1 << 63 else -(1 << 63)


def float_text(value: float) -> str:
    """A float as Go's 'g' format has it: as few digits as tell it apart, an exponent from 1e+06 on and below 1e-4."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    from decimal import Decimal

    number = Decimal(repr(value)).normalize()
    exponent = number.adjusted()
    if not value or -4 <= exponent < 6:
        return format(number, "f")
    figures = "".join(map(str, number.as_tuple().digits))
    fraction = f".{figures[1:]}" if figures[1:] else ""
    return f"{'-' if value < 0 else ''}{figures[0]}{fraction}e{exponent:+03d}"


_CONVERSIONS: dict[tuple[str, str], Callable[[Value], Value]] = {
    (STRING, INT): _text_to_int,
    (STRING, FLOAT): _text_to_float,
    (INT, STRING): str,
    (INT, FLOAT): float,
    (FLOAT, STRING): lambda value: float_text(float(value)),
    (FLOAT, INT): _float_to_int,
}


def _whole(operator: str, left: int, right: int) -> int:
    """64 bit arithmetic that wraps, quotients cut towards zero."""
    if operator in "/%":
        if right == 0:
            raise HilError("division by zero")
        quotient = abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)
        result = quotient if operator == "/" else left - quotient * right
    else:
        result = {"+": left + right, "-": left - right, "*": left * right}[operator]
    return (result + (1 << 63)) % (1 << 64) - (1 << 63)


def _fractional(operator: str, left: float, right: float) -> float:
    if operator == "/":
        if right == 0:
            return float("nan") if left == 0 or left != left else float("inf") * (1 if left > 0 else -1)
        return left / right
    return {"+": left + right, "-": left - right, "*": left * right}[operator]
