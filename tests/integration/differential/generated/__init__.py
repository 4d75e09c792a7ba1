"""generated: requests that nobody wrote by hand, right and wrong ones, the same ones for the same seed.

ENDPOINTS                     what is asked: paths, methods, a good body and good parameters of each endpoint
requests(endpoint, seed, n)   -> n requests to it, most of them wrong in one way or another
World(agent)                  what an agent holds when they are sent, and the way back to it
"""

from tests.integration.differential.generated.endpoints import ENDPOINTS, Endpoint
from tests.integration.differential.generated.requests import requests
from tests.integration.differential.generated.world import World

__all__ = ["ENDPOINTS", "Endpoint", "World", "requests"]
