"""RE2 patterns as "does it occur in this text", in time linear in the text: no backtracking.

The pattern is parsed by RE2's rules (re2_parse.py), compiled to a Thompson NFA and simulated with a set of states.
The sets that were met, and what a character leads to from there, are remembered: a DFA that grows as it is needed.
What a pattern may cost is bounded for each character of text on average, so that none from outside can hold up the
process; one that wants more is refused in the middle (WorkError). A pattern without operators is a substring.
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

__all__ = ["PatternError", "WorkError", "compile_pattern"]

PROGRAM_SIZE_MAX = 10_000
"""NFA states at most."""
WORK_MAX = 300_000
"""Visits of NFA states that a pattern may take beyond what its texts have earned it: some tenths of a second."""
WORK_PER_CHAR = 64
"""Visits that each character of text earns: more than the patterns that people write need."""
REMEMBERED_MAX = 10_000
"""NFA states in all the remembered sets together; then they are forgotten."""
PATTERNS_MAX = 64
"""Compiled patterns that are kept."""


class WorkError(PatternError):
    """A match would take too long: the pattern has too many states for the text."""

    def __init__(self) -> None:
        ValueError.__init__(self, "expression needs too much work for this text: make it simpler")


class _Set:
    """The NFA states that wait for a character after `before` ("" at the beginning of the text). after: the set that
    a character, or "" for the end of the text, leads to; None for a match."""

    __slots__ = ("after", "before", "states")

    def __init__(self, states: frozenset[int], before: str) -> None:
        self.states, self.before = states, before
        self.after: dict[str, _Set | None] = {}


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
        self._work_left = WORK_MAX
        self._forget()

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

    def _forget(self) -> None:
        self._sets: dict[tuple[frozenset[int], str], _Set] = {}
        self._remembered = 0
        self._beginning = self._set(frozenset(), "")

    def _set(self, states: frozenset[int], before: str) -> _Set:
        """before: of all characters that no assertion tells apart one stands for all."""
        if before and before != "\n":
            before = "a" if _is_word(before) else " "
        found = self._sets.get((states, before))
        if found is None:
            found = self._sets[states, before] = _Set(states, before)
            self._remembered += len(states) + 1
        return found

    def search(self, text: str) -> bool:
        """Whether the pattern matches anywhere in `text`. Raises WorkError."""
        self._work_left = min(self._work_left + WORK_PER_CHAR * len(text), WORK_MAX)
        if self._remembered > REMEMBERED_MAX:
            self._forget()
        here = self._beginning
        for char in text:
            after = here.after.get(char, here)
            if after is here and char not in here.after:
                after = self._step(here, char)
            if after is None:
                return True
            here = after
        if "" not in here.after:
            self._step(here, "")
        return here.after[""] is None

    def _step(self, here: _Set, char: str) -> _Set | None:
        """Works out where `char`, or the end of the text, leads to from `here`, and remembers it."""
        reached = self._closure(here, char)
        self._work_left -= len(reached) + 1
        if self._work_left < 0:
            raise WorkError
        after = None
        if self.accept not in reached:
            states = map(self.states.__getitem__, reached if char else ())
            waiting = (one.target for one in states if one.consumes is not None and one.consumes.contains(char))
            after = self._set(frozenset(waiting), char)
        if self._remembered > REMEMBERED_MAX:
            self._forget()
        self._remembered += 1
        here.after[char] = after
        return after

    def _closure(self, here: _Set, char: str) -> set[int]:
        """All states that free edges reach from `here` between the character before it and `char`."""
        todo = [*here.states, self.start]
        reached = set(todo)
        around, at = here.before + char, len(here.before)
        while todo:
            state = self.states[todo.pop()]
            if state.asserts is None or holds(state.asserts, around, at):
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


@lru_cache(PATTERNS_MAX)
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
