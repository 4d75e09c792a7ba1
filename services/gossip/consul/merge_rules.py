"""Who may be in a pool with this agent: Consul's merge checks."""

import re
from collections.abc import Sequence

from services.gossip.serf.member import Member, Status

_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)", re.ASCII)
_ATOI = re.compile(r"[+-]?\d+", re.ASCII)
# Older agents made node ids from the host's, so several could share one.
_UNIQUE_ID_SINCE = (0, 8, 5)


def build_version(tags: dict[str, str]) -> tuple[int, int, int] | None:
    """The version in the `build` tag, None if there is none."""
    found = _VERSION.search(tags.get("build", ""))
    return None if found is None else (int(found[1]), int(found[2]), int(found[3]))


def is_server(member: Member) -> bool:
    """Do these tags make a Consul server? One malformed tag is enough for a no."""
    tags = member.tags
    if tags.get("role") != "consul" or build_version(tags) is None:
        return False
    integers = [tags.get("port", ""), tags.get("vsn", "")]
    integers += [tags[name] for name in ("expect", "wan_join_port", "raft_vsn") if name in tags]
    for name, value in tags.items():
        if name.startswith("ft_"):
            integers.append(value)
        elif name.startswith("sl_"):
            host, colon, port = value.rpartition(":")
            if not colon or (":" in host and not (host.startswith("[") and host.endswith("]"))):
                return False
            integers.append(port)
    return all(len(value) <= 19 and _ATOI.fullmatch(value) for value in integers)


class LanRules:
    """One datacenter, one segment, node ids without duplicates."""

    def __init__(self, datacenter: str, node_id: str, node_name: str, segment: str) -> None:
        self._datacenter = datacenter
        self._node_id = node_id
        self._node_name = node_name
        self._segment = segment

    def __call__(self, members: Sequence[Member]) -> str | None:
        """Why these members must not be merged; None if they may."""
        names_by_id: dict[str, str] = {}
        for member in members:
            node_id = member.tags.get("id")
            if node_id:
                if member.status == Status.LEFT:
                    continue
                if node_id == self._node_id and member.name != self._node_name:
                    return f"Member '{member.name}' has conflicting node ID '{node_id}' with this agent's ID"
                if node_id in names_by_id:
                    return (
                        f"Member '{member.name}' has conflicting node ID '{node_id}' "
                        f"with member '{names_by_id[node_id]}'"
                    )
                version = build_version(member.tags)
                if version is not None and version >= _UNIQUE_ID_SINCE:
                    names_by_id[node_id] = member.name
            datacenter = member.tags.get("dc", "")
            if datacenter != self._datacenter and (member.tags.get("role") == "node" or is_server(member)):
                return f"Member '{member.name}' part of wrong datacenter '{datacenter}'"
            segment = member.tags.get("segment", "")
            if segment != self._segment:
                return f"Member '{member.name}' part of wrong segment '{segment}' (expected '{self._segment}')"
        return None


def wan_rules(members: Sequence[Member]) -> str | None:
    """Only servers talk across datacenters."""
    for member in members:
        if not is_server(member):
            return f"Member '{member.name}' is not a server"
    return None
