"""RE2 patterns as "does it occur in this text", in time linear in the text: no backtracking.

The pattern is parsed by RE2's rules (re2_parse.py), compiled to a Thompson NFA and simulated with a set of
states, so that no pattern from outside can hold up the process. A pattern without operators is a substring.
Only the yes/no answer is needed, hence no captures and no greediness.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from shared.bexpr.re2_parse import (
    Alternate,
    Assertion,
    Capture,
    CharClass,
    Concat,
    Node,
    PatternError,
    Repeat,
    parse_pattern,
)

__all__ = ["PatternError", "compile_pattern"]

PROGRAM_SIZE_MAX = 10_000
"""NFA states at most: bounds the work per character of text."""


@dataclass(slots=True)
class _State:
    """One NFA state: an edge that consumes a character, or free edges (with an assertion, or none)."""

    consumes: CharClass | None = None
    asserts: str | None = None
    free: list[int] = field(default_factory=list)
    target: int = -1


class _Program:
    """Thompson construction: `build(node, next_state)` returns the entry state of `node` before `next_state`."""

    def __init__(self, root: Node) -> None:
        self.states: list[_State] = []
        self.accept = self._add(_State())
        self.start = self._build(root, self.accept)

    def _add(self, state: _State) -> int:
        if len(self.states) >= PROGRAM_SIZE_MAX:
            raise PatternError("expression too large", "")
        self.states.append(state)
        return len(self.states) - 1

    def _build(self, node: Node, after: int) -> int:
        if isinstance(node, CharClass):
            return self._add(_State(consumes=node, target=after))
        if isinstance(node, Assertion):
            return self._add(_State(asserts=node.kind, free=[after]))
        if isinstance(node, Concat):
            for part in reversed(node.parts):
                after = self._build(part, after)
            return after
        if isinstance(node, Capture):
            return self._build(node.part, after)
        if isinstance(node, Alternate):
            return self._add(_State(free=[self._build(part, after) for part in node.parts]))
        return self._repeat(node, after)

    def _repeat(self, node: Repeat, after: int) -> int:
        entry = after
        if node.most is None:
            loop = self._add(_State())
            self.states[loop].free = [self._build(node.part, loop), after]
            entry = loop
        else:
            for _ in range(node.most - node.least):
                entry = self._add(_State(free=[self._build(node.part, entry), after]))
        for _ in range(node.least):
            entry = self._build(node.part, entry)
        return entry

    def search(self, text: str) -> bool:
        """Whether the pattern matches anywhere in `text`."""
        waiting: set[int] = set()
        for at in range(len(text) + 1):
            reached = self._closure([*waiting, self.start], text, at)
            if self.accept in reached:
                return True
            if at == len(text):
                return False
            char = text[at]
            waiting = {
                state.target
                for state in map(self.states.__getitem__, reached)
                if state.consumes is not None and state.consumes.contains(char)
            }
        return False

    def _closure(self, start: list[int], text: str, at: int) -> set[int]:
        """All states that free edges reach from `start` at position `at`."""
        reached, todo = set(start), start
        while todo:
            state = self.states[todo.pop()]
            if state.asserts is None or holds(state.asserts, text, at):
                for target in state.free:
                    if target not in reached:
                        reached.add(target)
                        todo.append(target)
        return reached


def holds(kind: str, text: str, at: int) -> bool:
    if kind == "begin_text":
        return at == 0
    if kind == "end_text":
        return at == len(text)
    if kind == "begin_line":
        return at == 0 or text[at - 1] == "\n"
    if kind == "end_line":
        return at == len(text) or text[at] == "\n"
    boundary = _is_word(text[at - 1 : at] if at else "") != _is_word(text[at : at + 1])
    return boundary if kind == "word_boundary" else not boundary


def _is_word(char: str) -> bool:
    return char != "" and char.isascii() and (char.isalnum() or char == "_")


@lru_cache(maxsize=256)
def compile_pattern(pattern: str) -> Callable[[str], bool]:
    """A function text -> bool. Raises PatternError whose text is Go's `error parsing regexp: ...`."""
    root = parse_pattern(pattern)
    literal = _as_literal(root)
    if literal is not None:
        return lambda text: literal in text
    return _Program(root).search


def _as_literal(root: Node) -> str | None:
    parts = root.parts if isinstance(root, Concat) else (root,)
    chars = [part.single() if isinstance(part, CharClass) else None for part in parts]
    return None if None in chars else "".join(char or "" for char in chars)
