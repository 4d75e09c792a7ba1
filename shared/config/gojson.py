"""JSON as Go's encoding/json reads it: what it refuses, and in which words.

Python's parser does the work; only for a text it refuses is the reason looked for."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from shared.gotext import json_syntax


class JsonError(ValueError):
    """The text is not a JSON object; the message is encoding/json's."""


def loads_object(text: str) -> dict[str, Any]:
    """The object in `text`. All numbers come out as floats, as they do in Go.

    Raises JsonError for a syntax error, and for JSON that is not an object."""
    try:
        value = json.loads(text, parse_int=_number, parse_float=_number, parse_constant=_refuse)
    except JsonError:
        raise
    except (ValueError, RecursionError):
        _explain(text)
    if value is None:
        return {}
    if not isinstance(value, dict):
        kind = {str: "string", bool: "bool", float: "number", list: "array"}[type(value)]
        raise JsonError(f"json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}")
    return value


def _explain(text: str) -> NoReturn:
    """Raises the JsonError for a text that was refused."""
    try:
        json_syntax.check(text.encode("utf-8", "surrogateescape"))
    except json_syntax.JsonSyntaxError as error:
        raise JsonError(str(error)) from None
    raise JsonError("exceeded max depth")  # what Go takes and Python does not: nested too deeply for its parser


def _number(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise JsonError(f"json: cannot unmarshal number {text} into Go value of type float64")
    return value


def _refuse(_name: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")
