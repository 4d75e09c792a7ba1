"""The `Filter` option of a read: compiled only when there is one, so that plain reads never import it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from services.rpc_core.errors import RpcError
from shared.structs.schema import Struct

T = TypeVar("T")


def compile_filter(expression: str, record: type[Struct]) -> Callable[[list[T]], list[T]]:
    """What keeps the items a filter holds for.

    A bad filter is found out when it is first used, where the data is: an unknown datacenter or a missing leader is
    told before it. Raises RpcError then, with the text Consul answers with."""
    if not expression:
        return _keep_all
    matches: Callable[[Any], bool] | None = None

    def keep(items: list[T]) -> list[T]:
        nonlocal matches
        from shared.bexpr import FilterError

        try:
            matches = matches or _compiled(expression, record)
            return [item for item in items if matches(item)]
        except FilterError as error:
            raise RpcError(str(error)) from None

    return keep


def _compiled(expression: str, record: type[Struct]) -> Callable[[Any], bool]:
    from shared.bexpr import create_filter
    from shared.bexpr.records import fields_of

    made = create_filter(expression, fields_of(record))
    assert made is not None
    return made.matches


def _keep_all(items: list[Any]) -> list[Any]:
    return items
