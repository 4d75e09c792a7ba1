"""JSON text as Go's encoding/json writes and reads it, which is what Consul's clients see.

dumps(value, pretty=False) -> bytes   <, > and & escaped, invalid UTF-8 as \\ufffd, Go's float format;
                                      pretty: four spaces, as ?pretty gives. Dicts keep their order.
dumps_indent(value, indent) -> str    the same, with an indentation of one's own
loads(data) -> value                  numbers with a fraction or exponent keep their literal (JsonFloat);
                                      raises JsonError with Go's words"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from shared.gotext.json_numbers import JsonFloat, format_float
from shared.structs.errors import JsonError
from shared.structs.gojson_errors import syntax_error

_encode_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
_encode_pretty = json.JSONEncoder(ensure_ascii=False, indent=4, allow_nan=False).encode

# Short escapes json has and Go has not. An even number of backslashes before means the one seen is escaped.
_SHORT_ESCAPE = re.compile(r"(?<!\\)((?:\\\\)*)\\([bf])")
# A number with a point or exponent, or text that looks like one: worth a slower look.
_MAYBE_FLOAT = re.compile(r"(?:[:\[,]\s*|\A)-?[0-9]+[.e]")
_SPECIAL = re.compile("[<>&\u2028\u2029]")
_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def dumps(value: Any, pretty: bool = False) -> bytes:
    """Go's JSON text of plain data (dicts, lists, str, numbers, bools, None)."""
    text = _as_go(value, _encode_pretty if pretty else _encode_compact)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return _SURROGATE.sub(r"\\ufffd", text).encode()


def dumps_indent(value: Any, indent: str) -> str:
    """The same as text, laid out by json.MarshalIndent with the given indentation."""
    encode = json.JSONEncoder(ensure_ascii=False, indent=indent, allow_nan=False).encode
    return _SURROGATE.sub("\ufffd", _as_go(value, encode))


def _as_go(value: Any, encode: Callable[[Any], str]) -> str:
    text = encode(value)
    if _MAYBE_FLOAT.search(text):
        text = _floats_as_go(value, text, encode)
    if "\\b" in text or "\\f" in text:
        text = _SHORT_ESCAPE.sub(lambda m: m[1] + ("\\u0008" if m[2] == "b" else "\\u000c"), text)
    if _SPECIAL.search(text):
        text = _SPECIAL.sub(lambda m: _ESCAPES[m[0]], text)
    return text


def _floats_as_go(value: Any, text: str, encode: Callable[[Any], str]) -> str:
    """Writes the value again with floats in Go's format, if there are floats in it at all."""
    marks: list[str] = []
    marked = _mark_floats(value, marks)
    if not marks:
        return text
    return re.sub(f'"{_MARK}(\\d+)"', lambda m: marks[int(m[1])], encode(marked))


_MARK = "\ue0f1float:"


def _mark_floats(value: Any, marks: list[str]) -> Any:
    if isinstance(value, float):
        marks.append(format_float(value))
        return f"{_MARK}{len(marks) - 1}"
    if isinstance(value, dict):
        return {k: _mark_floats(v, marks) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_mark_floats(v, marks) for v in value]
    if isinstance(value, str) and value.startswith(_MARK):
        marks.append(_encode_compact(value))  # text that happens to look like a mark is restored as it was
        return f"{_MARK}{len(marks) - 1}"
    return value


def loads(data: bytes) -> Any:
    """Parses the first JSON value, as Consul's decoder does: what follows it is not looked at."""
    text = data.decode("utf-8", "surrogateescape")
    start = len(text) - len(text.lstrip(_SPACE))
    if start == len(text):
        raise JsonError("EOF")
    if text.count("[") + text.count("{") > _MAX_DEPTH:
        _check_depth(text)
    clean = _NOT_UTF8.sub("\ufffd", text)
    try:
        try:
            value, _end = _decoder.raw_decode(clean, start)
        except json.JSONDecodeError:
            raise
        except ValueError:  # an integer with more digits than Python converts
            value, _end = _patient_decoder.raw_decode(clean, start)
    except json.JSONDecodeError as error:
        raise JsonError(syntax_error(text, error.msg, error.pos)) from error
    return _whole_characters(value) if _SURROGATE_ESCAPE.search(text) else value


def _check_depth(text: str) -> None:
    depth = 0
    for token in _NESTING.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
        if depth > _MAX_DEPTH:
            raise JsonError(f"invalid character '{token[0]}' exceeded max depth")


def _whole_characters(value: Any) -> Any:
    """Halves of surrogate pairs that were written as escapes become the replacement character, as in Go."""
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_whole_characters(item) for item in value]
    if isinstance(value, dict):
        return {_whole_characters(key): _whole_characters(item) for key, item in value.items()}
    return value


def _long_integer(literal: str) -> Any:
    try:
        return int(literal)
    except ValueError:
        return JsonFloat(literal)


def _refuse_constant(name: str) -> Any:
    if name == "-Infinity":
        raise JsonError("invalid character 'I' in numeric literal")
    raise JsonError(f"invalid character '{name[0]}' looking for beginning of value")


_SPACE = " \t\r\n"
_MAX_DEPTH = 400
"""Go's is 10000, but what is read here must also fit into msgpack, whose packer goes 511 deep."""
_NESTING = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_NOT_UTF8 = re.compile("[\udc80-\udcff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_decoder = json.JSONDecoder(parse_float=JsonFloat, parse_constant=_refuse_constant)
_patient_decoder = json.JSONDecoder(parse_float=JsonFloat, parse_int=_long_integer, parse_constant=_refuse_constant)
