"""The gossip pools as rpc_core knows them: members by name, fed by gossip's events, and the servers among them.

Events may be missed while gossip is away, so the whole list is fetched again whenever it comes back; what
differs is treated like the events that were missed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import trio

from services.rpc_core.members import Member, MemberStatus, Server, server_of
from shared.ipc import IpcError, Link
from shared.log import get_logger

_log = get_logger("agent.server")

LAN, WAN = "lan", "wan"
FETCH_TIMEOUT_S = 10.0
RETRY_INTERVAL_S = 0.1
REJOIN_GRACE_S = 60.0
"""How long a gossip that has just come up may take to find its members again."""
_GONE_EVENTS = frozenset({"leave", "failed", "reap"})

OnMember = Callable[[Member], None]


class Pools:
    """The pools this agent is in: `names`, in the order in which they are joined and left. A server without a WAN port
    is in none across datacenters. tells: whether it logs which servers come and go."""

    def __init__(self, gossip: Link, *, wan: bool = True, tells: bool = True) -> None:
        self.names = (WAN, LAN) if wan else (LAN,)
        self._tells = tells
        self._gossip = gossip
        self.on_lan_member: OnMember | None = None
        """Called for each LAN member that changed; a forgotten one has status REAP."""
        self.known = trio.Event()
        """Set once gossip has told who is in the LAN pool."""
        self._complete_from = math.inf
        self._members: dict[str, dict[str, Member]] = {LAN: {}, WAN: {}}
        self._fetch_wanted = trio.Event()
        gossip.on_up(self._fetch_again)
        gossip.subscribe("members", self._on_event)

    def lan(self) -> list[Member]:
        return list(self._members[LAN].values())

    def wan(self) -> list[Member]:
        return list(self._members[WAN].values())

    def lan_servers(self) -> list[Server]:
        """Living LAN servers."""
        servers = (server_of(m) for m in self._members[LAN].values() if m.status == MemberStatus.ALIVE)
        return [server for server in servers if server is not None]

    def datacenters(self) -> list[str]:
        """Datacenters with a server in the WAN pool, and that of the living servers around, sorted."""
        servers = [server_of(member) for member in self._members[WAN].values()]
        return sorted({server.datacenter for server in (*servers, *self.lan_servers()) if server is not None})

    def is_complete(self, now: float) -> bool:
        """Whether a node that is not in the LAN pool may be taken for gone. now: trio time."""
        return self._gossip.connected and now >= self._complete_from

    def _fetch_again(self) -> None:
        self._complete_from = trio.current_time() + REJOIN_GRACE_S
        self._fetch_wanted.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keeps the pools current until cancelled."""
        self._fetch_wanted.set()
        task_status.started()
        while True:
            await self._fetch_wanted.wait()
            self._fetch_wanted = trio.Event()
            for pool in self.names:
                self._fetch(pool)
            await trio.sleep(RETRY_INTERVAL_S)

    def _fetch(self, pool: str) -> None:
        """Ask for the whole list. Its answer is taken in right where it arrives: handled later it could undo
        an event that came behind it."""

        def on_done(wire: Any, error: IpcError | None) -> None:
            if error is None:
                self._take_in(pool, wire)
            else:
                _log.debug("failed to fetch members", pool=pool, error=str(error))
                self._fetch_wanted.set()

        self._gossip.post("Gossip.Members", {"pool": pool}, on_done, timeout_s=FETCH_TIMEOUT_S, retry_safe=True)

    def _take_in(self, pool: str, wire: list[dict[str, Any]]) -> None:
        fetched = {one["Name"]: Member.from_wire(one) for one in wire}
        known = self._members[pool]
        for name in [name for name in known if name not in fetched]:
            # No event: a gossip that was started again has to find the others first.
            del known[name]
        for member in fetched.values():
            before = known.get(member.name)
            if before != member:
                self._changed(pool, _event_between(before, member), member)
        if pool == LAN:
            self.known.set()

    def _on_event(self, event: Mapping[str, Any]) -> None:
        """A record of gossip's topic `members`."""
        for wire in event["members"]:
            member = Member.from_wire(wire)
            if self._members[event["pool"]].get(member.name) != member or event["event"] == "reap":
                self._changed(event["pool"], event["event"], member)

    def _changed(self, pool: str, event: str, member: Member) -> None:
        known = self._members[pool]
        if event == "reap":
            known.pop(member.name, None)
            member = member.with_status(MemberStatus.REAP)
        else:
            known[member.name] = member
        server = server_of(member)
        if pool == WAN:
            if server is not None:
                _log.info("Handled event for server in area", event=f"member-{event}", server=member.name, area=WAN)
            return
        if self._tells and server is not None and server.segment == "":
            action = "Removing" if event in _GONE_EVENTS else "Updating" if event == "update" else "Adding"
            _log.info(f"{action} LAN server", server=str(server))
        if self.on_lan_member is not None:
            self.on_lan_member(member)


def _event_between(before: Member | None, after: Member) -> str:
    """The event that led from one known state of a member to another."""
    if after.status in (MemberStatus.LEFT, MemberStatus.LEAVING):
        return "leave"
    if after.status == MemberStatus.FAILED:
        return "failed"
    return "update" if before is not None and before.status == MemberStatus.ALIVE else "join"
