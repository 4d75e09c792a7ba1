"""JSON whose syntax errors read as those of Go's encoding/json.

Python's parser does the work. Only when it refuses is the text scanned again, for what Go would have said.
"""

from __future__ import annotations

import json

from shared.gotext import json_syntax
from shared.gotext.json_numbers import JsonFloat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def loads(data: bytes) -> Any:
    """One JSON value and nothing behind it (json.Unmarshal). Raises JsonSyntaxError."""
    try:
        return _parse(data.decode())
    except (ValueError, RecursionError):
        json_syntax.check(data)
        return _parse_odd(data)


def decode_first(data: bytes) -> Any:
    """The first JSON value of a stream (json.Decoder); what follows is ignored. Raises JsonSyntaxError."""
    try:
        return _parse(data.decode())
    except (ValueError, RecursionError):
        return _parse_odd(data[: json_syntax.end_of_first(data)])


def _parse(text: str) -> Any:
    return json.loads(text, parse_constant=_refuse_constant, parse_float=JsonFloat)


def _parse_odd(data: bytes) -> Any:
    """JSON that Go accepts and Python did not: with bytes that are not UTF-8, or deeply nested."""
    try:
        return _parse(data.decode("utf-8", "replace"))
    except RecursionError:
        raise json_syntax.JsonSyntaxError("exceeded max depth") from None


def type_name(value: object) -> str:
    """What Go calls the JSON type of a decoded value in "cannot unmarshal ..."."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def _refuse_constant(name: str) -> None:
    raise ValueError(name)  # NaN and Infinity are Python's extension
