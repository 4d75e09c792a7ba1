"""Scanner of HCL 1: characters to tokens. It goes on after an error and remembers the last one."""

from __future__ import annotations

import re

from shared.config.hcl1 import tokens as t
from shared.config.hcl1.tokens import HclError, Position, Token

END = "\0"
"""What reading past the end gives."""

_PUNCTUATION = {
    "[": t.LBRACK,
    "]": t.RBRACK,
    "{": t.LBRACE,
    "}": t.RBRACE,
    ",": t.COMMA,
    "=": t.ASSIGN,
    "+": t.ADD,
}
_DECIMAL = frozenset("0123456789")
_HEXADECIMAL = frozenset("0123456789abcdefABCDEF")
_OCTAL = frozenset("01234567")
_ESCAPE_DIGITS = {"x": 2, "u": 4, "U": 8}


def _is_letter(char: str) -> bool:
    return char == "_" or char.isalpha()


class Scanner:
    """Scanner(text).scan() -> Token, EOF for ever at the end. `error` is the last thing that was wrong."""

    def __init__(self, text: str) -> None:
        self.error: HclError | None = None
        self._text = text
        self._at = 0  # index of the next character
        self._line, self._column = 1, 0
        self._last_line_length = 0
        self._before: tuple[int, int, int] = (0, 1, 0)

    def scan(self) -> Token:
        char = self._next()
        while char in " \t\n\r" and char != END:
            char = self._next()
        start = self._at - (char != END or self._consumed_null())
        position = self._position()
        kind = self._scan_kind(char)
        text = self._text[start : self._at]
        if kind == t.IDENT and text in ("true", "false"):
            kind = t.BOOL
        return Token(kind, text, position)

    # characters

    def _next(self) -> str:
        if self._at >= len(self._text):
            self._column += 1
            return END
        self._before = (self._at, self._line, self._column)
        char = self._text[self._at]
        self._at += 1
        self._column += 1
        if "\udc80" <= char <= "\udcff":  # a byte that was not UTF-8
            self._fail("illegal UTF-8 encoding")
        elif char == "\n":
            self._line += 1
            self._last_line_length, self._column = self._column, 0
        elif char == "\0":
            self._fail("unexpected null character (0x00)")
        return char

    def _back(self) -> None:
        self._at, self._line, self._column = self._before

    def _peek(self) -> str:
        return self._text[self._at] if self._at < len(self._text) else END

    def _consumed_null(self) -> bool:
        return self._at > 0 and self._text[self._at - 1] == END and self._before[0] == self._at - 1

    def _position(self) -> Position:
        """Of the character read last."""
        if self._column > 0:
            return Position(self._line, self._column)
        return Position(max(self._line - 1, 1), max(self._last_line_length, 1))

    def _fail(self, reason: str) -> None:
        self.error = self._position().error(reason)

    # tokens; each method is entered with the first character of its token already read

    def _scan_kind(self, char: str) -> str:
        if _is_letter(char):
            self._identifier()
            return t.IDENT
        if char in _DECIMAL:
            return self._number(char)
        if char in _PUNCTUATION:
            return _PUNCTUATION[char]
        if char == END:
            return t.EOF
        if char == '"':
            self._string()
            return t.STRING
        if char in "#/":
            self._comment(char)
            return t.COMMENT
        if char == "<":
            self._heredoc()
            return t.HEREDOC
        if char == "-":
            return self._number(self._next()) if self._peek() in _DECIMAL else t.SUB
        if char == ".":
            return self._float_without_whole()
        self._fail("illegal char")
        return t.ILLEGAL

    def _identifier(self) -> None:
        char = self._next()
        while _is_letter(char) or char.isdecimal() or char in "-.":
            char = self._next()
        if char != END:
            self._back()

    def _number(self, char: str) -> str:
        if char == "0" and self._peek() in "xX" and self._peek() != END:
            return self._hexadecimal()
        bad_octal = False
        if char == "0":
            char = self._next()
            while char in _DECIMAL:
                char = self._next()
                bad_octal = bad_octal or char in "89"  # so an 8 or 9 right behind the 0 passes, as in Go
        else:
            self._digits(seen=True)
            char = self._next()
        if char in "eE":
            self._exponent()
            return t.FLOAT
        if char == ".":
            self._digits()
            if self._peek() in "eE":
                self._next()
                self._exponent()
            return t.FLOAT
        if bad_octal:
            self._fail("illegal octal number")
        if char != END:
            self._back()
        return t.NUMBER

    def _hexadecimal(self) -> str:
        self._next()
        char, found = self._next(), False
        while char in _HEXADECIMAL:
            char, found = self._next(), True
        if not found:
            self._fail("illegal hexadecimal number")
        if char != END:
            self._back()
        return t.NUMBER

    def _digits(self, seen: bool = False) -> None:
        """Digits that follow. `seen`: the first one has been read already."""
        while self._peek() in _DECIMAL:
            self._next()
            seen = True
        if seen and self._at >= len(self._text):
            self._next()  # looked beyond the end: shows in the column of the error

    def _exponent(self) -> None:
        char = self._next()
        if char in "+-":
            char = self._next()
        if char in _DECIMAL:
            self._digits(seen=True)

    def _float_without_whole(self) -> str:
        if self._peek() not in _DECIMAL:
            return t.PERIOD
        self._digits()
        if self._peek() in "eE":
            self._next()
            self._exponent()
        return t.FLOAT

    def _comment(self, char: str) -> None:
        if char == "#" or self._peek() == "/":
            while self._peek() not in (END, "\n"):
                self._next()
            if self._at >= len(self._text):
                self._next()  # shows in the column of an error at the end
            return
        if self._peek() != "*":
            self._fail("expected '/' for comment")
            return
        self._next()
        char = self._next()
        while True:
            if char == END:
                self._fail("comment not terminated")
                return
            previous, char = char, self._next()
            if previous == "*" and char == "/":
                return

    def _string(self) -> None:
        """Up to the closing quote. Inside `${...}` quotes and newlines belong to the interpolation."""
        braces = 0
        while True:
            char = self._next()
            if char == END or (char == "\n" and not braces):
                self._fail("literal not terminated")
                return
            if char == '"' and not braces:
                return
            if not braces and char == "$" and self._peek() == "{":
                braces = 1
                self._next()
            elif braces and char == "{":
                braces += 1
            if braces and char == "}":
                braces -= 1
            if char == "\\":
                self._string_escape()

    def _string_escape(self) -> None:
        char = self._next()
        if char in 'abfnrtv\\"':
            return
        if char in _OCTAL:
            self._escape_digits(char, _OCTAL, 3)
        elif char in _ESCAPE_DIGITS:
            self._escape_digits(self._next(), _HEXADECIMAL, _ESCAPE_DIGITS[char])
        else:
            self._fail("illegal char escape")

    def _escape_digits(self, char: str, allowed: frozenset[str], count: int) -> None:
        """`char` has been read. If it is no digit it is spent, even a newline or the closing quote."""
        missing = count
        while missing and char in allowed:
            char = self._next()
            if char == END:
                break
            missing -= 1
        if missing:
            self._fail("illegal char escape")
        if missing != count and char != END:
            self._back()

    def _heredoc(self) -> None:
        if self._next() != "<":
            self._fail("heredoc expected second '<', didn't see it")
            return
        anchor_start = self._at
        char = self._next()
        if char == "-":
            char = self._next()
        while _is_letter(char) or char.isdecimal():
            char = self._next()
        if char == END:
            self._fail("heredoc not terminated")
            return
        if char == "\r" and self._peek() == "\n":
            char = self._next()
        if char != "\n":
            self._fail("invalid characters in heredoc anchor")
            return
        anchor = self._text[anchor_start : self._at - 1].rstrip("\r").removeprefix("-")
        if not anchor:
            self._fail("zero-length heredoc anchor")
            return
        closing = re.compile(rf"\s*{re.escape(anchor)}\r*\Z")
        line_start = self._at
        while True:
            char = self._next()
            if char == END:
                self._fail("heredoc not terminated")
                return
            if char == "\n":
                if closing.match(self._text[line_start : self._at - 1]):
                    return
                line_start = self._at
