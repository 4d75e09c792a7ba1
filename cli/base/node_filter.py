"""Which nodes act on a user event: the filters of `event` and `exec`, regular expressions all."""

from __future__ import annotations

from cli.base.flags import StringFlag
from cli.base.pattern import compile_pattern


def filter_complaint(node: StringFlag, service: StringFlag, tag: StringFlag) -> str:
    """What is wrong with them, "" if nothing is."""
    for flag in (node, service, tag):
        try:
            compile_pattern(flag.value)
        except ValueError as error:
            return f"Failed to compile {flag.name} filter regexp: {error}"
    if tag.value and not service.value:
        return "Cannot provide tag filter without service filter."
    return ""
