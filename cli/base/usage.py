"""The layout of `-h` texts: the description, then the flags in two groups, wrapped to 72 columns."""

from __future__ import annotations

import os
import sys

from cli.base.flags import FlagSet
from cli.base.http import AGENT_FLAG_NAMES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.base.flags import Flag

LINE_LENGTH = 72
INDENT = 5
TOO_LONG_PENALTY = 100_000
"""Cost of a line that does not fit (a single word longer than the line), so that it is taken only then."""


def program() -> str:
    """The name that this program was called by: scripts written for Consul call it `consul`."""
    return "consul" if os.path.basename(sys.argv[0]) == "consul" else "proconsul"


def usage(description: str, flags: FlagSet | None = None) -> str:
    """The whole help text of a command: `description` begins with its "Usage: ..." line.

    `proconsul` in it becomes the name that the program was called by."""
    text = description.strip().replace("proconsul", program()) + "\n\n"
    if flags is not None:
        ordered = list(flags)
        agent = [flag for flag in ordered if flag.name in AGENT_FLAG_NAMES]
        own = [flag for flag in ordered if flag.name not in AGENT_FLAG_NAMES]
        text += _section("HTTP API Options", agent) + _section("Command Options", own)
    return text.rstrip("\n")


def _section(title: str, flags: list[Flag]) -> str:
    if not flags:
        return ""
    return f"{title}\n\n" + "".join(map(_describe, flags))


def _describe(flag: Flag) -> str:
    example = flag.example()
    head = f"  -{flag.name}=<{example}>" if example else f"  -{flag.name}"
    lines = wrap(flag.usage, LINE_LENGTH - INDENT)
    return head + "\n" + "".join(f"{' ' * INDENT}{line}\n" for line in lines) + "\n"


def wrap(text: str, limit: int) -> list[str]:
    """Breaks a paragraph so that the sum of the squares of the space left at the line ends is smallest.

    The last line costs nothing. Dynamic programming from the end (Knuth and Plass, simplified)."""
    words = text.split()
    count = len(words)
    best_cost = [0] * (count + 1)
    next_break = [count] * (count + 1)
    for start in range(count - 1, -1, -1):
        if start == count - 1 or len(" ".join(words[start:])) <= limit:
            continue  # the rest fits on the last line
        best_cost[start] = TOO_LONG_PENALTY**2
        length = -1
        for end in range(start + 1, count):
            length += 1 + len(words[end - 1])
            cost = (limit - length) ** 2 + best_cost[end]
            if length > limit:
                cost += TOO_LONG_PENALTY
            if cost < best_cost[start]:
                best_cost[start], next_break[start] = cost, end
            if length > limit:
                break  # a longer line costs only more
    lines, start = [], 0
    while start < count:
        lines.append(" ".join(words[start : next_break[start]]))
        start = next_break[start]
    return lines
