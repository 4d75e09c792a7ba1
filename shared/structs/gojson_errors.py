"""What Go's JSON scanner says about a syntax error that Python's parser has found."""

from __future__ import annotations

_SPACE = " \t\r\n"
_SHOWN = {"'": "'\\''", '"': "'\"'", "\n": "'\\n'", "\t": "'\\t'", "\r": "'\\r'", "\\": "'\\\\'"}
_LITERALS = {"t": "true", "f": "false", "n": "null"}


def syntax_error(text: str, python_message: str, position: int) -> str:
    """Go's message. text: the document, bytes that are no UTF-8 as surrogates; position: where Python gave up."""
    if python_message.startswith("Invalid control character"):
        return f"invalid character {_shown(text, position)} in string literal"
    if python_message.startswith("Invalid \\escape"):
        return _at(text, position + 1, "in string escape code")
    if python_message.startswith("Invalid \\uXXXX"):
        return _hexadecimal(text, position)
    if python_message.startswith("Unterminated string"):
        return "unexpected EOF"
    at = position
    while at < len(text) and text[at] in _SPACE:
        at += 1
    if python_message.startswith("Expecting ',' delimiter"):
        if number := _broken_number(text, at):
            return number
        opened = "object key:value pair" if _inside_object(text, at) else "array element"
        return _at(text, at, f"after {opened}")
    if python_message.startswith("Expecting ':' delimiter"):
        return _at(text, at, "after object key")
    if "property name" in python_message or python_message.startswith("Illegal trailing comma before end of obj"):
        if python_message.startswith("Illegal"):
            at = text.index("}", at)
        return _at(text, at, "looking for beginning of object key string")
    if at < len(text) and text[at] in _LITERALS:
        return _broken_literal(text, at, _LITERALS[text[at]])
    if at < len(text) and text[at] == "-":
        return _at(text, at + 1, "in numeric literal")
    if python_message.startswith("Illegal trailing comma"):
        at = text.index("]", at)
    return _at(text, at, "looking for beginning of value")


def _at(text: str, at: int, context: str) -> str:
    if at >= len(text):
        return "unexpected EOF"
    return f"invalid character {_shown(text, at)} {context}"


def _shown(text: str, at: int) -> str:
    """The byte at a position as Go quotes it: it looks at one byte, not at a character."""
    char = chr(text[at].encode("utf-8", "surrogateescape")[0])
    if char in _SHOWN:
        return _SHOWN[char]
    if char.isprintable():
        return f"'{char}'"
    code = ord(char)
    return f"'\\x{code:02x}'" if code < 0x80 else f"'\\u{code:04x}'"


def _broken_literal(text: str, at: int, literal: str) -> str:
    for offset, expected in enumerate(literal):
        if at + offset >= len(text):
            return "unexpected EOF"
        if text[at + offset] != expected:
            return _at(text, at + offset, f"in literal {literal} (expecting '{expected}')")
    return _at(text, at + len(literal), "looking for beginning of value")


def _hexadecimal(text: str, position: int) -> str:
    start = text.rfind("\\u", 0, position + 2) + 2
    for at in range(start, start + 4):
        if at >= len(text):
            return "unexpected EOF"
        if text[at] not in "0123456789abcdefABCDEF":
            return _at(text, at, "in \\u hexadecimal character escape")
    return _at(text, start, "in \\u hexadecimal character escape")


def _broken_number(text: str, at: int) -> str | None:
    """A number Python took the beginning of: a point or exponent without digits follows it."""
    if at >= len(text) or text[at] not in ".eE" or at == 0 or not text[at - 1].isdigit():
        return None
    if text[at] == ".":
        return _at(text, at + 1, "after decimal point in numeric literal")
    following = at + 2 if text[at + 1 : at + 2] in ("+", "-") else at + 1
    return _at(text, following, "in exponent of numeric literal")


def _inside_object(text: str, end: int) -> bool:
    """Whether a position lies directly in an object rather than in an array."""
    open_brackets: list[str] = []
    in_string = escaped = False
    for char in text[:end]:
        if in_string:
            in_string = escaped or char != '"'
            escaped = char == "\\" and not escaped
        elif char == '"':
            in_string = True
        elif char in "{[":
            open_brackets.append(char)
        elif char in "}]" and open_brackets:
            open_brackets.pop()
    return bool(open_brackets) and open_brackets[-1] == "{"
