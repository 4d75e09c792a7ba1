"""Values of the merged tree, converted. What is wrong is collected, because Consul reports it last."""

from __future__ import annotations

from typing import Any

from shared.gotext.durations import DurationError, parse_duration_s
from shared.gotext.quoting import quote


class Values:
    """Reads by dotted path: v.integer("ports.dns"). Absent values are zero, as in Go, unless a default is given.

    `errors` are reported only after the semantic checks; `warnings` always."""

    def __init__(self, tree: dict[str, Any], warnings: list[str]) -> None:
        self._tree = tree
        self.warnings = warnings
        self.errors: list[str] = []

    def get(self, path: str) -> Any:
        """The value as decoded, None if no source has it."""
        node: Any = self._tree
        for key in path.split("."):
            if not isinstance(node, dict) or key not in node:
                return None
            node = node[key]
        return node

    def text(self, path: str, default: str = "") -> str:
        value = self.get(path)
        return default if value is None else value

    def flag(self, path: str, default: bool = False) -> bool:
        value = self.get(path)
        return default if value is None else value

    def integer(self, path: str, default: int = 0) -> int:
        value = self.get(path)
        return default if value is None else value

    def number(self, path: str, default: float = 0.0) -> float:
        value = self.get(path)
        return default if value is None else value

    def texts(self, path: str) -> tuple[str, ...]:
        return tuple(self.get(path) or ())

    def mapping(self, path: str) -> dict[str, Any]:
        return dict(self.get(path) or {})

    def duration(self, path: str, name: str = "", default: float = 0.0) -> float:
        """Seconds. `name` is what messages call the key, if that is not its path."""
        return self.to_duration(name or path, self.get(path), default)

    def to_duration(self, name: str, text: str | None, default: float = 0.0) -> float:
        if text is None:
            return default
        try:
            return parse_duration_s(text)
        except DurationError as error:
            # Consul forgets here what it had collected before; users see the same last message.
            self.errors[:] = [f"{name}: invalid duration: {quote(text)}: {error}"]
            return 0.0

    def port(self, path: str) -> int:
        """A port, or -1 for "disabled" (0 and below)."""
        return self.to_port(path, self.get(path))

    def to_port(self, name: str, value: int | None) -> int:
        if value is None or value <= 0:
            return -1
        if value > 65535:
            self.errors.append(f"{name}: invalid port: {value}")
        return value
