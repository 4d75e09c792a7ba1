"""Functions that every template of Go has: comparison, logic, printing, indexing."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from shared.config.sockaddr.errors import FunctionError
from shared.config.sockaddr.interfaces import InterfaceAddress
from shared.gotext.quoting import quote

_VERB = re.compile(r"%([-+# 0]*)(\d*)((?:\.\d+)?)([a-zA-Z%])")
_TYPE_NAMES = {str: "string", bool: "bool", int: "int", float: "float64", list: "sockaddr.IfAddrs"}


def go_text(value: Any) -> str:
    """As fmt prints it."""
    if isinstance(value, InterfaceAddress):
        return value.text
    if isinstance(value, list):
        return "[" + " ".join(map(go_text, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    return "<nil>" if value is None else str(value)


def type_name(value: Any) -> str:
    return "sockaddr.IfAddr" if isinstance(value, InterfaceAddress) else _TYPE_NAMES.get(type(value), "nil")


def truth(value: Any) -> bool:
    """Is it neither zero nor empty? A structure never is."""
    return isinstance(value, InterfaceAddress) or bool(value)


def _and(*values: Any) -> Any:
    return next((value for value in values if not truth(value)), values[-1])


def _or(*values: Any) -> Any:
    return next((value for value in values if truth(value)), values[-1])


def _len(value: Any) -> int:
    if not isinstance(value, str | list) or isinstance(value, InterfaceAddress):
        raise FunctionError(f"len of type {type_name(value)}")
    return len(value.encode() if isinstance(value, str) else value)


def _index(value: Any, *indices: Any) -> Any:
    for index in indices:
        if isinstance(value, InterfaceAddress) or not isinstance(value, str | list):
            raise FunctionError(f"can't index item of type {type_name(value)}")
        if not isinstance(index, int) or isinstance(index, bool):
            raise FunctionError(f"cannot index slice/array with type {type_name(index)}")
        if not 0 <= index < len(value):
            raise FunctionError(f"index out of range: {index}")
        value = value.encode()[index] if isinstance(value, str) else value[index]
    return value


def _print(*values: Any) -> str:
    """Spaces stand between neighbours of which neither is a string."""
    text, before = "", ""
    for value in values:
        if before and not isinstance(value, str) and before != "string":
            text += " "
        text += go_text(value)
        before = type_name(value)
    return text


def _println(*values: Any) -> str:
    return " ".join(map(go_text, values)) + "\n"


def _printf(template: str, *values: Any) -> str:
    waiting = list(values)

    def one(match: re.Match[str]) -> str:
        flags, width, precision, verb = match.groups()
        if verb == "%":
            return "%"
        if not waiting:
            return f"%!{verb}(MISSING)"
        return _formatted(waiting.pop(0), flags, width, precision, verb)

    text = _VERB.sub(one, template)
    if waiting:
        text += "%!(EXTRA " + ", ".join(f"{type_name(value)}={go_text(value)}" for value in waiting) + ")"
    return text


def _formatted(value: Any, flags: str, width: str, precision: str, verb: str) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if verb in "sv" and not (verb == "s" and (is_number or isinstance(value, bool))):
        text = go_text(value)
        text = text[: int(precision[1:])] if precision and isinstance(value, str) else text
    elif verb == "q" and isinstance(value, str):
        text = quote(value)
    elif verb in "dxXobc" and isinstance(value, int) and not isinstance(value, bool):
        text = format(value, ("+" if "+" in flags else "") + verb)
    elif verb in "xX" and isinstance(value, str):
        text = value.encode().hex() if verb == "x" else value.encode().hex().upper()
    elif verb in "feg" and isinstance(value, float):
        text = format(value, f"{precision}{verb}")
    elif verb == "t" and isinstance(value, bool):
        text = go_text(value)
    else:
        return f"%!{verb}({type_name(value)}={go_text(value)})"
    if "-" in flags:
        return text.ljust(int(width or 0))
    return text.rjust(int(width or 0), "0" if "0" in flags and is_number else " ")


def _kind(value: Any) -> str:
    if isinstance(value, list) and not isinstance(value, InterfaceAddress):
        raise FunctionError(f"uncomparable type {type_name(value)}: {go_text(value)}")
    if isinstance(value, InterfaceAddress) or value is None:
        raise FunctionError("invalid type for comparison")
    return type_name(value)


def _eq(first: Any, *others: Any) -> bool:
    kind = _kind(first)
    if not others:
        raise FunctionError("missing argument for comparison")
    for other in others:
        if _kind(other) != kind:
            raise FunctionError("incompatible types for comparison")
        if first == other:
            return True
    return False


def _less(first: Any, other: Any) -> bool:
    if _kind(first) != _kind(other):
        raise FunctionError("incompatible types for comparison")
    if isinstance(first, bool):
        raise FunctionError("invalid type for comparison")
    return bool(first < other)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "and": _and,
    "or": _or,
    "not": lambda value: not truth(value),
    "len": _len,
    "index": _index,
    "print": _print,
    "println": _println,
    "printf": _printf,
    "eq": _eq,
    "ne": lambda first, other: not _eq(first, other),
    "lt": _less,
    "le": lambda first, other: _less(first, other) or first == other,
    "gt": lambda first, other: not (_less(first, other) or first == other),
    "ge": lambda first, other: not _less(first, other),
}
COUNTS: dict[str, tuple[int, int | None]] = {
    "and": (1, None),
    "or": (1, None),
    "not": (1, 1),
    "len": (1, 1),
    "index": (1, None),
    "print": (0, None),
    "println": (0, None),
    "printf": (1, None),
    "eq": (1, None),
} | dict.fromkeys(("ne", "lt", "le", "gt", "ge"), (2, 2))
"""How many arguments each takes: at least and at most."""
