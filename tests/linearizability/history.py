"""What clients did to one key, with the times between which it must have taken effect."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

UNKNOWN: Any = object()
"""Outcome of an operation that may have taken effect, may still, or never will."""


class Call(NamedTuple):
    """kind and arguments as `register.step` takes them."""

    kind: str
    arguments: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """returned_s is infinity while the outcome is UNKNOWN: it may take effect at any time after invoked_s."""

    client: int
    call: Call
    outcome: Any
    invoked_s: float
    returned_s: float = math.inf

    def __str__(self) -> str:
        said = "?" if self.outcome is UNKNOWN else repr(self.outcome)
        arguments = ", ".join(map(repr, self.call.arguments))
        span = f"{self.invoked_s:.4f} to {self.returned_s:.4f} s"
        return f"client {self.client}: {self.call.kind}({arguments}) -> {said}, {span}"
