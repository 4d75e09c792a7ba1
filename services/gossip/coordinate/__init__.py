"""Network coordinates: where a node lies in round-trip time (Vivaldi). Pure arithmetic.

Coordinate                       a point; .distance_to(other) -> seconds
CoordinateClient(rng).update()   learns from measured round trips"""

from services.gossip.coordinate.vivaldi import Coordinate, CoordinateClient, CoordinateError

__all__ = ["Coordinate", "CoordinateClient", "CoordinateError"]
