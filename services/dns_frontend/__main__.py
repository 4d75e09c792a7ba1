"""dns_frontend: Consul's DNS interface over UDP and TCP, as one process of the agent."""

from __future__ import annotations

import random
import socket

import trio

from services.dns_frontend.answers import Rules
from services.dns_frontend.lane import Lane
from services.dns_frontend.listeners import bind, serve_tcp
from services.dns_frontend.recursors import Recursors
from services.dns_frontend.sources import Reading
from shared import metrics
from shared.config.runtime import RuntimeConfig, split_host_port
from shared.ipc import Link, Server
from shared.service import ServiceContext, run_service
from shared.state.leadership import LeadershipPage
from shared.state.reader import StateReader


def rules_of(config: RuntimeConfig) -> Rules:
    """The rules for answers that follow from the configuration."""
    dns = config.dns_config
    return Rules(
        datacenter=config.datacenter,
        domain=_domain(config.domain),
        alt_domain=_domain(config.alt_domain),
        node_ttl=int(dns.node_ttl_s),
        service_ttl={name: int(ttl_s) for name, ttl_s in dns.service_ttl_s.items()},
        only_passing=dns.only_passing,
        a_record_limit=dns.a_record_limit,
        udp_answer_limit=dns.udp_answer_limit,
        enable_truncate=dns.enable_truncate,
        compress=not dns.disable_compression,
        node_meta_txt=dns.enable_additional_node_meta_txt,
        translate_wan_addrs=config.translate_wan_addrs,
        recursion_available=bool(config.recursors),
        soa_refresh=dns.soa.refresh,
        soa_retry=dns.soa.retry,
        soa_expire=dns.soa.expire,
        soa_min_ttl=dns.soa.min_ttl,
    )


def reading_of(config: RuntimeConfig) -> Reading:
    """How the catalog is read, as the configuration says."""
    dns = config.dns_config
    return Reading(
        datacenter=config.datacenter,
        node_name=config.node_name,
        token=config.acl.tokens.default,
        allow_stale=dns.allow_stale,
        max_stale_s=dns.max_stale_s,
        use_cache=dns.use_cache,
        cache_max_age_s=dns.cache_max_age_s,
        has_recursors=bool(config.recursors),
    )


def recursors_of(config: RuntimeConfig) -> Recursors:
    return Recursors([_with_port(one) for one in config.recursors], config.dns_config.recursor_timeout_s)


def _domain(name: str) -> str:
    return name.lower().rstrip(".") + "."


def _with_port(address: str) -> tuple[str, int]:
    if address.count(":") > 1 and not address.startswith("["):
        return address, 53
    try:
        return split_host_port(address)
    except ValueError:
        return address.strip("[]"), 53


async def main(ctx: ServiceContext) -> None:
    config = ctx.config
    log = ctx.logger("agent")
    rpc = Link(config.socket_path("rpc"), name="dns_frontend")
    lane = Lane(
        rules_of(config),
        reading_of(config),
        recursors_of(config),
        rpc,
        StateReader(config.state_dir) if config.server else None,
        LeadershipPage.open(f"{config.state_dir}/leader.page") if config.server else None,
        random.Random(),
        rpc_timeout_s=config.performance.rpc_hold_timeout_s + 2,
        node_name=config.node_name,
    )

    def reload(new: RuntimeConfig) -> None:
        lane.reconfigure(rules_of(new), reading_of(new), recursors_of(new))

    async def say_stopping() -> None:
        for address in config.dns_listeners:
            for network in ("tcp", "udp"):
                log.info("Stopping server", protocol="DNS", address=address, network=network)

    server = Server(config.socket_path("dns"), name="dns_frontend")
    server.fast("Metrics.Dump", lambda request: request.reply(metrics.dump()))
    metrics.collect(lane.gauges)
    ctx.on_reload(reload)
    await ctx.wait_turn()
    udp = [bind(address, socket.SOCK_DGRAM) for address in config.dns_listeners]
    tcp = [bind(address, socket.SOCK_STREAM) for address in config.dns_listeners]
    async with trio.open_nursery() as nursery:
        await nursery.start(rpc.run)
        await nursery.start(server.run)
        for sock in udp:
            nursery.start_soon(lane.serve_udp, sock)
        for sock in tcp:
            nursery.start_soon(serve_tcp, lane, sock)
        for address in config.dns_listeners:
            for network in ("tcp", "udp"):
                log.info("Started DNS server", address=address, network=network)
        ctx.on_stop(say_stopping)
        ctx.ready()
        await trio.sleep_forever()


if __name__ == "__main__":
    run_service("dns_frontend", main)
