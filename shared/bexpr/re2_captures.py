"""The groups of an RE2 pattern's first match: leftmost, and of those there the one a backtracking matcher would
find first; in time linear in the text.

The pattern's tree becomes a small program, and a list of threads in order of preference walks the text (Pike's
virtual machine). Each thread carries where its groups began and ended."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from shared.bexpr.re2 import PROGRAM_SIZE_MAX, PatternError, holds
from shared.bexpr.re2_parse import Alternate, Assertion, Capture, CharClass, Concat, Node, Repeat, parse_pattern

__all__ = ["PatternError", "compile_groups"]

_STEPS_MAX = 2_000_000
"""Instructions times characters of one match, at most: about a second."""

_Saved = tuple[int, ...]
"""Beginning and end of each group, -1 where it took no part."""


class _Step(NamedTuple):
    """One instruction: consume a character, hold to an assertion, note a position, fork, or (none of these) match."""

    consumes: CharClass | None = None
    asserts: str = ""
    saves: int = -1
    goes: tuple[int, ...] = ()


class _Groups:
    def __init__(self, root: Node) -> None:
        self._steps: list[_Step] = []
        self.count = 1 + _captures(root)
        accept = self._add(_Step())
        self._start = self._build(Capture(root, 0), accept)

    def _add(self, step: _Step) -> int:
        if len(self._steps) >= PROGRAM_SIZE_MAX:
            raise PatternError("expression too large", "")
        self._steps.append(step)
        return len(self._steps) - 1

    def _build(self, node: Node, after: int) -> int:
        """The first instruction of `node` when `after` is what follows it."""
        if isinstance(node, CharClass):
            return self._add(_Step(consumes=node, goes=(after,)))
        if isinstance(node, Assertion):
            return self._add(_Step(asserts=node.kind, goes=(after,)))
        if isinstance(node, Concat):
            for part in reversed(node.parts):
                after = self._build(part, after)
            return after
        if isinstance(node, Alternate):
            return self._add(_Step(goes=tuple(self._build(part, after) for part in node.parts)))
        if isinstance(node, Capture):
            end = self._add(_Step(saves=2 * node.number + 1, goes=(after,)))
            return self._add(_Step(saves=2 * node.number, goes=(self._build(node.part, end),)))
        return self._repeat(node, after)

    def _repeat(self, node: Repeat, after: int) -> int:
        entry = after
        if node.most is None:
            entry = self._add(_Step())
            self._steps[entry] = self._fork(self._build(node.part, entry), after, node.lazy)
        else:
            for _ in range(node.most - node.least):
                entry = self._add(self._fork(self._build(node.part, entry), after, node.lazy))
        for _ in range(node.least):
            entry = self._build(node.part, entry)
        return entry

    def _fork(self, again: int, on: int, lazy: bool) -> _Step:
        return _Step(goes=(on, again) if lazy else (again, on))

    def match(self, text: str) -> list[str] | None:
        """The whole match and each group, "" for one that took no part; None without a match.

        Raises PatternError for a text that is too long for a pattern of this size."""
        if len(self._steps) * len(text) > _STEPS_MAX:
            raise PatternError("text too long for an expression of this size", "")
        best: _Saved | None = None
        threads, passed = dict[int, _Saved](), set[int]()
        nothing = (-1,) * (2 * self.count)
        for at in range(len(text) + 1):
            if best is None:
                self._follow(self._start, nothing, text, at, threads, passed)
            elif not threads:
                break
            following, passed = dict[int, _Saved](), set[int]()
            for number, saved in threads.items():
                step = self._steps[number]
                if step.consumes is None:
                    best = saved  # less preferred threads are cut off
                    break
                if at < len(text) and step.consumes.contains(text[at]):
                    self._follow(step.goes[0], saved, text, at + 1, following, passed)
            threads = following
        if best is None:
            return None
        return [text[begin:end] if begin >= 0 else "" for begin, end in zip(best[::2], best[1::2], strict=True)]

    def _follow(
        self, start: int, saved: _Saved, text: str, at: int, threads: dict[int, _Saved], passed: set[int]
    ) -> None:
        """Adds every thread that `start` leads to without consuming a character, the preferred ones first.

        Instructions in `threads` or `passed` were reached by a better way before."""
        todo = [(start, saved)]
        while todo:
            number, saved = todo.pop()
            if number in threads or number in passed:
                continue
            step = self._steps[number]
            if step.consumes is not None or not step.goes:
                threads[number] = saved
                continue
            passed.add(number)
            if step.asserts and not holds(step.asserts, text, at):
                continue
            if step.saves >= 0:
                saved = (*saved[: step.saves], at, *saved[step.saves + 1 :])
            todo += [(target, saved) for target in reversed(step.goes)]


def _captures(node: Node) -> int:
    if isinstance(node, Capture):
        return 1 + _captures(node.part)
    if isinstance(node, Repeat):
        return _captures(node.part)
    if isinstance(node, Concat | Alternate):
        return sum(map(_captures, node.parts))
    return 0


@lru_cache(maxsize=64)
def compile_groups(pattern: str) -> Callable[[str], list[str] | None]:
    """A function text -> whole match and groups. Raises PatternError whose text is Go's `error parsing regexp: ...`.

    So does the function, for a text that would take too long."""
    return _Groups(parse_pattern(pattern)).match
