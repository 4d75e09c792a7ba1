"""What a shell may put for the word that is being typed: `complete -C` runs us with the line in COMP_LINE.

The rules are those of the posener/complete library as Consul 1.8 uses it: names of commands everywhere, flags only
before the command."""

from __future__ import annotations

import os

from cli import registry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_FLAGS = ("-autocomplete-install", "-autocomplete-uninstall", "-help", "-version")


def wanted_line(environment: Mapping[str, str] = os.environ) -> str:
    """The line up to the cursor, "" if nothing is to be completed."""
    line, point = environment.get("COMP_LINE", ""), environment.get("COMP_POINT", "")
    return line[: int(point)] if point.isdecimal() else line


def candidates(line: str) -> list[str]:
    """The words that begin as the last one of `line` does, sorted. The first one is the program."""
    words = line.split()[1:]
    last = "" if line[-1:].isspace() or not words else words.pop()
    if not words and not last and not line[-1:].isspace():
        return []
    command = ""
    for word in words:
        if f"{command} {word}".strip() in registry.MODULES:
            command = f"{command} {word}".strip()
    found = [child.rpartition(" ")[2] for child in registry.children(command)]
    if not command and last.startswith("-"):
        found += _FLAGS
    return sorted(word for word in found if word.startswith(last))
