"""Requests that need what earlier answers said: the id of a session, the index of a key.

A step may keep a value of its answer under a name, and later steps write `$name` for it in path and body: each
agent gets its own value there. Names are letters and digits."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from tests.integration.differential.exchange import Answer, Ask, Request

_NAME = re.compile(rb"\$([a-z][a-zA-Z0-9]*)")
Keep = tuple[str, Callable[[Any], Any]]


@dataclass(frozen=True, slots=True)
class Step:
    """One request. keep: a name and what gets the value from the parsed answer."""

    request: Request
    keep: Keep | None = None

    def __str__(self) -> str:
        return str(self.request)


class Run:
    """One agent's way through a script: `ask` sends a request to it."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self.values: dict[str, str] = {}

    def take(self, step: Step | Request) -> Answer:
        """Send the next request. Raises KeyError for a name that was never kept."""
        made = step if isinstance(step, Step) else Step(step)
        request = replace(
            made.request, path=self._fill(made.request.path.encode()).decode(), body=self._fill(made.request.body)
        )
        answer = self._ask(request)
        if made.keep is not None:
            name, pick = made.keep
            self.values[name] = str(pick(json.loads(answer.raw_body)))
        return answer

    def _fill(self, text: bytes) -> bytes:
        return _NAME.sub(lambda match: self.values[match[1].decode()].encode(), text)
