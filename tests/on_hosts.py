"""Agents on hosts of their own: in network namespaces, whose links can be cut (`tests.linearizability.network`)."""

from __future__ import annotations

from typing import Any

from tests.agents import Agent, RealConsul


class _OnHost:
    """prefix: what goes before a command so that it runs on its host (`Network.command`)."""

    def __init__(self, *arguments: Any, prefix: list[str], **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._prefix = prefix

    def program(self) -> list[str]:
        return [*self._prefix, *super().program()]  # type: ignore[misc]  # of the kind of agent behind it


class HostAgent(_OnHost, Agent):
    pass


class HostRealConsul(_OnHost, RealConsul):
    pass
