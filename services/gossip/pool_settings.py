"""What the agent's configuration means for its pools."""

import ipaddress
import os
from dataclasses import dataclass
from typing import Literal

from services.gossip.consul.merge_rules import LanRules, wan_rules
from services.gossip.consul.tags import pool_tags
from services.gossip.serf.delegate import MergeCheck
from services.gossip.serf.settings import SerfSettings
from services.gossip.swim.address import Address, AddressFilter
from services.gossip.swim.settings import SwimSettings
from shared.config.runtime import RuntimeConfig, split_host_port
from shared.service import SUPERVISOR_PID_VARIABLE

PoolName = Literal["lan", "wan"]


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """One pool. host/port: where it listens. logger_prefix: "agent.server" or "agent.client".

    title: how Consul names the pool in messages. snapshot_file, keyring_file: "" for none.
    snapshot_run, keyring_run: the run of the agent within which the file counts, "" if it outlives the agent.
    agent_run: a word for this run of the agent, "" where each process is started by itself."""

    pool: PoolName
    title: str
    logger_prefix: str
    host: str
    port: int
    serf: SerfSettings
    merge_check: MergeCheck
    verify_incoming: bool
    verify_outgoing: bool
    rejoin_after_leave: bool
    snapshot_file: str
    snapshot_run: str
    agent_run: str
    keyring_file: str
    keyring_run: str


def pools_of(config: RuntimeConfig) -> list[PoolName]:
    """The pools this agent is in, in the order they start: servers join those of other datacenters too."""
    if config.server and config.serf_wan_bind_addr:
        return ["wan", "lan"]
    return ["lan"]


def pool_settings(config: RuntimeConfig, pool: PoolName, *, encrypted: bool) -> PoolSettings:
    """Settings of one pool. Raises ValueError for addresses that are no addresses."""
    wan = pool == "wan"
    bind = config.serf_wan_bind_addr if wan else config.serf_lan_bind_addr
    advertise = (config.serf_wan_advertise_addr if wan else config.serf_lan_advertise_addr) or bind
    if not bind or not advertise:
        raise ValueError(f"no bind address for the {pool} pool")
    host, port = split_host_port(bind)
    advertise_host, advertise_port = split_host_port(advertise)
    timing = config.gossip_wan if wan else config.gossip_lan
    networks = config.serf_wan_allowed_cidrs if wan else config.serf_lan_allowed_cidrs
    name = f"{config.node_name}.{config.datacenter}" if wan else config.node_name
    swim = SwimSettings(
        name=name,
        advertise=Address(ipaddress.ip_address(advertise_host).packed, advertise_port or port),
        bind_port=port,
        probe_interval_s=timing.probe_interval_s,
        probe_timeout_s=timing.probe_timeout_s,
        suspicion_mult=timing.suspicion_mult,
        gossip_interval_s=timing.gossip_interval_s,
        gossip_nodes=timing.gossip_nodes,
        retransmit_mult=timing.retransmit_mult,
        # Not configurable in Consul; these are memberlist's profiles.
        push_pull_interval_s=60.0 if wan else 30.0,
        gossip_to_the_dead_s=60.0 if wan else 30.0,
        tcp_timeout_s=30.0 if wan else 10.0,
        encrypted=encrypted and config.encrypt_verify_outgoing,
        allowed=None if networks is None else AddressFilter(networks),
    )
    file_name = "remote" if wan else "local"
    in_files = bool(config.data_dir) and not config.dev_mode
    # A dev agent remembers nothing, but when this process alone is restarted it has to find its pool again.
    agent_run = os.environ.get(SUPERVISOR_PID_VARIABLE, "")
    run = "" if in_files else agent_run
    snapshot_file = f"{config.data_dir}/serf/{file_name}.snapshot" if in_files else ""
    if run:
        snapshot_file = f"{config.run_dir}/serf-{file_name}.snapshot"
    keyring_file = f"{config.data_dir}/serf/{file_name}.keyring" if in_files else ""
    keyring_run = ""
    if not in_files or config.disable_keyring_file:
        # Keys are lost with the agent then, but not with this process alone.
        keyring_file = f"{config.run_dir}/serf-{file_name}.keyring" if agent_run else ""
        keyring_run = agent_run
    return PoolSettings(
        pool=pool,
        title=pool.upper(),
        logger_prefix="agent.server" if config.server else "agent.client",
        host=host,
        port=port,
        serf=SerfSettings(
            swim=swim,
            tags=pool_tags(config, wan=wan),
            reconnect_timeout_s=config.reconnect_timeout_wan_s if wan else config.reconnect_timeout_s,
        ),
        merge_check=wan_rules
        if wan
        else LanRules(config.datacenter, config.node_id, config.node_name, "" if config.server else config.segment),
        verify_incoming=config.encrypt_verify_incoming,
        verify_outgoing=config.encrypt_verify_outgoing,
        rejoin_after_leave=config.rejoin_after_leave,
        snapshot_file=snapshot_file,
        snapshot_run=run,
        agent_run=agent_run,
        keyring_file=keyring_file,
        keyring_run=keyring_run,
    )
