"""Gossip members as the catalog and Raft see them: who is a server, where, and who is a client agent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any


class MemberStatus(IntEnum):
    """Serf's numbers; REAP is ours for a member that was forgotten after a long failure."""

    NONE = 0
    ALIVE = 1
    LEAVING = 2
    LEFT = 3
    FAILED = 4
    REAP = 10


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a gossip pool."""

    name: str
    addr: str
    port: int
    tags: Mapping[str, str]
    status: int
    protocol_min: int
    protocol_max: int
    protocol_cur: int

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Member:
        """From a record of `Gossip.Members`. Raises KeyError if it is none."""
        return cls(
            name=wire["Name"],
            addr=wire["Addr"],
            port=wire["Port"],
            tags=wire["Tags"] or {},
            status=wire["Status"],
            protocol_min=wire["ProtocolMin"],
            protocol_max=wire["ProtocolMax"],
            protocol_cur=wire["ProtocolCur"],
        )

    def with_status(self, status: int) -> Member:
        return replace(self, status=status)


@dataclass(frozen=True, slots=True)
class Server:
    """A Consul server out of its member tags."""

    name: str
    short_name: str
    node_id: str
    datacenter: str
    segment: str
    addr: str
    port: int
    raft_version: int
    build: str
    bootstrap: bool
    expect: int
    non_voter: bool

    @property
    def address(self) -> str:
        """ip:port of the RPC listener; also its address in the Raft configuration."""
        host = f"[{self.addr}]" if ":" in self.addr else self.addr
        return f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.name} (Addr: tcp/{self.address}) (DC: {self.datacenter})"


_BUILD_VERSION = re.compile(r"\d+\.\d+\.\d+")
_NUMBER_TAGS = ("port", "vsn")
_OPTIONAL_NUMBER_TAGS = ("expect", "raft_vsn", "wan_join_port")


def server_of(member: Member) -> Server | None:
    """The server behind `member`; None for others, and for members whose tags do not parse."""
    tags = member.tags
    if tags.get("role") != "consul":
        return None
    build = _BUILD_VERSION.search(tags.get("build", ""))
    numbers = [tags.get(tag, "") for tag in _NUMBER_TAGS]
    numbers += [tags[tag] for tag in _OPTIONAL_NUMBER_TAGS if tag in tags]
    numbers += [value for tag, value in tags.items() if tag.startswith("ft_")]
    if build is None or not all(map(_is_number, numbers)):
        return None
    datacenter = tags.get("dc", "")
    return Server(
        name=member.name,
        short_name=member.name.removesuffix(f".{datacenter}"),
        node_id=tags.get("id", ""),
        datacenter=datacenter,
        segment=tags.get("segment", ""),
        addr=member.addr,
        port=int(tags["port"]),
        raft_version=int(tags.get("raft_vsn", "0")),
        build=build[0],
        bootstrap="bootstrap" in tags,
        expect=int(tags.get("expect", "0")),
        non_voter="nonvoter" in tags,
    )


def _is_number(text: str) -> bool:
    """As strconv.Atoi takes it."""
    return re.fullmatch(r"[+-]?[0-9]+", text) is not None and -(1 << 63) <= int(text) < 1 << 63


def belongs_to_catalog(member: Member, datacenter: str) -> bool:
    """Whether the leader of `datacenter` keeps a catalog entry for `member`."""
    if member.tags.get("role") == "node":
        return member.tags.get("dc", "") == datacenter
    server = server_of(member)
    return server is not None and server.segment == "" and server.datacenter == datacenter


@dataclass(frozen=True, slots=True)
class AclMode:
    """What servers announce in their tag `acls`: "0" off, "1" on, "2" legacy, "3" unknown."""

    found: bool
    of_all: str
    of_leader: str


def acl_mode(members: list[Member], leader_address: str) -> AclMode:
    """The ACL mode that all living servers have in common, and the leader's own."""
    modes = {}
    for member in members:
        server = server_of(member)
        if server is not None and member.status in (MemberStatus.ALIVE, MemberStatus.FAILED):
            modes[server.address] = member.tags.get("acls", "3")
    all_on = all(mode == "1" for mode in modes.values())
    of_all = "1" if all_on else ("0" if "0" in modes.values() else max(modes.values()))
    return AclMode(bool(modes), of_all, modes.get(leader_address, "3"))
