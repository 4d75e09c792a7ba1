"""Templates as trees: the part of Go's text/template that addresses are written in.

Pipelines of functions and literals, parentheses, variables, if, with, range, comments and {{- trimming -}}. What
needs several templates (define, template, block) is not there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from shared.gotext.quoting import quote

_KEYWORDS = ("if", "with", "range", "else", "end", "define", "template", "block")
_ACTION = re.compile(r"\{\{(-(?=\s))?")
_COMMENT = re.compile(r"\s*/\*.*?\*/\s*?(\s-)?\}\}", re.DOTALL)
_TOKEN = re.compile(
    r"""(?: (?P<space>\s+) | (?P<close>-?\}\}) | (?P<string>"(?:[^"\\\n]|\\.)*") | (?P<raw>`[^`]*`)
    | (?P<number>[+-]?\d[\w.]*) | (?P<mark>:=|[|(),=]) | (?P<variable>\$\w*) | (?P<field>\.[A-Za-z_]\w*)
    | (?P<dot>\.) | (?P<name>[A-Za-z_]\w*) )""",
    re.VERBOSE,
)


class ParseError(ValueError):
    """The text is no template. `line` is where that showed."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


class Token(NamedTuple):
    kind: str
    text: str
    position: int


class Operand(NamedTuple):
    """kind: string, number, bool, nil, dot, name, variable or pipe. fields: names after it, as in $x.Name."""

    kind: str
    text: str
    position: int
    fields: tuple[str, ...] = ()
    pipe: Pipe | None = None

    def __str__(self) -> str:
        start = f"({self.pipe})" if self.pipe is not None else self.text
        fields = "".join(f".{name}" for name in self.fields)
        return fields if self.kind == "dot" and fields else start + fields


class Command(NamedTuple):
    operands: list[Operand]

    @property
    def position(self) -> int:
        return self.operands[0].position

    def __str__(self) -> str:
        return " ".join(map(str, self.operands))


class Pipe(NamedTuple):
    """variables: what the value is given to; declares: they are new ones."""

    commands: list[Command]
    variables: list[str]
    declares: bool
    position: int

    def __str__(self) -> str:
        given = f"{', '.join(self.variables)} {':=' if self.declares else '='} " if self.variables else ""
        return given + " | ".join(map(str, self.commands))


class Text(NamedTuple):
    text: str


class Branch(NamedTuple):
    """if, with or range. other: what comes after else."""

    kind: Literal["if", "with", "range"]
    pipe: Pipe
    body: list[Node]
    other: list[Node]


Node = Text | Pipe | Branch


def parse(template: str) -> list[Node]:
    """Raises ParseError."""
    parser = _Parser(template)
    nodes, end = parser.nodes(())
    assert end == ""
    return nodes


def _tokens(text: str) -> Iterator[Token]:
    """Texts as kind "text", what stands in braces as the kinds above, between "open" and "close"."""
    at, trim = 0, False
    while True:
        action = _ACTION.search(text, at)
        literal = text[at : action.start() if action else len(text)]
        literal = literal.lstrip() if trim else literal
        literal = literal.rstrip() if action and action[1] else literal
        if literal:
            yield Token("text", literal, at)
        if action is None:
            yield Token("end", "", len(text))
            return
        at = action.end()
        comment = _COMMENT.match(text, at)
        if comment is not None:
            at, trim = comment.end(), comment[1] is not None
            continue
        yield Token("open", "{{", action.start())
        spaced = False
        while True:
            match = _TOKEN.match(text, at)
            if match is None:
                if at >= len(text) or text[at] == "\n":
                    raise ParseError(_line(text, at), "unclosed action")
                what = "unterminated quoted string" if text[at] == '"' else quote(text[at])
                what = "unclosed comment" if text.startswith("/*", at) else what
                where = {"unterminated quoted string": "command", "unclosed comment": "input"}.get(what, "operand")
                raise ParseError(_line(text, at), f"unexpected {what} in {where}")
            kind = match.lastgroup or ""
            at = match.end()
            if kind == "close" and not (match[0].startswith("-") and not spaced):
                trim = match[0].startswith("-")
                yield Token("close", match[0], match.start())
                break
            if kind == "number" and number(match[0]) is None:
                reason = f"unexpected bad number syntax: {quote(match[0])} in command"
                raise ParseError(_line(text, match.start()), reason)
            spaced = kind == "space"
            if not spaced:
                yield Token(kind, match[0], match.start())


def number(text: str) -> int | float | None:
    """A number as Go writes it, None if it is none."""
    for kind in (lambda digits: int(digits, 0), float):
        try:
            value: int | float = kind(text)
            return value
        except ValueError:
            continue
    return None


def _line(text: str, at: int) -> int:
    return 1 + text.count("\n", 0, at)


