"""The template language around go-sockaddr's functions: a text with pipelines in double braces.

The part of Go's text/template that addresses are written in: {{ function "argument" | function ... }},
parentheses, "." for all interface addresses, comments and {{- trimming -}}. No variables, no range/if/with."""

from __future__ import annotations

import re
from typing import Any

from shared.gotext.quoting import quote, quote_ascii

_ACTION = re.compile(r"\{\{(-(?=\s))?(.*?)((?<=\s)-)?\}\}", re.DOTALL)
_TOKEN = re.compile(
    r"""\s*(?: (?P<string>"(?:[^"\\\n]|\\.)*") | (?P<raw>`[^`]*`) | (?P<number>[+-]?\d+)
    | (?P<name>[A-Za-z_]\w*) | (?P<dot>\.(?!\w)) | (?P<mark>[|()]) )""",
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_UNSUPPORTED = frozenset({"if", "else", "end", "range", "with", "define", "template", "block"})


class TemplateError(ValueError):
    """The template cannot be parsed or evaluated; the message names it."""


def expand(text: str) -> str:
    """The text with each {{ ... }} replaced by its value. Text without braces costs nothing."""
    if "{{" not in text:
        return text
    output: list[str] = []
    at, trim_next = 0, False
    for match in _ACTION.finditer(text):
        literal = text[at : match.start()]
        literal = literal.lstrip() if trim_next else literal
        output.append(literal.rstrip() if match[1] else literal)
        at, trim_next = match.end(), match[3] is not None
        if not (match[2].strip().startswith("/*") and match[2].strip().endswith("*/")):
            output.append(_Action(text, match[2]).evaluate())
    rest = text[at:]
    if "{{" in rest:
        unclosed = _Action(text, rest.partition("{{")[2])
        unclosed.evaluate()  # what is wrong with the part that is there comes first
        raise unclosed.parse_error("unclosed action")
    output.append(rest.lstrip() if trim_next else rest)
    return "".join(output)


class _Action:
    """One pair of braces: its tokens, evaluated from left to right."""

    def __init__(self, template: str, source: str) -> None:
        self._template = template
        self._tokens: list[tuple[str, str]] = []
        at = 0
        while source[at:].strip():
            match = _TOKEN.match(source, at)
            if match is None:
                raise self.parse_error(f"unexpected {quote(source[at:].strip()[:1])} in command")
            kind = match.lastgroup or ""
            self._tokens.append((kind, match[kind]))
            at = match.end()
        self._at = 0

    def evaluate(self) -> str:
        if not self._tokens:
            raise self.parse_error("missing value for command")
        value = self._pipeline()
        if self._at < len(self._tokens):
            raise self.parse_error(f"unexpected {quote(self._tokens[self._at][1])} in command")
        if isinstance(value, list):
            from shared.config.sockaddr.functions import attribute

            return "[" + " ".join(f"{attribute('string', address)} {address.name}" for address in value) + "]"
        return str(value)

    def _pipeline(self) -> Any:
        value = self._command([])
        while self._at < len(self._tokens) and self._tokens[self._at][1] == "|":
            self._at += 1
            value = self._command([value])
        return value

    def _command(self, piped: list[Any]) -> Any:
        """A function with its arguments, or a single value. What comes through the pipe is its last argument."""
        if self._at >= len(self._tokens):
            raise self.parse_error("missing value for command")
        kind, token = self._tokens[self._at]
        if kind != "name":
            value = self._operand()
            if piped:
                raise self.parse_error(f"non executable command in pipeline stage 2: {token}")
            return value
        self._at += 1
        arguments: list[Any] = []
        while self._at < len(self._tokens) and self._tokens[self._at][1] not in ("|", ")"):
            arguments.append(self._operand())
        return self._call(token, arguments + piped)

    def _operand(self) -> Any:
        kind, token = self._tokens[self._at]
        self._at += 1
        if kind == "string":
            return _ESCAPE.sub(_unescape, token[1:-1])
        if kind == "raw":
            return token[1:-1]
        if kind == "number":
            return int(token)
        if kind == "dot":
            return self._call("GetAllInterfaces", [])
        if token == "(":
            value = self._pipeline()
            if self._at >= len(self._tokens) or self._tokens[self._at][1] != ")":
                raise self.parse_error("unclosed left paren")
            self._at += 1
            return value
        if kind == "name":
            return self._call(token, [])
        raise self.parse_error(f"unexpected {quote(token)} in operand")

    def _call(self, name: str, arguments: list[Any]) -> Any:
        from shared.config.sockaddr import functions

        if name in _UNSUPPORTED:
            raise self.parse_error(f"{name} is not supported in address templates")
        if name not in functions.FUNCTIONS:
            raise self.parse_error(f"function {quote(name)} not defined")
        expected = functions.ARGUMENTS.get(name, ())
        if len(arguments) != len(expected):
            counts = f"want {len(expected)} got {len(arguments)}"
            raise self._execution_error(name, f"wrong number of args for {name}: {counts}")
        for argument, wanted in zip(arguments, expected, strict=True):
            if not isinstance(argument, wanted):
                raise self._execution_error(name, f"wrong type of argument: {argument!r}")
        try:
            return functions.FUNCTIONS[name](*arguments)
        except functions.FunctionError as error:
            raise self._execution_error(name, f"error calling {name}: {error}") from error
        except OSError as error:
            raise TemplateError(f"unable to query interface addresses: {error}") from error

    def parse_error(self, reason: str) -> TemplateError:
        return TemplateError(
            f"unable to parse template {quote_ascii(self._template)}: template: sockaddr.Parse:1: {reason}"
        )

    def _execution_error(self, function: str, reason: str) -> TemplateError:
        column = max(self._template.find(function), 0)
        return TemplateError(
            f"unable to execute sockaddr input {quote_ascii(self._template)}: template: sockaddr.Parse:1:{column}: "
            f'executing "sockaddr.Parse" at <{function}>: {reason}'
        )


def _unescape(match: re.Match[str]) -> str:
    escape = match[1]
    if len(escape) > 1:
        return chr(int(escape[1:], 16))
    return _ESCAPES.get(escape, escape)
