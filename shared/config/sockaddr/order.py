"""Sorting addresses by several criteria."""

from __future__ import annotations

import functools
from collections.abc import Callable

from shared.config.sockaddr import interfaces
from shared.config.sockaddr.errors import FunctionError
from shared.config.sockaddr.interfaces import InterfaceAddress
from shared.config.sockaddr.rfcs import in_rfc
from shared.gotext.quoting import quote

Comparison = Callable[[InterfaceAddress, InterfaceAddress], int]
_INSERTION_UP_TO = 12


def sort(clauses: str, addresses: list[InterfaceAddress]) -> list[InterfaceAddress]:
    """clauses: names of criteria with commas between, "-" in front to turn one around. Raises FunctionError."""
    comparisons = [_comparison(clause) for clause in clauses.split(",")]

    def compare(first: InterfaceAddress, second: InterfaceAddress) -> int:
        return next((result for c in comparisons if (result := c(first, second))), 0)

    if len(addresses) > _INSERTION_UP_TO:
        return sorted(addresses, key=functools.cmp_to_key(compare))
    return _insertion_sorted(addresses, compare)


def _insertion_sorted(addresses: list[InterfaceAddress], compare: Comparison) -> list[InterfaceAddress]:
    """As Go sorts short lists. Criteria that leave addresses of different families in no order (private) put them
    where this algorithm does."""
    result = list(addresses)
    for at in range(6, len(result)):
        if compare(result[at], result[at - 6]) < 0:
            result[at], result[at - 6] = result[at - 6], result[at]
    for end in range(1, len(result)):
        at = end
        while at > 0 and compare(result[at], result[at - 1]) < 0:
            result[at], result[at - 1] = result[at - 1], result[at]
            at -= 1
    return result


def _comparison(clause: str) -> Comparison:
    name = clause.strip().lower()
    sign = -1 if name.startswith("-") else 1
    default = interfaces.default_route_interface() if name.lstrip("+-") == "default" else None

    def by_key(key: Callable[[InterfaceAddress], object], same_type: bool = False) -> Comparison:
        def compare(first: InterfaceAddress, second: InterfaceAddress) -> int:
            if same_type and first.interface.version != second.interface.version:
                return 0  # not comparable: left to the next clause
            one, other = key(first), key(second)
            if one == other:
                return 0
            return -sign if one < other else sign  # type: ignore[operator]  # keys of one kind

        return compare

    def private(first: InterfaceAddress, second: InterfaceAddress) -> int:
        inside = in_rfc(6890, first.interface.ip)
        if first.interface.version != second.interface.version:
            return -sign if inside else 0
        return 0 if inside == in_rfc(6890, second.interface.ip) else -sign if inside else sign

    comparisons: dict[str, Comparison] = {
        "address": by_key(lambda a: a.interface.ip.packed, same_type=True),
        "default": by_key(lambda a: a.name != default),
        "name": by_key(lambda a: a.name),
        "port": by_key(lambda _a: 0),
        "private": private,
        "size": by_key(lambda a: a.interface.network.prefixlen, same_type=True),
        "type": by_key(lambda a: a.interface.version),
    }
    if (found := comparisons.get(name.removeprefix("+" if sign > 0 else "-"))) is None:
        raise FunctionError(f"unknown sort type: {quote(clause)}")
    return found
