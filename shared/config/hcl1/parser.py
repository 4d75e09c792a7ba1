"""Parser of HCL 1: tokens to a tree of items, objects, lists and literals."""

from __future__ import annotations

from shared.config.hcl1 import tokens as t
from shared.config.hcl1.scanner import Scanner
from shared.config.hcl1.tokens import HclError, Position, Token

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Literal:
    """A number, boolean, string or heredoc."""

    __slots__ = ("at", "token")

    def __init__(self, token: Token) -> None:
        self.token = token
        self.at = token.at


class Sequence:
    """[ ... ]"""

    __slots__ = ("at", "nodes")

    def __init__(self, at: Position) -> None:
        self.at = at
        self.nodes: list[Node] = []


class Item:
    """KEY... = value, or KEY... { ... }. More than one key is shorthand for nested objects."""

    __slots__ = ("at", "keys", "value")

    def __init__(self, keys: list[Token], value: Node, at: Position) -> None:
        self.keys = keys
        self.value = value
        self.at = at


class Object:
    """{ ... }, or a whole file, or those items of one that share their first key."""

    __slots__ = ("at", "items")

    def __init__(self, items: list[Item], at: Position) -> None:
        self.items = items
        self.at = at


Node = Literal | Sequence | Object | Item


class _EndOfText(Exception):
    """The text ended where an item could have begun."""


def parse(text: str) -> Object:
    """The items of a whole text. Raises HclError; what the scanner found wrong comes first."""
    parser = _Parser(text.replace("\r\n", "\n"))
    failure: HclError | None = None
    items: list[Item] = []
    try:
        items = parser.items(inside_braces=False)
    except HclError as error:
        failure = error
    except RecursionError:
        failure = HclError("objects or lists are nested too deeply")
    if parser.scanner.error or failure:
        raise parser.scanner.error or failure or HclError("")
    return Object(items, items[0].at if items else Position(0, 0))


class _Parser:
    """Recursive descent with one token of lookahead. `token` is the last one read."""

    def __init__(self, text: str) -> None:
        self.scanner = Scanner(text)
        self.token = Token(t.ILLEGAL, "", Position(0, 0))
        self._pushed_back = False

    def _scan(self) -> Token:
        if self._pushed_back:
            self._pushed_back = False
            return self.token
        self.token = self.scanner.scan()
        while self.token.kind == t.COMMENT:
            self.token = self.scanner.scan()
        return self.token

    def _peek(self) -> Token:
        token = self._scan()
        self._pushed_back = True
        return token

    def items(self, inside_braces: bool) -> list[Item]:
        """Items up to the end of the text, or up to (not including) the closing brace."""
        found: list[Item] = []
        while True:
            if inside_braces and self._peek().kind == t.RBRACE:
                return found
            try:
                found.append(self._item())
            except _EndOfText:
                return found
            if self._peek().kind == t.COMMA:
                self._scan()

    def _item(self) -> Item:
        keys = self._keys()
        token = self.token
        if token.kind == t.ASSIGN:
            value = self._value()
        elif token.kind == t.LBRACE:
            value = self._object()
        else:
            names = " ".join(key.text for key in keys)
            if token.kind == t.RBRACE:
                # The brace is spent: the object around it must not take it for its own end.
                self.token = Token(t.EOF, token.text, token.at)
            raise token.at.error(f"key '{names}' expected start of object ('{{') or assignment ('=')")
        self._peek()
        return Item(keys, value, keys[0].at)

    def _keys(self) -> list[Token]:
        """The keys in front of "=" or "{", which is then the current token."""
        keys: list[Token] = []
        while True:
            token = self._scan()
            if token.kind in (t.IDENT, t.STRING):
                keys.append(token)
            elif token.kind == t.EOF:
                if keys:
                    return keys
                raise _EndOfText
            elif token.kind == t.ASSIGN:
                if len(keys) > 1:
                    raise token.at.error("nested object expected: LBRACE got: ASSIGN")
                if not keys:
                    raise token.at.error("no object keys found!")
                return keys
            elif token.kind == t.LBRACE:
                if not keys:
                    raise token.at.error("expected: IDENT | STRING got: LBRACE")
                return keys
            elif token.kind == t.RBRACE and keys:
                return keys
            elif token.kind == t.ILLEGAL:
                raise token.at.error("illegal character")
            else:
                raise token.at.error(f"expected: IDENT | STRING | ASSIGN | LBRACE got: {token.kind}")

    def _value(self) -> Node:
        token = self._scan()
        if token.kind in t.LITERALS:
            return Literal(token)
        if token.kind == t.LBRACE:
            return self._object()
        if token.kind == t.LBRACK:
            return self._list()
        if token.kind == t.EOF:
            raise _EndOfText
        raise token.at.error(f"Unknown token: {token}")

    def _object(self) -> Object:
        """The current token is the opening brace."""
        at = self.token.at
        try:
            items = self.items(inside_braces=True)
        except HclError:
            if self.token.kind != t.RBRACE:
                raise
            items = []
        token = self._scan()
        if token.kind != t.RBRACE:
            raise token.at.error(f"object expected closing RBRACE got: {token.kind}")
        return Object(items, at)

    def _list(self) -> Sequence:
        """The current token is the opening bracket."""
        sequence = Sequence(self.token.at)
        need_comma = False
        while True:
            token = self._scan()
            if need_comma and token.kind not in (t.COMMA, t.RBRACK):
                raise token.at.error(f"error parsing list, expected comma or list end, got: {token.kind}")
            if token.kind in t.LITERALS:
                sequence.nodes.append(Literal(token))
                need_comma = True
            elif token.kind == t.COMMA:
                self._peek()
                need_comma = False
            elif token.kind == t.LBRACE:
                sequence.nodes.append(self._nested(token, self._object, "object"))
                need_comma = True
            elif token.kind == t.LBRACK:
                sequence.nodes.append(self._nested(token, self._list, "list"))
            elif token.kind == t.RBRACK:
                return sequence
            else:
                raise token.at.error(f"unexpected token while parsing list: {token.kind}")

    def _nested(self, token: Token, parse_it: Callable[[], Node], what: str) -> Node:
        try:
            return parse_it()
        except HclError as error:
            raise token.at.error(f"error while trying to parse {what} within list: {error}") from error
