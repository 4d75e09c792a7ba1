"""Where a text stops being JSON, in the words of Go's encoding/json.

Slow and patient: for texts that a parser has refused already."""

from __future__ import annotations

from typing import NoReturn

from shared.gotext.quoting import quote

WHITESPACE = b" \t\r\n"
LITERALS = {ord("t"): b"true", ord("f"): b"false", ord("n"): b"null"}
MAX_DEPTH = 10_000
DIGITS = b"0123456789"
HEX_DIGITS = b"0123456789abcdefABCDEF"


class JsonSyntaxError(ValueError):
    """The text is not JSON; the message is Go's."""


def check(data: bytes) -> None:
    """One JSON value and nothing behind it (json.Unmarshal). Raises JsonSyntaxError."""
    _Scanner(data, streaming=False).whole_text()


def end_of_first(data: bytes) -> int:
    """Where the first JSON value of a stream ends (json.Decoder). Raises JsonSyntaxError."""
    if not data.strip(WHITESPACE):
        raise JsonSyntaxError("EOF")
    return _Scanner(data, streaming=True).first_value()


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
            raise JsonSyntaxError("unexpected EOF" if self._streaming else "unexpected end of JSON input")
        return self._data[self._at]

    def _inside(self) -> int:
        """The next byte of a token that is not complete, a space at the end of the text."""
        return ord(" ") if self._at >= len(self._data) and not self._streaming else self._peek()

    def _fail(self, context: str) -> NoReturn:
        char = chr(self._inside())
        shown = {"'": "'\\''", '"': "'\"'"}.get(char) or f"'{quote(char)[1:-1]}'"
        raise JsonSyntaxError(f"invalid character {shown} {context}")

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
