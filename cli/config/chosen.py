"""Which entry a command is about: -kind and -name, both of which must be given."""

from __future__ import annotations

from cli.base import ui
from cli.base.flags import FlagSet, StringFlag
from cli.base.http import NamespacedQueryFlags


class Flags(FlagSet):
    def __init__(self) -> None:
        self.kind = StringFlag("kind", "Kind of the entry.")
        self.name = StringFlag("name", "Name of the entry.")
        self.agent = NamespacedQueryFlags()

    def chosen(self) -> tuple[str, str] | None:
        """(kind, name); None, after saying so, if one of them is missing."""
        kind, name = self.kind.value, self.name.value
        return (kind, name) if is_given(kind, "kind") and is_given(name, "name") else None


def is_given(value: str, name: str) -> bool:
    """Whether a flag that must be there is; says so if it is not."""
    if not value:
        ui.error(f"Must specify the -{name} parameter")
    return bool(value)
