"""Command-line flags by the rules of Go's `flag` package: -name value, -name=value, --name, -bool, "--" ends.

A command subclasses FlagSet and declares its flags as attributes; after `parse` their `.value` is typed.
Parsing stops at the first argument that is not a flag; what follows is returned.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from cli.base import ui
from shared.gotext import numbers
from shared.gotext.quoting import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class FlagError(Exception):
    """The command line cannot be parsed. `report` prints why, with the flags there are, as Go does."""

    def __init__(self, message: str, flags: FlagSet) -> None:
        super().__init__(message)
        self._flags = flags

    def report(self) -> None:
        ui.error(f"{self}\n{self._flags.defaults()}")


class HelpWanted(FlagError):
    """-h or -help among the flags of the command: only the flags are printed, no complaint."""

    def report(self) -> None:
        ui.error(self._flags.defaults())


class Flag(ABC):
    """One flag. `placeholder` names its argument in help texts, empty for a switch without argument."""

    placeholder = "value"
    is_switch = False

    def __init__(self, name: str, usage: str) -> None:
        self.name = name
        self.usage = usage

    @abstractmethod
    def set(self, text: str) -> None:
        """Take the text of one occurrence. Raises ValueError with the reason shown to the user."""

    def default_text(self) -> str:
        """The default as help prints it, empty when it is the zero value of the type."""
        return ""

    def example(self) -> str:
        """Name of the argument: the back-quoted word of the usage text, or the name of the type."""
        _, opened, rest = self.usage.partition("`")
        name, closed, _ = rest.partition("`")
        return name if opened and closed else self.placeholder


class BoolFlag(Flag):
    placeholder = ""
    is_switch = True

    def __init__(self, name: str, usage: str, default: bool = False) -> None:
        super().__init__(name, usage)
        self.value = self._default = default

    def set(self, text: str) -> None:
        try:
            self.value = numbers.parse_bool(text)
        except ValueError:
            raise ValueError("parse error") from None

    def default_text(self) -> str:
        return "true" if self._default else ""


class OptionalBoolFlag(BoolFlag):
    """A switch that knows whether it was given (None: it was not)."""

    def __init__(self, name: str, usage: str) -> None:
        super().__init__(name, usage)
        self.given: bool | None = None

    def set(self, text: str) -> None:
        self.value = self.given = numbers.parse_bool(text)


class StringFlag(Flag):
    placeholder = "string"

    def __init__(self, name: str, usage: str, default: str = "") -> None:
        super().__init__(name, usage)
        self.value = self._default = default

    def set(self, text: str) -> None:
        self.value = text

    def default_text(self) -> str:
        return quote(self._default) if self._default else ""


class OptionalStringFlag(Flag):
    """A text that knows whether it was given (None: it was not)."""

    def __init__(self, name: str, usage: str) -> None:
        super().__init__(name, usage)
        self.value: str | None = None

    def set(self, text: str) -> None:
        self.value = text


class UintFlag(Flag):
    placeholder = "uint"

    def __init__(self, name: str, usage: str, default: int = 0) -> None:
        super().__init__(name, usage)
        self.value = self._default = default

    def set(self, text: str) -> None:
        try:
            self.value = self._parse(text)
        except numbers.RangeError:
            raise ValueError("value out of range") from None
        except ValueError:
            raise ValueError("parse error") from None

    def _parse(self, text: str) -> int:
        return numbers.parse_uint(text)

    def default_text(self) -> str:
        return str(self._default) if self._default else ""


class OptionalUintFlag(Flag):
    """An unsigned number that knows whether it was given (None: it was not)."""

    def __init__(self, name: str, usage: str) -> None:
        super().__init__(name, usage)
        self.value: int | None = None

    def set(self, text: str) -> None:
        self.value = numbers.parse_uint(text)


class IntFlag(UintFlag):
    placeholder = "int"

    def _parse(self, text: str) -> int:
        return numbers.parse_int(text)


class OptionalDurationFlag(Flag):
    """A Go duration in nanoseconds (None: not given)."""

    def __init__(self, name: str, usage: str) -> None:
        super().__init__(name, usage)
        self.value: int | None = None

    def set(self, text: str) -> None:
        from shared.gotext.durations import parse_duration_ns

        self.value = parse_duration_ns(text)


class DurationFlag(Flag):
    """A Go duration in nanoseconds."""

    placeholder = "duration"

    def __init__(self, name: str, usage: str, default: int = 0) -> None:
        super().__init__(name, usage)
        self.value = self._default = default

    def set(self, text: str) -> None:
        from shared.gotext.durations import DurationError, parse_duration_ns

        try:
            self.value = parse_duration_ns(text)
        except DurationError:
            raise ValueError("parse error") from None

    def default_text(self) -> str:
        from shared.gotext.durations import format_duration_ns

        return format_duration_ns(self._default) if self._default else ""


class MapFlag(Flag):
    """key=value, may be repeated; a later value of the same key replaces an earlier one."""

    def __init__(self, name: str, usage: str) -> None:
        super().__init__(name, usage)
        self.value: dict[str, str] = {}

    def set(self, text: str) -> None:
        key, found, value = text.partition("=")
        if not found:
            raise ValueError(f'Missing "=" value in argument: {text}')
        self.value[key] = value


class ListFlag(Flag):
    """May be repeated; each occurrence adds one element."""

    def __init__(self, name: str, usage: str) -> None:
        super().__init__(name, usage)
        self.value: list[str] = []

    def set(self, text: str) -> None:
        self.value.append(text)


class FlagGroup:
    """Flags that several commands share; as an attribute of a FlagSet they become flags of the command."""


class FlagSet:
    """The flags of one command: every attribute that is a Flag, or a FlagGroup with Flags as attributes."""

    def __iter__(self) -> Iterator[Flag]:
        """All flags in the order of their names, as help shows them."""
        return iter(sorted(self._declared(), key=lambda flag: flag.name))

    def _declared(self) -> Iterator[Flag]:
        for attribute in vars(self).values():
            if isinstance(attribute, Flag):
                yield attribute
            elif isinstance(attribute, FlagGroup):
                yield from (flag for flag in vars(attribute).values() if isinstance(flag, Flag))

    def parse(self, argv: list[str]) -> list[str]:
        """Sets the flags found at the start of argv and returns the arguments behind them.

        Raises FlagError (not yet printed) at the first argument that is wrong."""
        rest = list(argv)
        flags = {flag.name: flag for flag in self._declared()}
        while rest and len(rest[0]) > 1 and rest[0].startswith("-"):
            argument = rest.pop(0)
            if argument == "--":
                break
            name = argument[2:] if argument.startswith("--") else argument[1:]
            if not name or name[0] in "-=":
                raise FlagError(f"bad flag syntax: {argument}", self)
            self._take(flags, name, rest)
        return rest

    def _take(self, flags: dict[str, Flag], name_and_value: str, rest: list[str]) -> None:
        name, has_value, value = name_and_value.partition("=")
        flag = flags.get(name)
        if flag is None:
            if name in ("h", "help"):
                raise HelpWanted("flag: help requested", self)
            raise FlagError(f"flag provided but not defined: -{name}", self)
        if flag.is_switch:
            try:
                flag.set(value if has_value else "true")
            except ValueError as error:
                shown = quote(value)
                raise FlagError(f"invalid boolean value {shown} for -{name}: {error}", self) from None
            return
        if not has_value:
            if not rest:
                raise FlagError(f"flag needs an argument: -{name}", self)
            value = rest.pop(0)
        try:
            flag.set(value)
        except ValueError as error:
            raise FlagError(f"invalid value {quote(value)} for flag -{name}: {error}", self) from None

    def defaults(self) -> str:
        """What Go prints below a flag error: every flag, its text and its default, unwrapped."""
        lines = ["Usage:"]
        for flag in self:
            example = flag.example()
            head = f"  -{flag.name} {example}" if example else f"  -{flag.name}"
            text = flag.usage.replace("`", "", 2) if flag.usage.count("`") > 1 else flag.usage
            text = text.replace("\n", "\n    \t")
            if default := flag.default_text():
                text += f" (default {default})"
            lines.append(f"{head}\t{text}" if len(head) <= 4 else f"{head}\n    \t{text}")
        return "\n".join(lines)