class _Parser:
    def __init__(self, template: str) -> None:
        self._template = template
        self._tokens = _tokens(template)
        self._ahead: Token | None = None
        self._end = 0
        self._variables = ["$"]

    def nodes(self, ends: tuple[str, ...]) -> tuple[list[Node], str]:
        """All up to one of these keywords (or the end of the text), and which it was."""
        found: list[Node] = []
        while True:
            token = self._next()
            if token.kind == "end":
                if ends:
                    raise self._error(token, "unexpected EOF")
                return found, ""
            if token.kind == "text":
                found.append(Text(token.text))
                continue
            first = self._peek()
            if first.kind == "name" and first.text in _KEYWORDS:
                self._next()
                if first.text in ("end", "else"):
                    if first.text not in ends:
                        if ends:
                            raise self._error(first, f"expected end; found {{{{{first.text}}}}}")
                        raise self._error(first, f"unexpected {{{{{first.text}}}}}")
                    return found, first.text
                if first.text not in ("if", "with", "range"):
                    raise self._error(first, f"{first.text} is not supported in address templates")
                found.append(self._branch(first))
            else:
                found.append(self._pipe("command", "close"))

    def _branch(self, keyword: Token) -> Branch:
        known = len(self._variables)
        pipe = self._pipe(keyword.text, "close")
        self._check_variables(keyword, pipe)
        body, end = self.nodes(("else", "end"))
        other: list[Node] = []
        if end == "else":
            nested = self._peek()
            if keyword.text == "if" and nested.kind == "name" and nested.text == "if":
                self._next()
                other = [self._branch(nested)]  # its end is ours, too
                del self._variables[known:]
                return Branch("if", pipe, body, other)
            self._close("else")
            other, end = self.nodes(("end",))
        self._close("end")
        del self._variables[known:]
        kind: Literal["if", "with", "range"] = keyword.text  # type: ignore[assignment]  # one of the three
        return Branch(kind, pipe, body, other)

    def _check_variables(self, keyword: Token, pipe: Pipe) -> None:
        if len(pipe.variables) > (2 if keyword.text == "range" else 1):
            raise self._error(keyword, f"too many declarations in {keyword.text}")

    def _close(self, context: str) -> None:
        token = self._next()
        if token.kind != "close":
            raise self._unexpected(token, context)

    def _pipe(self, context: str, end: str) -> Pipe:
        start = self._peek()
        variables, declares = self._given(context)
        commands: list[Command] = []
        while True:
            token = self._peek()
            if token.text == ")" if end == ")" else token.kind == "close":
                self._next()
                break
            commands.append(self._command(context, end))
        if not commands:
            raise self._error(start, f"missing value for {context}")
        for number, command in enumerate(commands[1:], 2):
            if command.operands[0].kind in ("bool", "dot", "nil", "number", "string"):
                reason = f"non executable command in pipeline stage {number}"
                raise self._error(start, reason)
        if declares:
            self._variables += variables
        return Pipe(commands, variables, declares, commands[0].position)

    def _given(self, context: str) -> tuple[list[str], bool]:
        """The variables in front of := or =, if that is what the pipeline begins with."""
        rest = self._template[self._peek().position :]
        match = re.match(r"(\$\w+)(?:\s*,\s*(\$\w+))?\s*(:?=)", rest)
        if match is None:
            return [], False
        names = [name for name in match.groups()[:2] if name]
        while self._next().text not in (":=", "="):
            pass
        return names, match[3] == ":="

    def _command(self, context: str, end: str) -> Command:
        operands: list[Operand] = []
        while True:
            token = self._peek()
            if token.text == "|" and token.kind == "mark":
                self._next()
                if not operands:
                    raise self._unexpected(token, context)
                break
            if token.kind == "close" or (token.kind == "mark" and token.text == ")"):
                if (token.text == ")") != (end == ")"):
                    raise self._error(token, "unclosed left paren" if end == ")" else 'unexpected ")" in input')
                break
            operands.append(self._operand())
        return Command(operands)

    def _operand(self) -> Operand:
        token = self._next()
        kind, text, pipe = token.kind, token.text, None
        fields: list[str] = []
        if kind == "raw":
            kind = "string"
        elif kind == "name" and text in ("true", "false"):
            kind = "bool"
        elif kind == "name" and text == "nil":
            kind = "nil"
        elif kind == "name" and text not in _known_functions():
            raise self._error(token, f"function {quote(text)} not defined")
        elif kind == "variable":
            self._check_known(text, token)
        elif kind == "field":
            kind, fields = "dot", [text[1:]]
        elif kind == "mark" and text == "(":
            kind, pipe = "pipe", self._pipe("parenthesized pipeline", ")")
        elif kind not in ("string", "number", "name", "dot"):
            raise self._unexpected(token, "operand")
        while kind in ("dot", "variable", "pipe", "name") and self._adjoins("field"):
            fields.append(self._next().text[1:])
        return Operand(kind, text, token.position, tuple(fields), pipe)

    def _check_known(self, name: str, token: Token) -> None:
        if name not in self._variables:
            raise self._error(token, f"undefined variable {quote(name)}")

    def _adjoins(self, kind: str) -> bool:
        """Does such a token follow without a space?"""
        token = self._peek()
        return token.kind == kind and token.position == self._end

    def _peek(self) -> Token:
        if self._ahead is None:
            self._ahead = next(self._tokens)
        return self._ahead

    def _next(self) -> Token:
        token = self._peek()
        self._ahead = None
        self._end = token.position + len(token.text)
        return token

    def _unexpected(self, token: Token, context: str) -> ParseError:
        return self._error(token, f"unexpected {quote(token.text) if token.text else 'EOF'} in {context}")

    def _error(self, token: Token, reason: str) -> ParseError:
        return ParseError(_line(self._template, token.position), reason)


def _known_functions() -> frozenset[str]:
    from shared.config.sockaddr.evaluate import KNOWN

    return KNOWN
