"""JSON whose syntax errors read as those of Go's encoding/json.

Python's parser does the work. Only when it refuses is the text scanned again, by the rules of the Go
decoder, to say what it would have said.
"""

from __future__ import annotations

import json

from shared.gotext.quoting import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

WHITESPACE = b" \t\r\n"
LITERALS = {ord("t"): b"true", ord("f"): b"false", ord("n"): b"null"}
MAX_DEPTH = 10_000
DIGITS = b"0123456789"
HEX_DIGITS = b"0123456789abcdefABCDEF"


class JSONSyntaxError(Exception):
    """The text is not JSON; the message is Go's."""


class Number(float):
    """A number with a fraction or exponent, which remembers how it was written for error texts."""

    def __new__(cls, text: str) -> Number:
        number = super().__new__(cls, text)
        number.text = text
        return number

    text: str


def loads(data: bytes) -> Any:
    """One JSON value and nothing behind it (json.Unmarshal). Raises JSONSyntaxError."""
    try:
        return _parse(data.decode())
    except (ValueError, RecursionError):
        _Scanner(data, streaming=False).whole_text()
        return _parse_odd(data)


def decode_first(data: bytes) -> Any:
    """The first JSON value of a stream (json.Decoder); what follows is ignored. Raises JSONSyntaxError."""
    try:
        return _parse(data.decode())
    except (ValueError, RecursionError):
        if not data.strip(WHITESPACE):
            raise JSONSyntaxError("EOF") from None
        return _parse_odd(data[: _Scanner(data, streaming=True).first_value()])


def _parse(text: str) -> Any:
    return json.loads(text, parse_constant=_refuse_constant, parse_float=Number)


def _parse_odd(data: bytes) -> Any:
    """JSON that Go accepts and Python did not: with bytes that are not UTF-8, or deeply nested."""
    try:
        return _parse(data.decode("utf-8", "replace"))
    except RecursionError:
        raise JSONSyntaxError("exceeded max depth") from None


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


