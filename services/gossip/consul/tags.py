"""The tags Consul 1.8 agents announce, exactly: peers read role, datacenter, ports and versions from them."""

from shared.config.runtime import RuntimeConfig
from shared.version import (
    CONSUL_PROTOCOL_MAX,
    CONSUL_PROTOCOL_MIN,
    CONSUL_REVISION,
    CONSUL_VERSION,
)


def build_tag() -> str:
    """VERSION:REVISION, the revision cut to 8 digits."""
    return f"{CONSUL_VERSION}:{CONSUL_REVISION[:8]}"


def pool_tags(config: RuntimeConfig, *, wan: bool) -> dict[str, str]:
    """Tags of this agent in its LAN or WAN pool. ACLs start in legacy mode (2); the mode is raised later."""
    tags: dict[str, str] = {}
    if config.server and not wan and config.ports.serf_wan > 0:
        tags["wan_join_port"] = str(config.ports.serf_wan)
    tags |= {
        "role": "consul" if config.server else "node",
        "dc": config.datacenter,
        "segment": "" if config.server else config.segment,
        "id": config.node_id,
        "vsn": str(config.protocol),
        "vsn_min": str(CONSUL_PROTOCOL_MIN),
        "vsn_max": str(CONSUL_PROTOCOL_MAX),
        "build": build_tag(),
        "acls": "2" if config.acl.enabled else "0",
    }
    if config.server:
        tags["raft_vsn"] = str(config.raft_protocol)
        tags["port"] = str(config.ports.server)
        if config.bootstrap or config.bootstrap_expect == 1:
            tags["bootstrap"] = "1"
        if config.bootstrap_expect >= 2:
            tags["expect"] = str(config.bootstrap_expect)
        if config.non_voting_server:
            tags["nonvoter"] = "1"
        if config.ca_file or config.tls.ca_path:
            tags["use_tls"] = "1"
        tags["ft_fs"] = "1"
    return tags
