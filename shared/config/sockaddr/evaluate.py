"""The value of a parsed template, with Go's rules for types and Go's texts for what is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from shared.config.sockaddr import builtins, functions
from shared.config.sockaddr.builtins import go_text
from shared.config.sockaddr.errors import FunctionError
from shared.config.sockaddr.interfaces import InterfaceAddress
from shared.config.sockaddr.parse import Branch, Command, Node, Operand, Pipe, Text, number

KNOWN = frozenset(functions.FUNCTIONS) | frozenset(builtins.FUNCTIONS)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "sockaddr.IfAddrs": (list,),
    "uint": (int,),
    "int": (int,),
    "interface {}": (object,),
}


class EvaluationError(ValueError):
    """at: what was evaluated; position: where it stands in the template."""

    def __init__(self, reason: str, at: str, position: int) -> None:
        super().__init__(reason)
        self.at = at
        self.position = position


def evaluate(nodes: list[Node], data: Callable[[], Any]) -> str:
    """data: gives what "." stands for at first. Raises EvaluationError, OSError."""
    evaluator = _Evaluator(data)
    evaluator.walk(nodes, evaluator.data)
    return "".join(evaluator.output)


class _Lazy:
    """The addresses of this host, looked up when they are first needed."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._made: Any = None

    def __call__(self) -> Any:
        if self._made is None:
            self._made = self._make()
        return self._made


def _just(value: Any) -> Callable[[], Any]:
    return lambda: value


class _Evaluator:
    def __init__(self, data: Callable[[], Any]) -> None:
        self.data: Callable[[], Any] = _Lazy(data)
        self.output: list[str] = []
        self._variables: list[tuple[str, Callable[[], Any]]] = [("$", self.data)]

    def walk(self, nodes: list[Node], dot: Callable[[], Any]) -> None:
        for node in nodes:
            if isinstance(node, Text):
                self.output.append(node.text)
            elif isinstance(node, Pipe):
                value = self._pipe(node, dot)
                if not node.variables:
                    self.output.append("<no value>" if value is None else go_text(value))
            else:
                known = len(self._variables)
                self._branch(node, dot)
                del self._variables[known:]

    def _branch(self, node: Branch, dot: Callable[[], Any]) -> None:
        value = self._pipe(node.pipe, dot, give=node.kind != "range")
        if node.kind == "range":
            self._range(node, value, dot)
        elif builtins.truth(value):
            self.walk(node.body, _just(value) if node.kind == "with" else dot)
        else:
            self.walk(node.other, dot)

    def _range(self, node: Branch, value: Any, dot: Callable[[], Any]) -> None:
        if not isinstance(value, list) and value is not None:
            raise EvaluationError(f"range can't iterate over {go_text(value)}", str(node.pipe), node.pipe.position)
        known = len(self._variables)
        for index, item in enumerate(value or ()):
            for name, one in zip(reversed(node.pipe.variables), (item, index), strict=False):
                self._give(name, one, node.pipe)
            self.walk(node.body, _just(item))
            del self._variables[known:]
        if not value:
            self.walk(node.other, dot)

    def _pipe(self, pipe: Pipe, dot: Callable[[], Any], *, give: bool = True) -> Any:
        final: list[Any] = []
        for command in pipe.commands:
            final = [self._command(command, dot, final)]
        for name in pipe.variables if give else ():
            self._give(name, final[0], pipe)
        return final[0]

    def _give(self, name: str, value: Any, pipe: Pipe) -> None:
        if pipe.declares:
            self._variables.append((name, _just(value)))
            return
        for at in range(len(self._variables) - 1, -1, -1):
            if self._variables[at][0] == name:
                self._variables[at] = (name, _just(value))
                return
        last = pipe.commands[-1]
        raise EvaluationError(f"undefined variable: {name}", str(last), last.position)

    def _command(self, command: Command, dot: Callable[[], Any], final: list[Any]) -> Any:
        first = command.operands[0]
        if first.kind == "name" and not first.fields:
            return self._call(first, command, dot, final)
        if len(command.operands) > 1 or final:
            raise EvaluationError(f"can't give argument to non-function {first}", str(first), first.position)
        return self._operand(first, dot)

    def _operand(self, operand: Operand, dot: Callable[[], Any]) -> Any:
        if operand.kind == "string":
            return _unquoted(operand.text)
        if operand.kind == "number":
            return number(operand.text)
        if operand.kind == "bool":
            return operand.text == "true"
        if operand.kind == "nil":
            raise EvaluationError("nil is not a command", "nil", operand.position)
        if operand.kind == "name":
            value = self._call(operand, Command([operand]), dot, [])
        elif operand.kind == "variable":
            value = next(make for name, make in reversed(self._variables) if name == operand.text)()
        elif operand.pipe is not None:
            value = self._pipe(operand.pipe, dot)
        else:
            value = dot()
        for name in operand.fields:
            value = _field(value, name, operand)
        return value

    def _call(self, name: Operand, command: Command, dot: Callable[[], Any], final: list[Any]) -> Any:
        parameters = functions.PARAMETERS.get(name.text)
        operands = command.operands[1:]
        count = len(operands) + len(final)
        if parameters is None:
            least, most = builtins.COUNTS[name.text]
            if count < least or (most is not None and count > most):
                want = f"{least}" if least == most else f"at least {least}"
                reason = f"wrong number of args for {name.text}: want {want} got {count}"
                raise EvaluationError(reason, name.text, name.position)
            kinds = ["string" if name.text == "printf" else "interface {}", *["interface {}"] * count]
            arguments = [self._argument(one, kind, dot) for one, kind in zip(operands, kinds, strict=False)] + final
            function: Callable[..., Any] = builtins.FUNCTIONS[name.text]
        else:
            if count != len(parameters):
                reason = f"wrong number of args for {name.text}: want {len(parameters)} got {count}"
                raise EvaluationError(reason, name.text, name.position)
            arguments = [self._argument(one, kind, dot) for one, kind in zip(operands, parameters, strict=False)]
            at = operands[-1] if operands else name
            arguments += [_checked(value, parameters[-1], at) for value in final]
            function = functions.FUNCTIONS[name.text]
        try:
            return function(*arguments)
        except FunctionError as error:
            reason = f"error calling {name.text}: {error}"
            raise EvaluationError(reason, str(command), command.position) from error

    def _argument(self, operand: Operand, wanted: str, dot: Callable[[], Any]) -> Any:
        literal = operand.kind in ("string", "number", "bool")
        if literal and wanted == "sockaddr.IfAddrs":
            reason = f"can't handle {operand} for arg of type {wanted}"
            raise EvaluationError(reason, str(operand), operand.position)
        if literal and wanted != "interface {}":
            value = self._operand(operand, dot)
            fits = {"string": operand.kind == "string", "uint": _is_int(value) and value >= 0, "int": _is_int(value)}
            if not fits[wanted]:
                expected = {"string": "string", "uint": "unsigned integer", "int": "integer"}[wanted]
                raise EvaluationError(f"expected {expected}; found {operand}", str(operand), operand.position)
            return value
        return _checked(self._operand(operand, dot), wanted, operand)


