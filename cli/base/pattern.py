"""Regular expressions of users. The RE2 engine is only loaded when there is something to match."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

ANYTHING = ".*"


def compile_pattern(pattern: str) -> Callable[[str], bool]:
    """Whether a text contains a match. Raises ValueError with regexp/syntax's text."""
    if pattern == ANYTHING:
        return lambda text: True
    from shared.bexpr.re2 import compile_pattern as compile_re2

    return compile_re2(pattern)
