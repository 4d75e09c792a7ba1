"""Tokens: literal text outside of `${...}`, and inside of it identifiers, numbers, operators and quoted texts, which
may hold further `${...}`."""

from __future__ import annotations

from typing import NamedTuple

from shared.gotext.numbers import parse_int
from shared.hil.ast import Position

END, TEXT, IDENTIFIER, INTEGER, DECIMAL, OPERATOR = "end", "text", "identifier", "integer", "decimal", "operator"
OPEN, CLOSE = "${", "}"
_PUNCTUATION = "()[],"
_OPERATORS = "+-*/%"
_SPACE = "\t\n\v\f\r \x85\xa0"
_START = Position(1, 1)


class Token(NamedTuple):
    """kind: one of the names above, or the punctuation character itself. value: text, number, operator."""

    kind: str
    value: str | int | float
    at: Position


class Lexer:
    """`next` gives one token after the other, END for ever at the end or after a number that is none."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self._width = 0
        self._column = self._line = self._last_column = 0
        self._literal, self._depth = True, 0
        self._begin: Position | None = None

    def next(self) -> Token:
        self._begin = None
        kind, value = self._literal_token() if self._literal else self._inner_token()
        return Token(kind, value, self._begin or _START)

    # -- characters -----------------------------------------------------------------------------

    def _take(self) -> str:
        """The next character, "" at the end. A zero character counts as an end, too."""
        if self._at >= len(self._text):
            self._width = 0
            return ""
        char = self._text[self._at]
        self._width = 1
        self._at += 1
        if self._line == 0:
            self._line = self._column = 1
        else:
            self._column += 1
        if char == "\n":
            self._last_column = self._column
            self._line += 1
            self._column = 1
        if self._begin is None:
            self._begin = Position(self._column, self._line)
        return "" if char == "\0" else char

    def _back(self) -> None:
        """Undo one `_take`. At the end this moves the column all the same, which only error texts can tell."""
        self._at -= self._width
        self._column -= 1
        if self._column == 0:
            self._column = self._last_column
            self._line -= 1

    def _peek(self) -> str:
        char = self._take()
        self._back()
        return char

    # -- outside of an interpolation ------------------------------------------------------------

    def _literal_token(self) -> tuple[str, str | int | float]:
        char = self._take()
        if not char:
            return END, ""
        if char == "$" and self._peek() == "{":
            self._take()
            self._depth += 1
            self._literal = False
            return OPEN, ""
        self._back()
        text, terminated = self._string(quoted=self._depth > 0)
        if terminated:
            self._literal = False
            if not text:
                return self._inner_token()
        return TEXT, text

    def _string(self, quoted: bool) -> tuple[str, bool]:
        """Text up to an interpolation, the end, or the closing quote; whether that was there."""
        parts: list[str] = []
        while char := self._take():
            if quoted and char == '"':
                return "".join(parts), True
            if quoted and char == "\\":
                escaped = self._take()
                if escaped in ("\\", '"'):
                    char = escaped
                elif escaped == "n":
                    char = "\n"
                else:
                    self._back()
            if char == "$":
                following = self._peek()
                if following == "{":
                    self._back()
                    break
                if following == "$":
                    self._take()
            parts.append(char)
        return "".join(parts), False

    # -- inside of one --------------------------------------------------------------------------

    def _inner_token(self) -> tuple[str, str | int | float]:
        while (char := self._take()) and char in _SPACE:
            pass
        if not char:
            return END, ""
        if char == '"':
            text, terminated = self._string(quoted=True)
            if not terminated:
                self._literal = True
                if not text:
                    return self._literal_token()
            return TEXT, text
        if char.isascii() and char.isdigit():
            self._back()
            return self._number()
        if char == "}":
            self._depth -= 1
            self._literal = True
            return CLOSE, ""
        if char in _PUNCTUATION:
            return char, ""
        if char in _OPERATORS:
            return OPERATOR, char
        self._back()
        return self._identifier()

    def _identifier(self) -> tuple[str, str]:
        """May be empty: a character that can begin nothing is not consumed, so two of them follow, which is wrong
        everywhere."""
        parts: list[str] = []
        while char := self._take():
            splat = char == "*" and parts[-1:] == ["."]
            if not (splat or char in "_-." or char.isalpha() or char.isnumeric()):
                self._back()
                break
            parts.append(char)
        return IDENTIFIER, "".join(parts)

    def _number(self) -> tuple[str, str | int | float]:
        digits = ""
        while char := self._take():
            if not (char in "0123456789" or (char == "." and "." not in digits)):
                self._back()
                break
            digits += char
        if "." in digits:
            return DECIMAL, float(digits)
        try:
            return INTEGER, parse_int(digits)
        except ValueError:
            self._at = len(self._text)  # what is left cannot make it right again
            return END, ""