def _unquoted(literal: str) -> str:
    if literal[0] == "`":
        return literal[1:-1]
    return _ESCAPE.sub(lambda match: _unescaped(match[1]), literal[1:-1])


def _unescaped(escape: str) -> str:
    return chr(int(escape[1:], 16)) if len(escape) > 1 else _ESCAPES.get(escape, escape)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _checked(value: Any, wanted: str, at: Operand) -> Any:
    wrong = wanted == "uint" or (isinstance(value, bool) and wanted != "interface {}")  # nothing makes unsigned numbers
    if wrong or not isinstance(value, _TYPES[wanted]):
        reason = f"wrong type for value; expected {wanted}; got {builtins.type_name(value)}"
        raise EvaluationError(reason, str(at), at.position)
    return value


_FIELDS: dict[str, Callable[[InterfaceAddress], Any]] = {
    "Flags": lambda address: address.flag_names,
    "Index": lambda address: address.number,
    "MTU": lambda address: address.mtu,
    "Name": lambda address: address.name,
    "SockAddr": lambda address: address.address_text,
    "String": lambda address: address.text,
}


def _field(value: Any, name: str, operand: Operand) -> Any:
    if isinstance(value, InterfaceAddress) and name in _FIELDS:
        return _FIELDS[name](value)
    reason = f"can't evaluate field {name} in type {builtins.type_name(value)}"
    if operand.kind == "name":
        raise EvaluationError(reason, operand.text, operand.position)
    # Go counts from the dot behind a variable.
    raise EvaluationError(reason, str(operand), operand.position + (operand.kind == "variable"))
