"""UUIDs: what is one, and in which words Consul refuses the rest."""

from __future__ import annotations

import re

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def is_uuid(text: str) -> bool:
    """Whether a text is a UUID in the usual form."""
    return _UUID.fullmatch(text) is not None


def uuid_problem(text: str) -> str | None:
    """Why a text is not a UUID, in the words of the parser Consul uses for node ids. None if it is one."""
    if is_uuid(text):
        return None
    if _byte_length(text) != 36:
        return "uuid string is wrong length"
    if any(text[at : at + 1] != "-" for at in (8, 13, 18, 23)):
        return "uuid is improperly formatted"
    return _hex_problem("".join((text[:8], text[9:13], text[14:18], text[19:23], text[24:36])))


def uuid_index_problem(text: str) -> str | None:
    """Why a text cannot be looked up in a table keyed by UUID, None if it can."""
    if is_uuid(text):
        return None
    if _byte_length(text) != 36:
        return "UUID must be 36 characters"
    hyphens = text.count("-")
    if hyphens > 4:
        return f'UUID should have maximum of 4 "-"; got {hyphens}'
    digits = text.replace("-", "")
    if _byte_length(digits) % 2:
        return "Input (without hyphens) must be even length"
    problem = _hex_problem(digits)
    return None if problem is None else f"Invalid UUID: {problem}"


def _byte_length(text: str) -> int:
    return len(text.encode("utf-8", "surrogateescape"))


def _hex_problem(digits: str) -> str | None:
    for char in digits:
        if char not in "0123456789abcdefABCDEF":
            shown = f"U+{ord(char):04X}" + (f" '{char}'" if char.isprintable() else "")
            return f"encoding/hex: invalid byte: {shown}"
    return None
