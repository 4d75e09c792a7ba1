"""The gossip service: the pools of this agent and the socket on which it is asked about them."""

import math

import trio

from services.gossip.api import Api
from services.gossip.flood_join import INTERVAL_S, missing_in_wan
from services.gossip.keyring_file import load_keyrings
from services.gossip.pool import JoinError, Pool
from services.gossip.pool_settings import PoolName, pools_of
from services.gossip.serf.effects import UserEvent
from services.gossip.serf.member import Member
from shared.ipc import Server, SocketPathError
from shared.log import get_logger
from shared.service import ServiceContext, StartError


class GossipService:
    """Everything this process does, in one nursery."""

    def __init__(self, ctx: ServiceContext) -> None:
        self._ctx = ctx
        self._flood = trio.Event()
        try:
            self._server = Server(ctx.config.socket_path("gossip"), name="gossip")
        except SocketPathError as error:
            raise StartError(str(error)) from None
        self._api = Api(self._server)

    async def run(self) -> None:
        config = self._ctx.config
        await self._ctx.wait_turn()
        kind = "server" if config.server else "client"
        keyrings = load_keyrings(config, pools_of(config))
        try:
            pools = [
                Pool(config, name, keyrings[name], self._on_members, self._on_user_event) for name in pools_of(config)
            ]
        except StartError as error:
            raise StartError(f"Failed to start Consul {kind}: {error}") from None
        try:
            async with trio.open_nursery() as nursery:
                for pool in pools:
                    await nursery.start(pool.run)
                    self._api.pools[pool.name] = pool
                try:
                    await nursery.start(self._server.run)
                except SocketPathError as error:
                    raise StartError(str(error)) from None
                if "wan" in self._api.pools:
                    nursery.start_soon(self._flood_join)
                self._ctx.ready()
        finally:
            for pool in reversed(pools):
                pool.warn_unless_left()

    def _on_members(self, pool: PoolName, event: str, members: list[Member]) -> None:
        self._api.publish_members(pool, event, members)
        if pool == "lan" and event == "join":
            self._flood.set()

    def _on_user_event(self, pool: PoolName, event: UserEvent) -> None:
        self._api.publish_event(pool, event)

    async def _flood_join(self) -> None:
        """Bring servers of this datacenter into the WAN pool: at each LAN join, and again every minute while there
        are any that it failed for."""
        logger = get_logger("agent.server")
        lan, wan = self._api.pools["lan"], self._api.pools["wan"]
        while True:
            with trio.move_on_after(INTERVAL_S if len(lan.serf.members) > 1 else math.inf):
                await self._flood.wait()
            self._flood = trio.Event()
            if lan.is_leaving or wan.is_leaving:
                return
            for name, address in missing_in_wan(lan.serf.members, wan.serf.members, self._ctx.config.datacenter):
                try:
                    await wan.join([f"{name}/{address}"])
                except JoinError as error:
                    logger.debug(
                        "Failed to flood-join server at address", server=name, address=address, error=str(error)
                    )
                else:
                    logger.debug(
                        "Successfully performed flood-join for server at address", server=name, address=address
                    )


async def main(ctx: ServiceContext) -> None:
    """Runs until cancelled. Raises StartError if a listener cannot be opened."""
    await GossipService(ctx).run()
