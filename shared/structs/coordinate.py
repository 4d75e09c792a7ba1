"""Network coordinates."""

from __future__ import annotations

from shared.structs.schema import FLOAT, STR, Struct, attr, list_of, opt


class Vivaldi(Struct):
    """A Vivaldi coordinate; all parts are seconds except error, which has no dimension."""

    go_name = "Coordinate"

    vec: list[float] | None = attr("Vec", list_of(FLOAT))
    error: float = attr("Error", FLOAT)
    adjustment: float = attr("Adjustment", FLOAT)
    height: float = attr("Height", FLOAT)


class Coordinate(Struct):
    """The coordinate of a node in one network segment."""

    node: str = attr("Node", STR)
    segment: str = attr("Segment", STR)
    coord: Vivaldi | None = attr("Coord", opt(lambda: Vivaldi, "coordinate.Coordinate"))


class CoordinateUpdateRequest(Struct):
    """Coordinate.Update."""

    datacenter: str = attr("Datacenter", STR)
    node: str = attr("Node", STR)
    segment: str = attr("Segment", STR)
    coord: Vivaldi | None = attr("Coord", opt(lambda: Vivaldi, "coordinate.Coordinate"))
    token: str = attr("Token", STR)
