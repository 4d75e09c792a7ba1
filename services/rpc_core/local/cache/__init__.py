"""The agent cache (`?cached`): replies of RPC methods, kept for all who ask this agent for the same thing.

AgentCache(fetch, ...)       shell: .run, .get(type, request, have) -> Hit; .configure
serve(cache, call)           its method on rpc.sock, Agent.CacheGet
Entry                        core: what is known about one request, and what happens to it when a fetch ends
TYPES                        the requests that can be cached, by Consul's names of the cache types

Where a fetch goes is not known in here: to the own endpoints on a server, to some server on a client."""

from services.rpc_core.local.cache.cache import AgentCache, Hit, serve
from services.rpc_core.local.cache.types import TYPES

__all__ = ["TYPES", "AgentCache", "Hit", "serve"]
