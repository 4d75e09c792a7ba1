"""Decoder of HCL 1: the parsed tree to plain values, repeated blocks collected in lists.

HCL 1 does not know which blocks may repeat, so every block becomes a list of bodies; whoever knows the
keys (the config schema) takes a list of one for the single value it stands for."""

from __future__ import annotations

import json
from typing import Any

from shared.config.hcl1 import parser, tokens
from shared.config.hcl1.parser import Item, Literal, Node, Object, Sequence
from shared.config.hcl1.tokens import HclError

_NODE_NAMES = {
    Literal: "*ast.LiteralType",
    Object: "*ast.ObjectType",
    Sequence: "*ast.ListType",
    Item: "*ast.ObjectItem",
}


class Blocks(list[Any]):
    """Bodies of the blocks of one name, in order: a list of dicts."""


def loads(text: str) -> dict[str, Any]:
    """Values by key. Text that begins with a brace is JSON, read into the same shapes.

    Raises HclError for a syntax error and for a key that is given twice with values that do not go together."""
    if text.lstrip()[:1] == "{":
        return _from_json(text)
    values: dict[str, Any] = {}
    _decode_items("root", parser.parse(text), values)
    return values


def _decode_items(name: str, node: Object, into: dict[str, Any]) -> None:
    done: set[str] = set()
    for item in node.items:
        if not item.keys:
            raise node.at.error(f"{name}: map must have string keys")
        key = _key(item.keys[0])
        if key in done:
            continue
        value: Node = item.value
        if len(item.keys) > 1:
            value = _without_first_key(node, key)
            done.add(key)
        into[key] = _decode(f"{name}.{key}", value, into.get(key), in_list=False)


def _key(token: tokens.Token) -> str:
    return tokens.unquote(token) if token.kind == tokens.STRING else token.text


def _without_first_key(node: Object, key: str) -> _ItemList:
    """The items that begin with `key`, that key removed: `service "web" {}` -> `"web" {}`."""
    items = [
        Item(item.keys[1:], item.value, item.keys[1].at if len(item.keys) > 1 else item.at)
        for item in node.items
        if item.keys and _key(item.keys[0]) == key
    ]
    return _ItemList(items, items[0].at)


class _ItemList(Object):
    """Items picked out of an object: each is a body of its own, not a key of one common body."""

    __slots__ = ()


def _decode(name: str, node: Node, old: Any, in_list: bool) -> Any:
    """The value of a node. `old` is what the key already holds: its type decides, lists are added to."""
    if old is None:
        old = _empty_for(name, node, in_list)
    if isinstance(old, list):
        return _decode_list(name, node, old)
    if isinstance(old, dict):
        return _decode_body(name, node, old)
    if not isinstance(node, Literal):
        kind = " for string" if isinstance(old, str) else ""
        raise node.at.error(f"{name}: unknown type{kind} {_NODE_NAMES[type(node)]}")
    return _decode_literal(name, node, old)


def _empty_for(name: str, node: Node, in_list: bool) -> Any:
    if isinstance(node, Object):
        return {} if in_list else Blocks()
    if isinstance(node, Sequence):
        return []
    if isinstance(node, Literal):
        kind = node.token.kind
        return {tokens.BOOL: False, tokens.FLOAT: 0.0, tokens.NUMBER: 0}.get(kind, "")
    raise HclError(f"{name}: cannot decode into interface: {_NODE_NAMES[type(node)]}")


def _decode_list(name: str, node: Node, old: list[Any]) -> list[Any]:
    nodes: list[Node]
    if isinstance(node, _ItemList):
        nodes = list(node.items)
    elif isinstance(node, Object):
        nodes = [node]
    elif isinstance(node, Sequence):
        nodes = node.nodes
    else:
        raise node.at.error(f"unknown slice type: {_NODE_NAMES[type(node)]}")
    for position, element in enumerate(nodes):
        element_name = f"{name}[{position}]"
        if isinstance(old, Blocks):
            old.append(_decode_body(element_name, element, {}))
        else:
            old.append(_decode(element_name, element, None, in_list=True))
    return old


def _decode_body(name: str, node: Node, into: dict[str, Any]) -> dict[str, Any]:
    if isinstance(node, Item):
        node = Object([node], node.at)
    if not isinstance(node, Object):
        raise node.at.error(f"{name}: not an object type for map ({_NODE_NAMES[type(node)]})")
    _decode_items(name, node, into)
    return into


def _decode_literal(name: str, node: Literal, old: Any) -> Any:
    token = node.token
    if isinstance(old, bool):
        if token.kind == tokens.BOOL:
            return token.text == "true"
    elif isinstance(old, float):
        if token.kind in (tokens.FLOAT, tokens.NUMBER):
            return tokens.parse_float(token.text)
    elif isinstance(old, int):
        if token.kind == tokens.NUMBER:
            return tokens.parse_number(token.text)
        if token.kind == tokens.STRING:
            return tokens.parse_number(tokens.unquote(token))
    elif token.kind == tokens.NUMBER:
        return token.text
    elif token.kind in (tokens.STRING, tokens.HEREDOC):
        return tokens.string_value(token)
    kind = " for string" if isinstance(old, str) else ""
    raise node.at.error(f"{name}: unknown type{kind} *ast.LiteralType")


def _from_json(text: str) -> dict[str, Any]:
    try:
        tree = json.loads(text, strict=False)
    except ValueError as error:
        raise HclError(f"error parsing JSON: {error}") from error
    return {key: _json_value(value) for key, value in tree.items()}


def _json_value(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, dict):
        return Blocks([{key: _json_value(inner) for key, inner in value.items()}])
    if isinstance(value, list):
        if value and all(isinstance(element, dict) for element in value):
            return Blocks(_json_value(element)[0] for element in value)
        return [_json_value(element)[0] if isinstance(element, dict) else element for element in value]
    return value