class _Scanner:
    """Walks over the text until the first byte that cannot be there.

    streaming: more could follow, so a text that ends early is "unexpected EOF". Otherwise Go tries what a
    space would do at the end, which inside of a number or literal is an error of its own."""

    def __init__(self, data: bytes, streaming: bool) -> None:
        self._data = data
        self._streaming = streaming
        self._at = 0

    def whole_text(self) -> None:
        self._value()
        self._skip_space()
        if self._at < len(self._data):
            self._fail("after top-level value")

    def first_value(self) -> int:
        self._value()
        return self._at

    def _peek(self) -> int:
        """The next byte, where a space would be allowed too."""
        if self._at >= len(self._data):
            raise JSONSyntaxError("unexpected EOF" if self._streaming else "unexpected end of JSON input")
        return self._data[self._at]

    def _inside(self) -> int:
        """The next byte of a token that is not complete, a space at the end of the text."""
        return ord(" ") if self._at >= len(self._data) and not self._streaming else self._peek()

    def _fail(self, context: str) -> None:
        char = chr(self._inside())
        shown = {"'": "'\\''", '"': "'\"'"}.get(char) or f"'{quote(char)[1:-1]}'"
        raise JSONSyntaxError(f"invalid character {shown} {context}")

    def _skip_space(self) -> None:
        while self._at < len(self._data) and self._data[self._at] in WHITESPACE:
            self._at += 1

    def _value(self) -> None:
        """Containers are kept on a list instead of the Python stack: input may be nested without end."""
        closers: list[int] = []
        while True:
            self._skip_space()
            first = self._peek()
            if first in b"[{":
                if len(closers) == MAX_DEPTH:
                    self._fail("exceeded max depth")
                self._at += 1
                closers.append(ord("]") if first == ord("[") else ord("}"))
                self._skip_space()
                if self._peek() != closers[-1]:
                    if first == ord("{"):
                        self._key()
                    continue
            else:
                self._scalar(first)
            if not self._after_value(closers, opened=first in b"[{"):
                return

    def _after_value(self, closers: list[int], opened: bool) -> bool:
        """Closes what ends here. True when another value follows."""
        while closers:
            self._skip_space()
            byte = self._peek()
            if byte == closers[-1]:
                self._at += 1
                closers.pop()
                opened = False
                continue
            in_object = closers[-1] == ord("}")
            if byte != ord(",") or opened:
                self._fail("after object key:value pair" if in_object else "after array element")
            self._at += 1
            if in_object:
                self._key()
            return True
        return False

    def _key(self) -> None:
        self._skip_space()
        if self._peek() != ord('"'):
            self._fail("looking for beginning of object key string")
        self._string()
        self._skip_space()
        if self._peek() != ord(":"):
            self._fail("after object key")
        self._at += 1

    def _scalar(self, first: int) -> None:
        if first == ord('"'):
            self._string()
        elif first in DIGITS or first == ord("-"):
            self._number()
        elif first in LITERALS:
            word = LITERALS[first]
            for position, expected in enumerate(word):
                if self._inside() != expected:
                    self._fail(f"in literal {word.decode()} (expecting '{chr(word[position])}')")
                self._at += 1
        else:
            self._fail("looking for beginning of value")

    def _string(self) -> None:
        self._at += 1
        while (byte := self._peek()) != ord('"'):
            if byte < 0x20:
                self._fail("in string literal")
            self._at += 1
            if byte == ord("\\"):
                self._escape()
        self._at += 1

    def _escape(self) -> None:
        byte = self._inside()
        if byte not in b'bfnrt\\/"u':
            self._fail("in string escape code")
        self._at += 1
        if byte == ord("u"):
            for _ in range(4):
                if self._inside() not in HEX_DIGITS:
                    self._fail("in \\u hexadecimal character escape")
                self._at += 1

    def _number(self) -> None:
        if self._inside() == ord("-"):
            self._at += 1
            if self._inside() not in DIGITS:
                self._fail("in numeric literal")
        if self._inside() == ord("0"):
            self._at += 1
        else:
            self._digits()
        if self._next_is(b"."):
            self._at += 1
            if self._inside() not in DIGITS:
                self._fail("after decimal point in numeric literal")
            self._digits()
        if self._next_is(b"eE"):
            self._at += 1
            if self._next_is(b"+-"):
                self._at += 1
            if self._inside() not in DIGITS:
                self._fail("in exponent of numeric literal")
            self._digits()

    def _next_is(self, options: bytes) -> bool:
        return self._at < len(self._data) and self._data[self._at] in options

    def _digits(self) -> None:
        while self._next_is(DIGITS):
            self._at += 1


_STRING_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_ESCAPED_FOR_HTML = frozenset("<>&\u2028\u2029")


def dumps_indent(value: Any, indent: str, level: int = 0) -> str:
    """JSON as json.MarshalIndent lays it out: one member per line, <, > and & escaped, keys in given order."""
    inner, outer = "\n" + indent * (level + 1), "\n" + indent * level
    if isinstance(value, dict) and value:
        members = (f"{_string(str(key))}: {dumps_indent(item, indent, level + 1)}" for key, item in value.items())
        return "{" + inner + f",{inner}".join(members) + outer + "}"
    if isinstance(value, list) and value:
        return "[" + inner + f",{inner}".join(dumps_indent(item, indent, level + 1) for item in value) + outer + "]"
    return _string(value) if isinstance(value, str) else json.dumps(value)


def _string(text: str) -> str:
    parts = []
    for char in text:
        if char in _STRING_ESCAPES:
            parts.append(_STRING_ESCAPES[char])
        elif char < " " or char in _ESCAPED_FOR_HTML:
            parts.append(f"\\u{ord(char):04x}")
        else:
            parts.append("\ufffd" if "\ud800" <= char <= "\udfff" else char)
    return '"' + "".join(parts) + '"'
