"""JSON as Go's encoding/json reads it: what it refuses, and in which words.

Python's parser does the work; only for a text it refuses does the checker below look for the reason."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any, NoReturn

_SPACE = " \t\r\n"
_ESCAPES = frozenset('"\\/bfnrt')
_HEX = frozenset("0123456789abcdefABCDEF")
_DIGITS = frozenset("0123456789")
_END = "unexpected end of JSON input"


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
    with contextlib.suppress(RecursionError):
        _Checker(text).check()
    raise JsonError("exceeded max depth")


def _number(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise JsonError(f"json: cannot unmarshal number {text} into Go value of type float64")
    return value


def _refuse(_name: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


class _Checker:
    """Finds the first character at which the text stops being JSON."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def check(self) -> None:
        """Raises JsonError, or returns if the text is JSON after all."""
        self._value()
        if self._skip_space():
            self._invalid("after top-level value")

    def _char(self) -> str:
        """The current character; the end of the text is an error."""
        if self._at >= len(self._text):
            raise JsonError(_END)
        return self._text[self._at]

    def _char_or_space(self) -> str:
        """The current character; at the end of the text a space, which Go tries before it gives up."""
        return self._text[self._at] if self._at < len(self._text) else " "

    def _skip_space(self) -> bool:
        while self._at < len(self._text) and self._text[self._at] in _SPACE:
            self._at += 1
        return self._at < len(self._text)

    def _next_char(self) -> str:
        self._skip_space()
        return self._char()

    def _invalid(self, where: str) -> NoReturn:
        char = chr(self._char_or_space().encode("utf-8", "surrogateescape")[0])  # Go looks at bytes
        shown = {"'": r"'\''", '"': "'\"'", "\\": r"'\\'"}.get(char) or f"'{_escape(char)}'"
        raise JsonError(f"invalid character {shown} {where}")

    def _value(self) -> None:
        char = self._next_char()
        if char == "{":
            self._object()
        elif char == "[":
            self._array()
        elif char == '"':
            self._string()
        elif char == "-" or char in _DIGITS:
            self._number()
        elif char in "tfn":
            self._word({"t": "true", "f": "false", "n": "null"}[char])
        else:
            self._invalid("looking for beginning of value")

    def _object(self) -> None:
        self._at += 1
        if self._next_char() == "}":
            self._at += 1
            return
        while True:
            if self._next_char() != '"':
                self._invalid("looking for beginning of object key string")
            self._string()
            if self._next_char() != ":":
                self._invalid("after object key")
            self._at += 1
            self._value()
            char = self._next_char()
            if char not in ",}":
                self._invalid("after object key:value pair")
            self._at += 1
            if char == "}":
                return

    def _array(self) -> None:
        self._at += 1
        if self._next_char() == "]":
            self._at += 1
            return
        while True:
            self._value()
            char = self._next_char()
            if char not in ",]":
                self._invalid("after array element")
            self._at += 1
            if char == "]":
                return

    def _string(self) -> None:
        self._at += 1
        while (char := self._char()) != '"':
            if char < " ":
                self._invalid("in string literal")
            self._at += 1
            if char == "\\":
                self._string_escape()
        self._at += 1

    def _string_escape(self) -> None:
        char = self._char_or_space()
        if char != "u":
            if char not in _ESCAPES:
                self._invalid("in string escape code")
            self._at += 1
            return
        self._at += 1
        for _ in range(4):
            if self._char_or_space() not in _HEX:
                self._invalid("in \\u hexadecimal character escape")
            self._at += 1

    def _number(self) -> None:
        if self._char() == "-":
            self._at += 1
            if self._char_or_space() not in _DIGITS:
                self._invalid("in numeric literal")
        if self._char() == "0":
            self._at += 1
        else:
            self._digits()
        if self._follows("."):
            if self._char_or_space() not in _DIGITS:
                self._invalid("after decimal point in numeric literal")
            self._digits()
        if self._follows("eE"):
            self._follows("+-")
            if self._char_or_space() not in _DIGITS:
                self._invalid("in exponent of numeric literal")
            self._digits()

    def _digits(self) -> None:
        while self._at < len(self._text) and self._text[self._at] in _DIGITS:
            self._at += 1

    def _follows(self, chars: str) -> bool:
        if self._at < len(self._text) and self._text[self._at] in chars:
            self._at += 1
            return True
        return False

    def _word(self, word: str) -> None:
        for position, letter in enumerate(word):
            if self._char_or_space() != letter:
                self._invalid(f"in literal {word} (expecting '{word[position]}')")
            self._at += 1


def _escape(char: str) -> str:
    """A character inside single quotes, as Go's %q writes it."""
    if char.isprintable():
        return char
    short = {"\a": "\\a", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\v": "\\v", "\f": "\\f", "\r": "\\r"}
    code = ord(char)
    return short.get(char) or (f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}")
