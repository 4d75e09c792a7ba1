"""Parser of RE2 patterns: a tree of classes, assertions, concatenations, alternatives and repetitions.

Error texts are those of Go's regexp/syntax. Unicode classes are known by general category (`\\pL`, `\\p{Lu}`);
script names (`\\p{Greek}`) are refused.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TypeAlias

_REPEAT_MAX = 1000
_PERL = {"d": ((48, 57),), "s": ((9, 10), (12, 13), (32, 32)), "w": ((48, 57), (65, 90), (95, 95), (97, 122))}
_POSIX = {
    "alnum": ((48, 57), (65, 90), (97, 122)),
    "alpha": ((65, 90), (97, 122)),
    "ascii": ((0, 127),),
    "blank": ((9, 9), (32, 32)),
    "cntrl": ((0, 31), (127, 127)),
    "digit": ((48, 57),),
    "graph": ((33, 126),),
    "lower": ((97, 122),),
    "print": ((32, 126),),
    "punct": ((33, 47), (58, 64), (91, 96), (123, 126)),
    "space": ((9, 13), (32, 32)),
    "upper": ((65, 90),),
    "word": ((48, 57), (65, 90), (95, 95), (97, 122)),
    "xdigit": ((48, 57), (65, 70), (97, 102)),
}
_CONTROL = {"a": 7, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}
_SUBCATEGORIES = {"C": "cfos", "L": "lmotu", "M": "cen", "N": "dlo", "P": "cdefios", "S": "ckmo", "Z": "lps"}
_CATEGORIES = frozenset(_SUBCATEGORIES) | {
    major + minor for major, minors in _SUBCATEGORIES.items() for minor in minors
}


class PatternError(ValueError):
    """The pattern is not RE2; `detail` is the part that is wrong."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"error parsing regexp: {code}: `{detail}`")


Ranges: TypeAlias = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class CharClass:
    """Characters by code point ranges, plus members of general categories, or everything but those."""

    ranges: Ranges
    negated: bool = False
    fold: bool = False
    categories: tuple[tuple[str, bool], ...] = ()
    excluded: tuple[Ranges, ...] = ()

    def contains(self, char: str) -> bool:
        found = self._has(char)
        if not found and self.fold:
            found = self._has(char.lower()) or self._has(char.upper())
        return found != self.negated

    def _has(self, char: str) -> bool:
        if len(char) != 1:  # the upper case of ß has two characters
            return False
        code = ord(char)
        if any(low <= code <= high for low, high in self.ranges):
            return True
        if any(all(not low <= code <= high for low, high in ranges) for ranges in self.excluded):
            return True
        return any(unicodedata.category(char).startswith(name) != inverted for name, inverted in self.categories)

    def single(self) -> str | None:
        """The one character this class stands for, if it does."""
        plain = not (self.negated or self.fold or self.categories or self.excluded)
        if plain and len(self.ranges) == 1 and self.ranges[0][0] == self.ranges[0][1]:
            return chr(self.ranges[0][0])
        return None


@dataclass(frozen=True, slots=True)
class Assertion:
    kind: str


@dataclass(frozen=True, slots=True)
class Concat:
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Alternate:
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """`part` at least `least` and at most `most` times, without end if `most` is None; rather fewer than more if
    `lazy`."""

    part: Node
    least: int
    most: int | None
    lazy: bool = False


@dataclass(frozen=True, slots=True)
class Capture:
    """A group whose text is asked for: `number` counts opening parentheses from 1."""

    part: Node
    number: int


Node: TypeAlias = CharClass | Assertion | Concat | Alternate | Repeat | Capture


@dataclass(frozen=True, slots=True)
class _Flags:
    fold: bool = False
    multi_line: bool = False
    dot_all: bool = False
    lazy: bool = False


def parse_pattern(pattern: str) -> Node:
    """The tree of `pattern`. Raises PatternError."""
    parser = _PatternParser(pattern)
    node = parser.alternatives(_Flags())
    if parser.at < len(pattern):
        raise PatternError("unexpected )", pattern)
    return node


