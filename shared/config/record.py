"""Record: frozen keyword-only classes for configuration, declared like dataclasses, nearly free to import.

A dataclass compiles its methods when it is defined; for the two dozen classes and 250 fields of the
configuration that is some 25 ms, in each of six processes, at every start. A record has generic methods
instead. Type checkers treat it as a dataclass (PEP 681)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NoReturn, Self, TypeVar, dataclass_transform

T = TypeVar("T")


class _Made:
    """Marks a default that is made anew for each instance."""

    __slots__ = ("factory",)

    def __init__(self, factory: Callable[[], Any]) -> None:
        self.factory = factory


def made(factory: Callable[[], T]) -> T:
    """A default value that each record gets its own copy of: `tags: dict[str, str] = made(dict)`."""
    return _Made(factory)  # type: ignore[return-value]  # a class attribute is what the fields are read from


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Record:
    """Base of the configuration classes. Fields are the annotated names of the class body, in order.

    Raises TypeError for an unknown or missing field, AttributeError when assigned to."""

    FIELDS: ClassVar[dict[str, str]] = {}
    """Field name -> annotation as written."""

    def __init_subclass__(cls) -> None:
        cls.FIELDS = {name: str(text) for name, text in cls.__annotations__.items()}
        cls._DEFAULTS = {name: cls.__dict__[name] for name in cls.FIELDS if name in cls.__dict__}

    _DEFAULTS: ClassVar[dict[str, Any]] = {}

    def __init__(self, **values: Any) -> None:
        own = self.__dict__
        for name in self.FIELDS:
            if name in values:
                own[name] = values.pop(name)
            elif name in self._DEFAULTS:
                default = self._DEFAULTS[name]
                own[name] = default.factory() if type(default) is _Made else default
            else:
                raise TypeError(f"{type(self).__name__} needs a value for {name!r}")
        if values:
            raise TypeError(f"{type(self).__name__} has no field {next(iter(values))!r}")

    def replace(self, **changes: Any) -> Self:
        """A copy in which the named fields have other values."""
        return type(self)(**{**self.__dict__, **changes})

    def as_dict(self) -> dict[str, Any]:
        """The record and the records in it as plain dicts, for JSON."""
        return {name: value.as_dict() if isinstance(value, Record) else value for name, value in self.__dict__.items()}

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.__dict__ == self.__dict__

    __hash__ = None  # type: ignore[assignment]  # a record may hold dicts

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}={value!r}" for name, value in self.__dict__.items())
        return f"{type(self).__name__}({inside})"

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is frozen: use replace({name}=...)")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is frozen")
