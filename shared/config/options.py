"""Options: what the command line of an agent says, as far as it decides the configuration."""

from __future__ import annotations

from typing import Any

from shared.config.record import Record, made


class ConfigError(Exception):
    """The configuration is refused; the message is what the user has to see."""


class Options(Record):
    """Kept in the runtime configuration, so that a reload can read the same sources again.

    flags: a config tree with the values of the flags. Relative paths mean the working directory."""

    config_files: tuple[str, ...] = ()
    config_format: str = ""
    dev_mode: bool = False
    hcl: tuple[str, ...] = ()
    flags: dict[str, Any] = made(dict)
    working_directory: str = ""

    def to_json(self) -> dict[str, Any]:
        """As JSON will give it back, lists in place of tuples."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in self.as_dict().items()}

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> Options:
        """The inverse of to_json."""
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in tree.items()
        }
        return cls(**values)