class _PatternParser:
    def __init__(self, pattern: str) -> None:
        self.pattern, self.at = pattern, 0
        self._depth = self._captures = 0

    def _peek(self, text: str) -> bool:
        return self.pattern.startswith(text, self.at)

    def alternatives(self, flags: _Flags) -> Node:
        """Everything up to `)` or the end. Flags set inside last until there."""
        branches: list[Node] = []
        parts: list[Node] = []
        while self.at < len(self.pattern) and self.pattern[self.at] != ")":
            if self._peek("|"):
                self.at += 1
                branches.append(Concat(tuple(parts)))
                parts = []
            elif self._peek("(?") and not self._peek("(?P<"):
                flags = self._flag_group(parts, flags)
            elif self.pattern[self.at] in "*+?":
                raise PatternError("missing argument to repetition operator", self.pattern[self.at])
            else:
                parts.append(self._repeated(self._atom(flags), flags))
        branches.append(Concat(tuple(parts)) if len(parts) != 1 else parts[0])
        return branches[0] if len(branches) == 1 else Alternate(tuple(branches))

    def _atom(self, flags: _Flags) -> Node:
        char = self.pattern[self.at]
        if char == "(":
            return self._group(flags)
        if char == "[":
            return self._bracket(flags)
        if char == "\\":
            return self._escape(flags)
        self.at += 1
        if char == ".":
            return CharClass((), negated=True) if flags.dot_all else CharClass(((10, 10),), negated=True)
        if char == "^":
            return Assertion("begin_line" if flags.multi_line else "begin_text")
        if char == "$":
            return Assertion("end_line" if flags.multi_line else "end_text")
        return _single(char, flags)

    def _group(self, flags: _Flags) -> Node:
        self.at += 1
        if self._peek("?P<"):
            end = self.pattern.find(">", self.at)
            if end < 0:
                raise PatternError("invalid named capture", self.pattern[self.at - 1 :])
            name = self.pattern[self.at + 3 : end]
            if not name or not name.isascii() or not name.replace("_", "a").isalnum():
                raise PatternError("invalid named capture", self.pattern[self.at - 1 : end + 1])
            self.at = end + 1
        self._captures += 1
        number = self._captures
        return Capture(self._rest_of_group(flags), number)

    def _rest_of_group(self, flags: _Flags) -> Node:
        self._depth += 1
        if self._depth > 100:
            raise PatternError("expression nests too deeply", self.pattern)
        node = self.alternatives(flags)
        self._depth -= 1
        if not self._peek(")"):
            raise PatternError("missing closing )", self.pattern)
        self.at += 1
        return node

    def _flag_group(self, parts: list[Node], flags: _Flags) -> _Flags:
        """`(?i)` changes the flags from here on, `(?i:...)` is a group with its own."""
        start = self.at
        self.at += 2
        values = {"i": flags.fold, "m": flags.multi_line, "s": flags.dot_all, "U": flags.lazy}
        value, seen = True, False
        while self.at < len(self.pattern):
            char = self.pattern[self.at]
            self.at += 1
            if char in values:
                values[char], seen = value, True
            elif char == "-" and value:
                value, seen = False, False
            elif char in ":)" and (value or seen):
                new = _Flags(values["i"], values["m"], values["s"], values["U"])
                if char == ")":
                    return new
                parts.append(self._repeated(self._rest_of_group(new), flags))
                return flags
            else:
                break
        else:
            self.at = len(self.pattern)
        raise PatternError("invalid or unsupported Perl syntax", self.pattern[start : self.at])

    def _repeated(self, node: Node, flags: _Flags) -> Node:
        """`node` with the repetition operators after it."""
        start, previous = self.at, ""
        while self.at < len(self.pattern):
            before = self.at
            bounds = self._bounds()
            if bounds is None:
                break
            if previous:
                raise PatternError("invalid nested repetition operator", self.pattern[start : self.at])
            lazy = flags.lazy
            if self._peek("?"):
                self.at += 1
                lazy = not lazy
            node = Repeat(node, *bounds, lazy)
            start, previous = before, self.pattern[before : self.at]
        if isinstance(node, Repeat) and _repeat_product(node) > _REPEAT_MAX:
            raise PatternError("invalid repeat count", previous)
        return node

    def _bounds(self) -> tuple[int, int | None] | None:
        char = self.pattern[self.at]
        simple = {"*": (0, None), "+": (1, None), "?": (0, 1)}
        if char in simple:
            self.at += 1
            return simple[char]
        if char != "{":
            return None
        end = self.pattern.find("}", self.at)
        low, comma, high = self.pattern[self.at + 1 : max(end, 0)].partition(",")
        if end < 0 or not low.isdecimal() or (high and not high.isdecimal()):
            return None  # a plain brace
        text = self.pattern[self.at : end + 1]
        self.at = end + 1
        least = int(low)
        most = least if not comma else int(high) if high else None
        if least > _REPEAT_MAX or (most is not None and not least <= most <= _REPEAT_MAX):
            raise PatternError("invalid repeat count", text)
        return least, most

    def _escape(self, flags: _Flags) -> Node:
        """A backslash outside of brackets."""
        following = self.pattern[self.at + 1 : self.at + 2]
        if not following:
            raise PatternError("trailing backslash at end of expression", "")
        assertion = {
            "A": "begin_text",
            "z": "end_text",
            "b": "word_boundary",
            "B": "no_word_boundary",
        }.get(following)
        if assertion is not None:
            self.at += 2
            return Assertion(assertion)
        if following == "Q":
            end = self.pattern.find("\\E", self.at)
            literal = self.pattern[self.at + 2 : end if end >= 0 else len(self.pattern)]
            self.at = end + 2 if end >= 0 else len(self.pattern)
            return Concat(tuple(_single(char, flags) for char in literal))
        known = self._class_escape()
        if known is not None:
            ranges, categories, inverted = known
            return CharClass(ranges, inverted, flags.fold, categories)
        return _single(chr(self._code_escape()), flags)

    def _class_escape(self) -> tuple[Ranges, tuple[tuple[str, bool], ...], bool] | None:
        r"""`\d`, `\pL`, `\P{Lu}` and the like: (ranges, categories, inverted)."""
        following = self.pattern[self.at + 1 : self.at + 2]
        if following.lower() in _PERL and following:
            self.at += 2
            return _PERL[following.lower()], (), following.isupper()
        if following not in ("p", "P"):
            return None
        start, inverted = self.at, following == "P"
        self.at += 2
        if self._peek("{"):
            end = self.pattern.find("}", self.at)
            if end < 0:
                raise PatternError("invalid character class range", self.pattern[start:])
            name, self.at = self.pattern[self.at + 1 : end], end + 1
        else:
            name = self.pattern[self.at : self.at + 1]
            self.at += 1
        if name.startswith("^"):
            name, inverted = name[1:], not inverted
        if name == "Any":
            return ((0, 0x10FFFF),), (), inverted
        if name not in _CATEGORIES:
            raise PatternError("invalid character class range", self.pattern[start : self.at])
        return (), ((name, False),), inverted

    def _code_escape(self) -> int:
        """The code point of an escape that stands for one character."""
        start = self.at
        char = self.pattern[self.at + 1 : self.at + 2]
        self.at += 2
        if not char:
            raise PatternError("trailing backslash at end of expression", "")
        if char in _CONTROL:
            return _CONTROL[char]
        if char == "x":
            if self._peek("{"):
                end = self.pattern.find("}", self.at)
                digits, self.at = (self.pattern[self.at + 1 : end], end + 1) if end >= 0 else ("", len(self.pattern))
            else:
                digits = self.pattern[self.at : self.at + 2]
                self.at += 2
                digits = digits if len(digits) == 2 else ""
            if digits and all(digit in "0123456789abcdefABCDEF" for digit in digits):
                code = int(digits, 16)
                if code <= 0x10FFFF:
                    return code
        elif char in "01234567":
            digits = char
            if char != "0" and self.pattern[self.at : self.at + 1] not in tuple("01234567"):
                raise PatternError("invalid escape sequence", self.pattern[start : self.at])
            while len(digits) < 3 and self.pattern[self.at : self.at + 1] in tuple("01234567"):
                digits += self.pattern[self.at]
                self.at += 1
            return int(digits, 8)
        elif char.isascii() and not char.isalnum():
            return ord(char)
        raise PatternError("invalid escape sequence", self.pattern[start : self.at])

    def _bracket(self, flags: _Flags) -> Node:
        start = self.at
        self.at += 1
        negated = self._peek("^")
        self.at += negated
        ranges: list[tuple[int, int]] = []
        categories: list[tuple[str, bool]] = []
        excluded: list[Ranges] = []
        first = True
        while first or not self._peek("]"):
            if self.at >= len(self.pattern):
                raise PatternError("missing closing ]", self.pattern[start:])
            first = False
            named = self._named_class()
            if named is not None:
                found, names, inverted = named
                categories += [(name, inverted) for name, _ in names]
                if found and inverted:
                    excluded.append(found)
                elif found:
                    ranges += found
                continue
            low_start = self.at
            low = high = self._bracket_char(start)
            if self._peek("-") and self.pattern[self.at + 1 : self.at + 2] not in ("]", ""):
                self.at += 1
                high = self._bracket_char(start)
                if high < low:
                    raise PatternError("invalid character class range", self.pattern[low_start : self.at])
            ranges.append((low, high))
        self.at += 1
        return CharClass(tuple(ranges), negated, flags.fold, tuple(categories), tuple(excluded))

    def _named_class(self) -> tuple[Ranges, tuple[tuple[str, bool], ...], bool] | None:
        if self._peek("[:"):
            end = self.pattern.find(":]", self.at + 2)
            if end >= 0:
                name = self.pattern[self.at + 2 : end]
                inverted = name.startswith("^")
                known = _POSIX.get(name.removeprefix("^"))
                if known is None:
                    raise PatternError("invalid character class range", self.pattern[self.at : end + 2])
                self.at = end + 2
                return known, (), inverted
        return self._class_escape() if self._peek("\\") else None

    def _bracket_char(self, start: int) -> int:
        if self.at >= len(self.pattern):
            raise PatternError("missing closing ]", self.pattern[start:])
        if self._peek("\\"):
            return self._code_escape()
        self.at += 1
        return ord(self.pattern[self.at - 1])


def _single(char: str, flags: _Flags) -> CharClass:
    code = ord(char)
    return CharClass(((code, code),), fold=flags.fold and char.lower() != char.upper())


def _repeat_product(node: Node) -> int:
    """How often the innermost part may have to occur: RE2 bounds the product of nested counted repeats."""
    if isinstance(node, Repeat):
        times = max(node.least, node.most or 0, 1)
        return times * _repeat_product(node.part)
    if isinstance(node, Capture):
        return _repeat_product(node.part)
    if isinstance(node, Concat | Alternate):
        return max((_repeat_product(part) for part in node.parts), default=1)
    return 1
