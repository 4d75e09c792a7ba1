"""The lines an agent prints before its log begins, in the layout of Consul 1.8."""

from __future__ import annotations

from shared.config.runtime import RuntimeConfig
from shared.log import go_text


def banner(config: RuntimeConfig) -> str:
    """All lines up to "Log data will now stream in", newline at the end included."""
    segment = "<all>" if config.server else config.segment
    ports = config.ports
    encrypt = {
        "Gossip": bool(config.encrypt),
        "TLS-Outgoing": config.tls.verify_outgoing,
        "TLS-Incoming": config.tls.verify_incoming,
        "Auto-Encrypt-TLS": config.auto_encrypt.tls or config.auto_encrypt.allow_tls,
    }
    facts = {
        "Version": f"'{config.version}'",
        "Node ID": f"'{config.node_id}'",
        "Node name": f"'{config.node_name}'",
        "Datacenter": f"'{config.datacenter}' (Segment: '{segment}')",
        "Server": f"{go_text(config.server)} (Bootstrap: {go_text(config.bootstrap)})",
        "Client Addr": f"[{' '.join(config.client_addrs)}] "
        f"(HTTP: {ports.http}, HTTPS: {ports.https}, gRPC: {ports.grpc}, DNS: {ports.dns})",
        "Cluster Addr": f"{config.advertise_addr} (LAN: {ports.serf_lan}, WAN: {ports.serf_wan})",
        "Encrypt": ", ".join(f"{name}: {go_text(value)}" for name, value in encrypt.items()),
    }
    lines = ["==> Starting Consul agent..."]
    lines += [f"    {name:>14}: {value}" for name, value in facts.items()]
    lines += ["", "==> Log data will now stream in as it occurs:", ""]
    return "".join(f"{line}\n" for line in lines)
