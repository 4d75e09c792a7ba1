"""Tokens of HCL 1: kinds, positions, and the values of literals."""

from __future__ import annotations

import math
from typing import NamedTuple

ILLEGAL, EOF, COMMENT = "ILLEGAL", "EOF", "COMMENT"
IDENT, NUMBER, FLOAT, BOOL, STRING, HEREDOC = "IDENT", "NUMBER", "FLOAT", "BOOL", "STRING", "HEREDOC"
LBRACK, LBRACE, COMMA, PERIOD = "LBRACK", "LBRACE", "COMMA", "PERIOD"
RBRACK, RBRACE, ASSIGN, ADD, SUB = "RBRACK", "RBRACE", "ASSIGN", "ADD", "SUB"

LITERALS = frozenset({NUMBER, FLOAT, BOOL, STRING, HEREDOC})

_SIMPLE_ESCAPES = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
    '"': '"',
}
_HEX_LENGTHS = {"x": 2, "u": 4, "U": 8}
_MAX_INT64 = (1 << 63) - 1


class HclError(ValueError):
    """The text is not HCL 1. The message is what HashiCorp's parser says, "At LINE:COLUMN: reason"."""


class Position(NamedTuple):
    """Both from 1; columns count characters."""

    line: int
    column: int

    def error(self, reason: str) -> HclError:
        return HclError(f"At {self.line}:{self.column}: {reason}")


class Token(NamedTuple):
    kind: str
    text: str
    at: Position

    def __str__(self) -> str:
        return f"{self.at.line}:{self.at.column} {self.kind} {self.text}"


def parse_number(text: str) -> int:
    """A NUMBER token or a string used as one: decimal, 0x hexadecimal or 0 octal, signed 64 bits."""
    digits = text.lstrip("+-")
    try:
        if len(text) - len(digits) > 1:
            raise ValueError
        if digits[:2] in ("0x", "0X"):
            value = int(digits[2:], 16)
        elif len(digits) > 1 and digits[0] == "0":
            value = int(digits, 8)
        else:
            value = int(digits)
    except ValueError:
        raise HclError(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None
    value = -value if text.startswith("-") else value
    if not -_MAX_INT64 - 1 <= value <= _MAX_INT64:
        raise HclError(f'strconv.ParseInt: parsing "{text}": value out of range')
    return value


def parse_float(text: str) -> float:
    """A FLOAT or NUMBER token as a float; "1." and ".5" count, "1e" does not."""
    try:
        value = float(text)
    except ValueError:
        raise HclError(f'strconv.ParseFloat: parsing "{text}": invalid syntax') from None
    if math.isinf(value):
        raise HclError(f'strconv.ParseFloat: parsing "{text}": value out of range')
    return value


def string_value(token: Token) -> str:
    """The text of a STRING or HEREDOC token without quotes, escapes and markers."""
    return _heredoc_value(token.text) if token.kind == HEREDOC else unquote(token)


def unquote(token: Token) -> str:
    """Quotes removed, escapes resolved. The inside of `${...}` stays exactly as written, quotes included."""
    text = token.text[1:-1]
    if "\\" not in text and "$" not in text:
        return text
    out: list[str] = []
    at = 0
    while at < len(text):
        if text.startswith("${", at):
            end = _interpolation_end(text, at)
            if end is None:
                raise token.at.error(f"unquote {token.text} err: invalid syntax")
            out.append(text[at:end])
            at = end
        elif text[at] == "\\":
            value, at = _escape(token, text, at + 1)
            out.append(value)
        else:
            out.append(text[at])
            at += 1
    return "".join(out)


def _interpolation_end(text: str, at: int) -> int | None:
    """Index behind the brace that closes the `${` at `at`, None if there is none."""
    depth, at = 1, at + 2
    while at < len(text) and depth:
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        at += 1
    return None if depth else at


def _escape(token: Token, text: str, at: int) -> tuple[str, int]:
    """The character that the escape with its letter at `at` stands for, and the index behind it."""
    letter = text[at : at + 1]
    if letter in _SIMPLE_ESCAPES:
        return _SIMPLE_ESCAPES[letter], at + 1
    try:
        if letter in _HEX_LENGTHS:
            end = at + 1 + _HEX_LENGTHS[letter]
            return chr(int(text[at + 1 : end], 16)), end
        return chr(int(text[at : at + 3], 8)), at + 3
    except (ValueError, OverflowError):
        raise token.at.error(f"unquote {token.text} err: invalid syntax") from None


def _heredoc_value(text: str) -> str:
    """The lines between `<<MARK` and `MARK`; with `<<-MARK` less the indentation of the closing mark."""
    first_line_end = text.index("\n")
    mark = text[2:first_line_end].rstrip("\r")
    body = text[first_line_end + 1 :].rstrip("\n")
    lines, last = body.split("\n")[:-1], body.split("\n")[-1]
    if not mark.startswith("-"):
        return "".join(line + "\n" for line in lines)
    indent = last[: len(last) - len(last.lstrip())]
    if all(line.startswith(indent) for line in lines):
        lines = [line[len(indent) :] for line in lines]
    return "".join(line + "\n" for line in lines)
