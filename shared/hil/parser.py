"""The grammar. Operators have one level and group to the left; a minus sign binds to what follows it directly."""

from __future__ import annotations

from shared.hil.ast import FLOAT, INT, STRING, Arithmetic, Call, Index, Literal, Node, Output, Position, Variable
from shared.hil.errors import HilError
from shared.hil.lexer import CLOSE, DECIMAL, END, IDENTIFIER, INTEGER, OPEN, OPERATOR, TEXT, Lexer

_DEPTH_MAX = 100
_OPERATORS_MAX = 100
"""Bounds of one text: whoever computes it goes down one level for each. Consul has none."""
_NOWHERE = Position(0, 0)


def parse(text: str) -> Node:
    """The tree of a text. Raises HilError."""
    parser = _Parser(text)
    if parser.token.kind == END:
        return Literal("", STRING, Position(1, 1))
    node = parser.sequence()
    parser.expect(END)
    if isinstance(node, Output) or (isinstance(node, Literal) and node.type == STRING):
        return node
    return Output((node,), node.at)


class _Parser:
    def __init__(self, text: str) -> None:
        self._lexer = Lexer(text)
        self._depth = self._operators = 0
        self.token = self._lexer.next()

    def _advance(self) -> None:
        self.token = self._lexer.next()

    def expect(self, kind: str) -> None:
        if self.token.kind != kind:
            raise HilError("parse error: syntax error")
        if kind != END:
            self._advance()

    def _operator(self) -> str:
        operator = str(self.token.value)
        self._operators += 1
        if self._operators > _OPERATORS_MAX:
            raise HilError("parse error: too many operators")
        self._advance()
        return operator

    def sequence(self) -> Node:
        """Texts and interpolations, one behind the other: at least one."""
        node = self._part()
        while self.token.kind in (TEXT, OPEN):
            before = node.parts if isinstance(node, Output) else (node,)
            node = Output((*before, self._part()), before[0].at)
        return node

    def _part(self) -> Node:
        token = self.token
        if token.kind == TEXT:
            self._advance()
            return Literal(token.value, STRING, token.at)
        self.expect(OPEN)
        node = self._expression()
        self.expect(CLOSE)
        return node

    def _expression(self) -> Node:
        self._depth += 1
        if self._depth > _DEPTH_MAX:
            raise HilError("parse error: expression nests too deeply")
        node = self._operand()
        while self.token.kind == OPERATOR:
            operator = self._operator()
            node = Arithmetic(operator, (node, self._operand()), node.at)
        self._depth -= 1
        return node

    def _operand(self) -> Node:
        token = self.token
        if token.kind in (TEXT, OPEN):
            return self.sequence()
        if token.kind == OPERATOR:
            return self._negative()
        self._advance()
        if token.kind == INTEGER:
            return Literal(token.value, INT, token.at)
        if token.kind == DECIMAL:
            return Literal(token.value, FLOAT, token.at)
        if token.kind == "(":
            node = self._expression()
            self.expect(")")
            return node
        if token.kind != IDENTIFIER:
            raise HilError("parse error: syntax error")
        name = str(token.value)
        if self.token.kind == "(":
            return Call(name, self._arguments(), token.at)
        if self.token.kind == "[":
            self._advance()
            key = self._expression()
            self.expect("]")
            return Index(Variable(name, token.at), key, token.at)
        return Variable(name, token.at)

    def _negative(self) -> Node:
        """The difference to zero. Consul's server falls over another sign here; we only refuse it."""
        signs = 0
        while self.token.kind == OPERATOR:
            if self._operator() != "-":
                raise HilError("parse error: syntax error")
            signs += 1
        node = self._operand()
        for _ in range(signs):
            node = Arithmetic("-", (Literal(0, INT, _NOWHERE), node), node.at)
        return node

    def _arguments(self) -> tuple[Node, ...]:
        """Arguments with commas between them; one at the beginning is let pass."""
        self._advance()
        found: list[Node] = []
        if self.token.kind not in (")", ","):
            found.append(self._expression())
        while self.token.kind == ",":
            self._advance()
            found.append(self._expression())
        self.expect(")")
        return tuple(found)
